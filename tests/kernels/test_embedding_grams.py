"""Gram matrices of embeddings: definition, kernel against reference, layouts, precision, registration."""

import pytest
import torch

from tests.support.gram_batches import batch, class_numbers, close, frames_first, truth
from tests.support.kernel_tools import DEVICE, forbid, runs_kernels
from torchprim.kernels.clustering import embedding_grams as op
from torchprim.kernels.dispatch import forced_kernels
from torchprim.losses.grams import weighted_grams

# Items, bins, frames, D: one of each; primes; D of 32 and 40 (rows of 64 columns); both blocks passed.
SIZES = [(1, 1, 1, 2), (2, 5, 7, 3), (1, 17, 9, 20), (1, 9, 5, 32), (1, 3, 11, 40)]


@runs_kernels
@pytest.mark.parametrize("logits", [True, False])
@pytest.mark.parametrize("size", SIZES)
def test_kernel_equals_reference(size, logits, monkeypatch, poisoned):
    points, labels, weights = batch(*size, logits)
    wanted, gradient, slope = truth(points, labels, weights, logits)
    forbid(monkeypatch, op, "reference", "in_chunks", "gradient_in_chunks")
    points.requires_grad_()
    with forced_kernels():
        grams = op.embedding_grams(points, labels, weights, logits)
        grams.backward(gradient.float())
    close(grams, wanted, 1e-6)
    close(points.grad, slope, 3e-6)


def every_other(points):
    wide = torch.full((*points.shape[:3], 2 * points.shape[3]), torch.nan, device=points.device)
    wide = wide.to(points.dtype)
    wide[..., ::2] = points
    return wide[..., ::2]


def one_of_two_frames(points):
    wide = torch.full((*points.shape[:2], 2 * points.shape[2], points.shape[3]), torch.nan)
    wide = wide.to(points)
    wide[:, :, ::2] = points
    return wide[:, :, ::2]


@runs_kernels
@pytest.mark.parametrize("layout", [frames_first, every_other, one_of_two_frames])
def test_layouts(layout, monkeypatch, poisoned):
    """Labels lie as they do in a batch, whatever the network does."""
    points, labels, weights = batch(2, 13, 5, 4)
    wanted, gradient, slope = truth(points, labels, weights, True)
    forbid(monkeypatch, op, "reference", "in_chunks", "gradient_in_chunks")
    points = layout(points).requires_grad_()
    with forced_kernels():
        grams = op.embedding_grams(points, labels, weights, True)
        (got,) = torch.autograd.grad(grams, points, gradient.float())
    close(grams, wanted, 1e-6)
    close(got, slope, 3e-6)
    assert got.stride() == points.stride() or layout is not frames_first


@runs_kernels
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_read_as_it_is(dtype, monkeypatch):
    points, labels, weights = batch(1, 9, 17, 20)
    points = points.to(dtype)
    wanted, gradient, slope = truth(points, labels, weights, True)
    forbid(monkeypatch, op, "reference", "in_chunks", "gradient_in_chunks")
    points.requires_grad_()
    with forced_kernels():
        grams = op.embedding_grams(points, labels, weights, True)
        grams.backward(gradient.float())
    assert grams.dtype == torch.float32 and points.grad.dtype == dtype
    close(grams, wanted, 1e-6)  # of the rounded numbers, nothing is lost any more
    close(points.grad, slope, 1e-2 if dtype == torch.bfloat16 else 1e-3)


@runs_kernels
def test_soft_labels_silence_and_extremes(poisoned):
    points, labels, weights = batch(2, 6, 7, 5)
    points[0, 0, 0] = torch.tensor([200.0, -200.0, 90.0, -90.0, 0.0])
    points[0, 1, 0] = -300.0  # nothing of the sigmoid is left
    weights[1] = 0
    labels = labels.float() * 0.7 + 0.1
    wanted, gradient, slope = truth(points, labels, weights, True)
    points.requires_grad_()
    with forced_kernels():
        grams = op.embedding_grams(points, labels, weights, True)
        grams.backward(gradient.float())
    close(grams, wanted, 1e-6)
    close(points.grad, slope, 3e-6)
    assert not grams[1].any() and not points.grad[1].any()


