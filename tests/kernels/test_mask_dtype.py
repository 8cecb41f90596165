"""Masks in float16: rounded once as they are written, loaded as they are, computed with in float32."""

import pytest
import torch

from tests.support.kernel_tools import DEVICE, awkward, runs_kernels
from torchprim.kernels.clustering import loudest, soft_assignment
from torchprim.kernels.dispatch import forced_kernels
from torchprim.kernels.ft2d import ft2d_masks
from torchprim.kernels.hpss import hpss_mask
from torchprim.kernels.mask_dtype import mask_dtype
from torchprim.kernels.salience.salience_inputs import salience_inputs
from torchprim.kernels.spectra import wiener_masks
from torchprim.kernels.voicing import comb_mask
from torchprim.kernels.voicing.voicing_sums import voicing_sums

SHAPE = (2, 21, 37)  # items, bins, frames
ITEMS, BINS, FRAMES = SHAPE
PITCHES = 5


def inputs(device=DEVICE):
    """Draw what the masks are computed from: magnitude with silence, gain, spectra, combs, path, height."""
    magnitude = awkward(*SHAPE, seed=1, low=-0.1, device=device).clamp(min=0)
    path = torch.arange(ITEMS * FRAMES, device=device).reshape(ITEMS, FRAMES) % PITCHES
    spectrum = torch.complex(magnitude, awkward(*SHAPE, seed=2, device=device))
    return {
        "magnitude": magnitude,
        "background": awkward(*SHAPE, seed=3, device=device),
        "gain": torch.linspace(0, 1, BINS, device=device),
        "spectrum": spectrum,
        "combs": torch.rand(BINS, PITCHES, generator=torch.Generator().manual_seed(4)).to(device),
        "path": path,
        "height": awkward(ITEMS, FRAMES, seed=5, device=device),
    }


def hpss(x, dtype):
    return [hpss_mask.hpss_mask(x["magnitude"], 5, 3, 2.0, x["gain"], dtype)]


def ft2d(x, dtype):
    highest = x["gain"].new_full((ITEMS,), 1.3)
    return ft2d_masks.ft2d_masks(x["magnitude"], x["background"], highest, 1.0, x["gain"], dtype)


def wiener(x, dtype):
    gains = torch.stack([torch.ones_like(x["gain"]), x["gain"]])
    return wiener_masks.wiener_masks(x["spectrum"].roll(1, -1), x["spectrum"], gains, dtype).unbind()


def comb(x, dtype):
    return [comb_mask.comb_mask(x["magnitude"], x["combs"], x["path"], x["height"], dtype)]


def halves():
    """Draw masks in float16 with zeros and ones."""
    return [awkward(*SHAPE, seed=i, low=-0.2, high=1.2).clamp(0, 1).half() for i in (6, 7, 8)]


def combined(masks):
    weights = torch.tensor([1.0, 0.0, 2.0], device=DEVICE, requires_grad=True)
    mask = soft_assignment.assign(masks, weights, 2.5)
    return mask.detach(), *torch.autograd.grad(mask.square().sum(), weights)


def gathered(masks):
    index = torch.arange(0, ITEMS * 50, device=DEVICE).reshape(ITEMS, 50)
    return (loudest.values_at(masks, index),)


def peaks(masks):
    x = inputs()
    return salience_inputs(x["magnitude"], 1 + x["gain"], masks[0], 0.3, BINS - 2, 240)


def sums(masks):
    x = inputs()
    tables = x["combs"], x["combs"] - 0.5, x["path"]
    return (voicing_sums(x["magnitude"], masks[0], *tables, x["gain"], 1 + x["gain"]),)


@runs_kernels
@pytest.mark.parametrize("write", [hpss, ft2d, wiener, comb])
@pytest.mark.parametrize("kernel", [False, True])
def test_masks_are_rounded_once(write, kernel, poisoned):
    def masks(dtype):
        if not kernel:
            return write(inputs(), dtype)
        with forced_kernels():
            return write(inputs(), dtype)

    for half, single in zip(masks(torch.float16), masks(None), strict=True):
        assert half.dtype == torch.float16 and single.dtype == torch.float32
        assert half.is_contiguous() and single.unique().numel() > 100
        torch.testing.assert_close(half, single.half(), rtol=0, atol=0)


@runs_kernels
@pytest.mark.parametrize("read", [combined, gathered, peaks, sums])
@pytest.mark.parametrize("kernel", [False, True])
def test_masks_are_loaded_as_they_are(read, kernel, poisoned):
    masks = halves()
    singles = [mask.float() for mask in masks]
    if kernel:
        with forced_kernels():
            got, expected = read(masks), read(singles)
    else:
        got, expected = read(masks), read(singles)
    for one, other in zip(got, expected, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other, rtol=0, atol=0)


@runs_kernels
def test_gradients_to_masks_in_half_precision(poisoned):
    """They are those of float32, rounded."""

    def gradients(leaves):
        with forced_kernels():
            values = loudest.values_at(leaves, torch.arange(ITEMS * 9, device=DEVICE).view(ITEMS, 9))
            total = soft_assignment.assign(leaves, torch.ones(3, device=DEVICE), 2.5).sum() + values.sum()
        return torch.autograd.grad(total, leaves)

    masks = [mask.clamp(0.1, 0.9) for mask in halves()]
    got = gradients([mask.clone().requires_grad_() for mask in masks])
    expected = gradients([mask.float().requires_grad_() for mask in masks])
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other.half(), rtol=2e-3, atol=1e-3)


def test_registration():
    x, masks = inputs("cpu"), [mask.cpu() for mask in halves()]
    magnitude, gain, half = x["magnitude"].contiguous(), x["gain"], torch.float16
    two, ones = torch.tensor(2.0), torch.ones(ITEMS)
    spectrum = torch.view_as_real(x["spectrum"])
    for operator, arguments in (
        (hpss_mask._mask, (magnitude, two, gain, 5, 3, half)),
        (ft2d_masks._masks, (magnitude, x["background"].contiguous(), ones, 1.0, gain, half)),
        (wiener_masks._masks, (spectrum, spectrum, gain[None], half)),
        (comb_mask._mask, (magnitude, x["combs"], x["path"], x["height"], half)),
        (soft_assignment._assign, (masks, torch.ones(3), two, magnitude)),
        (loudest._values_at, (masks, torch.arange(ITEMS * 9).view(ITEMS, 9))),
    ):
        torch.library.opcheck(operator, arguments)


@pytest.mark.parametrize("write", [hpss, ft2d, wiener, comb])
def test_no_gradient_in_half_precision(write):
    x = inputs("cpu")
    for name in ("magnitude", "spectrum", "combs"):
        x[name] = x[name].detach().requires_grad_()
    with pytest.raises(ValueError, match=r"masks in torch.float16 pass no gradient on: use torch.float32"):
        write(x, torch.float16)
    assert write(x, torch.float32)[0].requires_grad
    with torch.no_grad():
        assert write(x, torch.float16)[0].dtype == torch.float16


def test_other_dtypes_are_refused():
    message = r"a mask's dtype must be torch.float16 or torch.float32, got torch.bfloat16"
    with pytest.raises(ValueError, match=message):
        mask_dtype(torch.bfloat16, torch.float32)
