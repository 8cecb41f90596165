"""Gram matrices of embeddings with the classes of more than two sources: kernel against reference."""

import contextlib

import pytest
import torch

from tests.support.gram_batches import batch, class_numbers, close, frames_first, truth
from tests.support.kernel_tools import forbid, runs_kernels
from torchprim.kernels.clustering import embedding_grams as op
from torchprim.kernels.dispatch import forced_kernels

# (items, bins, frames, D), K: one of each; primes; the networks' D; many classes; D + K that fills the
# columns of a tile, and is over them; the largest.
SIZES = [((1, 1, 1, 2), 4), ((2, 5, 7, 3), 3), ((1, 17, 9, 20), 4), ((1, 9, 5, 5), 12)]
SIZES += [((1, 3, 5, 12), 4), ((1, 3, 5, 13), 4), ((1, 3, 5, 64), 4)]


@runs_kernels
@pytest.mark.parametrize("logits", [True, False])
@pytest.mark.parametrize(("size", "classes"), SIZES)
def test_kernel_equals_reference(size, classes, logits, monkeypatch, poisoned):
    points, labels, weights = batch(*size, logits)
    labels = class_numbers(labels, classes)
    wanted, gradient, slope = truth(points, labels, weights, logits, classes)
    assert wanted.shape == (size[0], size[3] + classes, size[3] + classes)
    forbid(monkeypatch, op, "reference", "in_chunks", "gradient_in_chunks")
    points.requires_grad_()
    with forced_kernels():
        grams = op.embedding_grams(points, labels, weights, logits, classes)
        grams.backward(gradient.float())
    close(grams, wanted, 1e-6)
    close(points.grad, slope, 3e-6)


@runs_kernels
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_of_four_classes(dtype, monkeypatch, poisoned):
    """Frames first, with labels of 64 bits."""
    points, labels, weights = batch(1, 9, 17, 20)
    points, labels = frames_first(points.to(dtype)), class_numbers(labels, 4).long()
    wanted, gradient, slope = truth(points, labels, weights, True, 4)
    forbid(monkeypatch, op, "reference", "in_chunks", "gradient_in_chunks")
    points.requires_grad_()
    with forced_kernels():
        grams = op.embedding_grams(points, labels, weights, True, 4)
        grams.backward(gradient.float())
    close(grams, wanted, 1e-6)
    close(points.grad, slope, 1e-2 if dtype == torch.bfloat16 else 1e-3)


@runs_kernels
@pytest.mark.parametrize("forced", [True, False])
def test_a_number_that_is_no_class(forced, poisoned):
    """Such as a GPU, which cannot be waited for, may be given: the bin belongs to none."""
    points, labels, weights = batch(1, 6, 7, 5)
    labels = class_numbers(labels, 3).long()
    labels[0, 0, :4] = torch.tensor([-1, -5, 3, 2**40])
    known = weights * ((labels >= 0) & (labels < 3))
    with forced_kernels() if forced else contextlib.nullcontext():
        grams = op.embedding_grams(points, labels, weights, True, 3)
        without = op.embedding_grams(points, labels, known, True, 3)
        embedding = op.embedding_grams(points, labels.clamp(0, 2), weights, True, 3)
    close(grams[:, :, 5:], without[:, :, 5:].double(), 1e-6)
    close(grams[:, :5, :5], embedding[:, :5, :5].double(), 1e-6)


@runs_kernels
def test_two_of_three_classes_are_the_two():
    """Numbers of two classes give what booleans do, bit for bit; a third class adds zeros."""
    points, labels, weights = batch(2, 6, 7, 5)
    results = []
    for given, classes in ((labels, 2), (labels.byte(), 2), (labels.byte(), 3)):
        leaf = points.clone().requires_grad_()
        with forced_kernels():
            grams = op.embedding_grams(leaf, given, weights, True, classes)
            grams[:, :7, :7].square().sum().backward()
        results.append((grams.detach(), leaf.grad))
    (wanted, slope), numbers, (three, other) = results
    assert torch.equal(numbers[0], wanted) and torch.equal(numbers[1], slope)
    assert not three[:, 7:].any() and not three[:, :, 7:].any()
    close(three[:, :7, :7], wanted.double(), 1e-6)
    close(other, slope.double(), 1e-6)


def test_what_the_kernel_takes():
    def taken(dimensions, classes):
        return op._kernel_fits(torch.empty(1, 1, 1, dimensions), classes)

    assert taken(64, 2) and taken(64, 64) and taken(20, 4)
    assert not taken(65, 2) and not taken(64, 65) and not taken(2, 127)
