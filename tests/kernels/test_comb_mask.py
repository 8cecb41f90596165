"""The mask from a table of combs: kernel, reference, automatic differentiation."""

import pytest
import torch

from tests.support.kernel_tools import DEVICE, awkward, forbid, runs_kernels
from torchprim.kernels.dispatch import forced_kernels
from torchprim.kernels.voicing import comb_mask as op

SIZES = [(1, 1, 1), (2, 33, 7), (1, 130, 129), (3, 65, 200)]  # items, bins, frames


def inputs(items, bins, frames, device=DEVICE):
    magnitude = (awkward(items, bins, frames, seed=1, device=device) - 0.2).clamp(min=0)  # a fifth is 0
    combs = awkward(bins, 11, seed=2, device=device)
    path = (awkward(items, frames, seed=3, device=device) * 11).long()
    return magnitude, combs, path, awkward(items, frames, seed=4, device=device)


def autograd(magnitude, combs, path, height):
    """Compute the mask by operations that autograd differentiates."""
    return (combs[:, path].movedim(0, -2) * height[:, None]) * (magnitude > 0)


@runs_kernels
@pytest.mark.parametrize("items, bins, frames", SIZES)
def test_kernel_equals_reference(items, bins, frames, monkeypatch, poisoned):
    magnitude, combs, path, height = inputs(items, bins, frames)
    gradient = awkward(items, bins, frames, seed=5, low=-1.0)
    results = []
    for forced in (False, True):
        leaves = [x.detach().clone().requires_grad_() for x in (combs, height)]
        if forced:
            forbid(monkeypatch, op, "reference", "reference_gradients")
            with forced_kernels():
                mask = op.comb_mask(magnitude, leaves[0], path, leaves[1])
                results.append((mask, *torch.autograd.grad(mask, leaves, gradient)))
        else:
            mask = autograd(magnitude, leaves[0], path, leaves[1])
            results.append((mask, *torch.autograd.grad(mask, leaves, gradient)))
    for got, expected in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)


@runs_kernels
def test_kernel_on_a_slice_and_without_items():
    magnitude, combs, path, height = inputs(2, 33, 7)
    magnitude = magnitude.contiguous()[:, :30]
    with forced_kernels():
        mask = op.comb_mask(magnitude, combs[:30], path, height)
        assert op.comb_mask(magnitude[:0], combs[:30], path[:0], height[:0]).shape == (0, 30, 7)
    torch.testing.assert_close(mask, autograd(magnitude, combs[:30], path, height))
    assert mask.is_contiguous()


def test_gradients_in_double_precision_and_registration():
    magnitude, combs, path, height = inputs(2, 5, 3, "cpu")
    leaves = [x.double().requires_grad_() for x in (combs, height)]
    plain = magnitude.double()
    torch.autograd.gradcheck(lambda combs, height: op.comb_mask(plain, combs, path, height), leaves)
    torch.library.opcheck(op._mask, (plain, leaves[0], path, leaves[1], torch.float32))
    gradient = awkward(2, 5, 3, device="cpu")
    for to_combs in (True, False):
        torch.library.opcheck(op._mask_backward, (gradient, magnitude, combs, path, height, to_combs))


def test_compiles_and_checks():
    arguments = inputs(2, 5, 3, "cpu")
    compiled = torch.compile(op.comb_mask, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(*arguments), op.comb_mask(*arguments))
    with pytest.raises(ValueError, match=r"do not fit \(2, 5, 3\)"):
        op.comb_mask(arguments[0], arguments[1][:4], *arguments[2:])
