"""The Wiener-like mask: kernel against reference, gradients against autograd and differences."""

import pytest
import torch

from tests.kernels.test_magnitude import SHAPES, spectrum
from tests.support.kernel_tools import awkward, forbid, runs_kernels
from torchprim.kernels.dispatch import forced_kernels
from torchprim.kernels.hpss.hpss_mask import power_ratio
from torchprim.kernels.spectra import wiener_masks as op


def spectra(*shape, by_frames=True):
    """Draw a part and its mixture: the part is all of it here, and none of it there; some bins are silent."""
    part, rest = (spectrum(*shape, seed=seed, by_frames=by_frames) for seed in (3, 4))
    return part, part + rest


def composed(part, mixture, gains):
    """Compute the masks in plain torch, to be differentiated by autograd."""
    mask = power_ratio(part.abs(), (mixture - part).abs(), 2.0)
    return torch.stack([torch.where(mixture.abs() > 0, mask * gain[:, None], 0) for gain in gains])


@runs_kernels
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("orders", "count"), [((True, True), 2), ((True, False), 1), ((False, False), 3)])
def test_kernel_equals_reference(shape, orders, count, monkeypatch, poisoned):
    part, mixture = (spectra(*shape, by_frames=order)[i] for i, order in enumerate(orders))
    gains = awkward(count, shape[-2], seed=5)
    expected = composed(part, mixture, gains)
    forbid(monkeypatch, op, "reference")
    with forced_kernels():
        result = op.wiener_masks(part, mixture, gains)
    assert result.is_contiguous()
    torch.testing.assert_close(result, expected, atol=1e-6, rtol=1e-5)


def test_gradients_are_those_of_the_composition():
    ours, theirs = (
        [x.detach().cpu().requires_grad_() for x in (*spectra(2, 9, 12), awkward(2, 9, seed=5))] for _ in "ab"
    )
    with torch.no_grad():  # of huge numbers the composition's gradient overflows
        for leaf in (*ours[:2], *theirs[:2]):
            leaf[leaf.abs() > 1e10] = 0.7
            leaf[(leaf.abs() > 0) & (leaf.abs() < 1e-10)] = 0.3j
    weight = awkward(2, 2, 9, 12, seed=3, low=-1.0, device="cpu")
    for leaves, function in ((ours, op.wiener_masks), (theirs, composed)):
        (function(*leaves) * weight).sum().backward()
    for one, other in zip(ours, theirs, strict=True):
        assert one.grad.isfinite().all() and one.grad.abs().max() > 0
        torch.testing.assert_close(one.grad, other.grad, atol=1e-5, rtol=1e-4)


def test_gradients_in_double_precision():
    part, mixture = (torch.randn(2, 3, 4, dtype=torch.cdouble, requires_grad=True) for _ in range(2))
    gains = torch.rand(2, 3, dtype=torch.float64, requires_grad=True)
    torch.autograd.gradcheck(op.wiener_masks, (part, mixture, gains))


def test_registration():
    part, mixture = (torch.view_as_real(x.cpu()).requires_grad_() for x in spectra(2, 5, 6))
    torch.library.opcheck(op._masks, (part, mixture, torch.rand(2, 5, requires_grad=True), torch.float32))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(3, 4), torch.zeros(3, 4), torch.ones(1, 3)), "must be complex tensors"),
        ((torch.zeros(3, 4) + 0j, torch.zeros(3, 5) + 0j, torch.ones(1, 3)), "of one shape"),
        (
            (torch.zeros(3, 4) + 0j, torch.zeros(3, 4) + 0j, torch.ones(1, 4)),
            r"gains must have shape \(K, 3\)",
        ),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        op.wiener_masks(*arguments)
