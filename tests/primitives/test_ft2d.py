"""The two cues of the 2-D Fourier transform; tests/primitives/test_primitives.py has the common tests."""

import contextlib

import numpy as np
import pytest
import torch

import torchprim as tp
from tests.support.kernel_tools import DEVICE, forbid, runs_kernels
from tests.support.oracles import peaks_by_definition, spectrogram
from torchprim.kernels.dispatch import forced_kernels
from torchprim.kernels.ft2d import ft2d_masks, local_peaks


@pytest.mark.parametrize(("bins", "frames"), [(33, 40), (32, 41), (64, 64)])
@pytest.mark.parametrize("neighbourhood", [(1, 25), (3, 5)])
def test_ft2d_equals_the_definition(bins, frames, neighbourhood):
    """Of an odd number of bins the last has the background of the one below."""
    a = np.random.default_rng(bins).random((bins, frames)) + 1e-3
    even = a[: bins - bins % 2]
    background = np.fft.ifft2(peaks_by_definition(even, neighbourhood) * np.fft.fft2(even)).real
    background = np.concatenate([background, background[-1:]])[:bins]
    b = np.minimum(np.abs(background), a) / a
    g = np.minimum(np.abs(a - background), a) / a
    got = tp.ft2d(torch.tensor(a), neighbourhood)
    np.testing.assert_allclose(got.repetition.numpy(), 1 - b / b.max(), atol=1e-10)
    np.testing.assert_allclose(got.micro_modulation.numpy(), g / g.max(), atol=1e-10)


def test_circular_shift_shifts_ft2d_masks():
    magnitude = spectrogram(65, 48).double() + 0.1
    masks = tp.ft2d(magnitude)
    for got, wanted in zip(tp.ft2d(magnitude.roll(7, -1)), masks, strict=True):
        torch.testing.assert_close(got, wanted.roll(7, -1), atol=1e-9, rtol=0)


@pytest.mark.parametrize("neighbourhood", [(1, 5), (3, 5)])
def test_soft_peaks_approach_hard_ones_at_low_temperature(neighbourhood):
    magnitude = spectrogram(33, 40).double() + 0.1
    hard = tp.ft2d(magnitude, neighbourhood, cutoff=220.0)
    for temperature, largest in ((1e-200, 1e-12), (1e-3, 0.05)):
        soft = tp.FT2D(neighbourhood, temperature=temperature, cutoff=220.0)(magnitude)
        for got, wanted in zip(soft, hard, strict=True):
            torch.testing.assert_close(got, wanted, atol=largest, rtol=0)
    warm = tp.ft2d(magnitude, neighbourhood, temperature=1.0, cutoff=220.0)
    assert (warm.repetition - hard.repetition).abs().max() > 0.05
    with pytest.raises(ValueError, match=r"temperature must be positive, got -0\.1"):
        tp.ft2d(magnitude, temperature=-0.1)


@runs_kernels
@pytest.mark.parametrize("cutoff", [220.0, torch.tensor(6000.0)])
def test_ft2d_on_kernels_equals_ft2d(monkeypatch, cutoff):
    """Masks and their gradient, through both kernels and the transforms between them."""
    magnitude = (spectrogram(2, 9, 21) + 0.05).to(DEVICE)
    weight = torch.rand(2, 9, 21, generator=torch.Generator().manual_seed(3)).to(DEVICE)
    cutoff = cutoff.clone().to(DEVICE).requires_grad_() if isinstance(cutoff, torch.Tensor) else cutoff
    results = []
    for kernels in (False, True):
        leaf = magnitude.detach().clone().to(DEVICE if kernels else "cpu").requires_grad_()
        settings = contextlib.nullcontext()
        if kernels:
            forbid(monkeypatch, local_peaks, "reference", "reference_gradients", "peak_map")
            forbid(monkeypatch, ft2d_masks, "reference", "reference_gradients")
            settings = forced_kernels()
        with settings:
            here = cutoff.to(leaf.device) if isinstance(cutoff, torch.Tensor) else cutoff
            masks = tp.ft2d(leaf, (1, 5), cutoff=here)
            sum((m * weight.to(leaf.device)).square().sum() for m in masks).backward()
        results.append((*masks, leaf.grad))
    for wanted, got in zip(*results, strict=True):
        torch.testing.assert_close(got.cpu(), wanted.cpu(), atol=2e-4, rtol=1e-3)


def test_ft2d_compiles():
    magnitude = spectrogram(2, 9, 21)
    compiled = torch.compile(tp.ft2d, fullgraph=True, backend="aot_eager")
    for options in ({"cutoff": 220.0}, {"temperature": 0.5}):
        wanted = tp.ft2d(magnitude, (1, 5), **options)
        for got, mask in zip(compiled(magnitude, (1, 5), **options), wanted, strict=True):
            torch.testing.assert_close(got, mask)


def test_gradcheck():
    generator = torch.Generator().manual_seed(1)
    magnitude = torch.rand(5, 9, dtype=torch.float64, generator=generator).requires_grad_()
    cutoff, temperature = (torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in (6000.0, 0.8))
    check = torch.autograd.gradcheck
    assert check(lambda a, c: tuple(tp.ft2d(a, (1, 5), cutoff=c)), (magnitude, cutoff))
    assert check(lambda a: tuple(tp.ft2d(a, (3, 5))), (magnitude,))
    assert check(lambda a, t: tuple(tp.ft2d(a, (1, 5), temperature=t)), (magnitude, temperature))