@runs_kernels
def test_the_product_of_a_kernel_is_not_one_of_tf32():
    """1 + 2^-12 is 1 in TF32: the rest of a factor must not be lost."""
    points = torch.full((1, 8, 8, 4), 1 + 2.0**-12, device=DEVICE)
    ones = torch.ones(1, 8, 8, device=DEVICE)
    with forced_kernels():
        grams = op.embedding_grams(points, ones > 0, ones)
    torch.testing.assert_close(grams[0, 0, 0].item(), 64 * (1 + 2.0**-12) ** 2, rtol=2e-7, atol=0)


@runs_kernels
def test_many_programs_share_an_item(monkeypatch, poisoned):
    from torchprim.kernels.clustering import embedding_grams_triton

    points, labels, weights = batch(2, 19, 9, 3)
    wanted, gradient, slope = truth(points, labels, weights, True)
    points.requires_grad_()
    for programs in (1, 4, 64):  # one an item, several tiles each, one tile each
        monkeypatch.setattr(embedding_grams_triton, "PROGRAMS", programs)
        points.grad = None
        with forced_kernels():
            grams = op.embedding_grams(points, labels, weights, True)
            grams.backward(gradient.float())
        close(grams, wanted, 1e-6)
        close(points.grad, slope, 3e-6)


def test_kernel_of_no_items():
    points, labels, weights = batch(2, 3, 4, 5)
    with forced_kernels():
        grams = op.embedding_grams(points[:0], labels[:0], weights[:0], True)
    assert grams.shape == (0, 7, 7)


@pytest.mark.parametrize("logits", [True, False])
@pytest.mark.parametrize("chunk", [7, 4096])
def test_chunks_equal_the_reference(chunk, logits, monkeypatch):
    monkeypatch.setattr(op, "CHUNK", chunk)
    for layout in (torch.clone, frames_first, every_other, one_of_two_frames):
        points, labels, weights = batch(2, 5, 6, 4, logits, "cpu")
        wanted, gradient, slope = truth(points, labels, weights, logits)
        points = layout(points).requires_grad_()
        grams = op.embedding_grams(points, labels, weights, logits)
        close(grams, wanted, 1e-6)
        close(torch.autograd.grad(grams, points, gradient.float())[0], slope, 2e-6)
        numbers = class_numbers(labels, 4)
        wanted, gradient, slope = truth(points, numbers, weights, logits, 4)
        grams = op.embedding_grams(points, numbers, weights, logits, 4)
        close(grams, wanted, 1e-6)
        close(torch.autograd.grad(grams, points, gradient.float())[0], slope, 2e-6)


def test_gradients_in_double_precision():
    points, labels, weights = batch(2, 3, 2, 4, True, "cpu")
    points, weights = points.double(), weights.double()
    for logits in (True, False):
        for given in (points, frames_first(points)):
            given = given.detach().requires_grad_()
            torch.autograd.gradcheck(lambda x, s=logits: op.embedding_grams(x, labels, weights, s), given)


@pytest.mark.parametrize("layout", [torch.clone, frames_first])
def test_registration(layout):
    points, labels, weights = batch(2, 3, 4, 5, True, "cpu")
    points = layout(points)
    for classes, given in ((2, labels), (4, class_numbers(labels, 4))):
        points = points.detach().requires_grad_()
        torch.library.opcheck(op._grams, (points, given, weights, True, classes))
        gradient = torch.rand(2, 5 + classes, 5 + classes)
        torch.library.opcheck(op._grams_backward, (gradient, points.detach(), given, weights, True, classes))


def test_compiles_as_one_graph():
    points, labels, weights = batch(2, 3, 4, 5, True, "cpu")

    def total(points, labels, weights):
        return weighted_grams(points, labels, weights, logits=True).embedding.square().sum()

    compiled = torch.compile(total, fullgraph=True, backend="aot_eager")
    one, other = points.clone().requires_grad_(), points.clone().requires_grad_()
    compiled(one, labels, weights).backward()
    total(other, labels, weights).backward()
    torch.testing.assert_close(one.grad, other.grad)
