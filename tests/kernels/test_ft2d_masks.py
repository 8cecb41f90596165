"""Masks of the 2DFT's cues and their gradients: the definition, the reference and the kernel."""

import pytest
import torch

from tests.support.kernel_tools import DEVICE, awkward, forbid, runs_kernels
from torchprim.kernels.dispatch import forced_kernels
from torchprim.kernels.ft2d import ft2d_masks as op
from torchprim.kernels.ft2d.ft2d_masks import ft2d_masks

# items, bins, bins of the background, frames
SIZES = [(1, 1, 1, 1), (2, 9, 9, 7), (2, 9, 8, 7), (2, 2, 1, 1100), (1, 3, 3, 1024)]


def inputs(items, bins, rows, frames, loud, device=DEVICE):
    """Draw inputs; loud ones have shares clamped to 1, in others the largest share of a cue is below 1."""
    magnitude = awkward(items, bins, frames, seed=1, low=0.2, device=device).clone()
    background = awkward(items, rows, frames, seed=2, low=-1.0 if loud else 0.02, device=device)
    background = background * (1.0 if loud else 0.12)
    if bins > 1:
        magnitude[:, 1, ::2] = 0
    highest = awkward(items, seed=3, low=0.9, device=device)
    return magnitude, background, highest, awkward(bins, seed=4, device=device)


def by_definition(magnitude, background, highest, norm, gain):
    """Compute the equations, to be differentiated by autograd; A = 0 is masked."""
    if background.shape != magnitude.shape:
        background = torch.cat([background, background[:, -1:]], 1)
    b = background * norm / torch.where(highest > 0, highest, 1)[..., None, None]
    present = magnitude > 0
    safe = torch.where(present, magnitude, 1)
    shares = [torch.where(present, (x.abs() / safe).clamp(max=1), 0) for x in (b, magnitude - b)]
    shares = [x / torch.where(x.amax((-2, -1)) > 0, x.amax((-2, -1)), 1)[..., None, None] for x in shares]
    return torch.where(present, 1 - shares[0], 0) * gain[:, None], shares[1] * gain[:, None]


@pytest.mark.parametrize("loud", [False, True])
@pytest.mark.parametrize("items, bins, rows, frames", SIZES)
def test_reference_equals_the_definition(items, bins, rows, frames, loud):
    tensors = [x.double().requires_grad_() for x in inputs(items, bins, rows, frames, loud, "cpu")]
    weights = [awkward(items, bins, frames, seed=s, low=-1.0, device="cpu").double() for s in (5, 6)]
    results = []
    for body in (op.ft2d_masks, by_definition):
        masks = body(*tensors[:3], 1.3, tensors[3])
        gradients = torch.autograd.grad(
            sum((m * w).sum() for m, w in zip(masks, weights, strict=True)), tensors
        )
        results.append((*masks, *gradients))
    for got, wanted in zip(*results, strict=True):
        torch.testing.assert_close(got, wanted, atol=1e-9, rtol=1e-9)


@runs_kernels
@pytest.mark.parametrize("loud", [False, True])
@pytest.mark.parametrize("items, bins, rows, frames", SIZES)
def test_kernel_equals_reference(items, bins, rows, frames, loud, monkeypatch, poisoned):
    magnitude, background, highest, gain = inputs(items, bins, rows, frames, loud)
    weights = [awkward(items, bins, frames, seed=s, low=-1.0) for s in (5, 6)]
    *wanted, largest = op.reference(magnitude, background, highest, 1.3, gain, torch.float32)
    assert loud or items * bins * frames == 1 or (largest < 1).all()
    tensors = (magnitude, background, highest)
    wanted += op.reference_gradients(*weights, *tensors, largest, 1.3, gain)
    forbid(monkeypatch, op, "reference", "reference_gradients")
    leaves = [x.detach().clone().requires_grad_() for x in tensors]
    with forced_kernels():
        masks = ft2d_masks(*leaves, 1.3, gain)
        sum((m * w).sum() for m, w in zip(masks, weights, strict=True)).backward()
    for got, value in zip((*masks, *(x.grad for x in leaves)), wanted, strict=True):
        torch.testing.assert_close(got, value, atol=1e-5 * value.abs().max().item() + 1e-6, rtol=1e-5)


@runs_kernels
def test_silence_and_empty_batches():
    zero = torch.zeros(2, 3, 5, device=DEVICE)
    nothing = torch.zeros(2, device=DEVICE)
    with forced_kernels():
        for tensors in ((zero, zero, nothing), (zero[:0], zero[:0], nothing[:0])):
            leaves = [x.clone().requires_grad_() for x in tensors]
            masks = ft2d_masks(*leaves, 1.0, torch.ones(3, device=DEVICE))
            sum(m.sum() for m in masks).backward()
            assert all(m.shape == tensors[0].shape and not m.any() for m in masks)
            assert all(x.grad.shape == x.shape and x.grad.isfinite().all() for x in leaves)


@runs_kernels
def test_search_reads_on_until_both_cues_have_their_largest(monkeypatch):
    """The one entry with the largest shares is in the last block of many programs."""
    magnitude = torch.ones(1, 8, 1000, device=DEVICE)
    background = torch.full_like(magnitude, 0.1)
    background[0, 7, 998], background[0, 7, 999] = 0.4, -0.05
    highest, gain = torch.ones(1, device=DEVICE), torch.ones(8, device=DEVICE)
    from torchprim.kernels.ft2d import ft2d_masks_triton

    monkeypatch.setattr(ft2d_masks_triton, "SEARCHERS", 2)
    with forced_kernels():
        _, _, largest = op._masks(magnitude, background, highest, 1.0, gain, torch.float32)
    torch.testing.assert_close(largest, torch.tensor([[0.4, 1.0]], device=DEVICE))


@pytest.mark.parametrize("rows", [3, 2])
def test_registration_and_compile(rows):
    *tensors, gain = inputs(2, 3, rows, 5, False, "cpu")
    leaves = [x.contiguous().clone().requires_grad_() for x in tensors]
    torch.library.opcheck(op._masks, (*leaves, 1.3, gain.contiguous(), torch.float32))
    *masks, largest = op._masks(*(x.detach() for x in leaves), 1.3, gain, torch.float32)
    arguments = (*masks, *(x.detach() for x in leaves), largest, 1.3, gain.contiguous())
    torch.library.opcheck(op._masks_backward, arguments)
    compiled = torch.compile(ft2d_masks, fullgraph=True, backend="aot_eager")
    for got, wanted in zip(compiled(*tensors, 1.3, gain), ft2d_masks(*tensors, 1.3, gain), strict=True):
        torch.testing.assert_close(got, wanted)


def test_bad_shapes():
    a = torch.rand(2, 3, 5)
    for name, arguments in {
        "background": (a, a[:, :1], torch.ones(2), 1.0, torch.ones(3)),
        "highest": (a, a, torch.ones(3), 1.0, torch.ones(3)),
        "gain": (a, a, torch.ones(2), 1.0, torch.ones(3, 1)),
    }.items():
        with pytest.raises(ValueError, match=f"{name} must have shape"):
            ft2d_masks(*arguments)
