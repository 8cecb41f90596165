"""Peaks on a logarithmic axis and the comb's level: kernel, reference, automatic differentiation."""

import pytest
import torch

from tests.support.kernel_tools import DEVICE, awkward, forbid, runs_kernels
from torchprim.kernels.dispatch import forced_kernels
from torchprim.kernels.salience import salience_inputs as op
from torchprim.kernels.salience.banded_product import ROWS, UNIT
from torchprim.primitives.pitch.grid import PitchGrid
from torchprim.primitives.pitch.salience import log_salience, summation

GRID = PitchGrid(60, 44100 / 2048, 200.0, 300.0)
RATIO = 44100 / 2048 / 80  # distance of two bins over the lowest pitch
# items, bins, frames, bins with peaks, places, ratio; in the last two, several peaks share a place.
SIZES = [
    (1, 1, 1, 1, 9, RATIO),
    (2, 40, 35, 29, 333, RATIO),
    (1, 61, 5, 61, 420, RATIO),
    (1, 90, 5, 90, 60, 1 / 60),
    (1, 130, 3, 100, 31, 1 / 80),
]


def inputs(items, bins, frames, ratio, device=DEVICE):
    """Draw spectra whose peaks are far enough from the border of two places for rounding not to matter."""
    magnitude = awkward(items, 6 * frames, bins, seed=1, device=device).mT ** 3
    gain = awkward(bins, seed=2, low=0.5, high=1.5, device=device)
    shift, height = op._parabola((magnitude * gain[:, None]).double())
    place = op.PLACES * torch.log2((torch.arange(1, bins + 1, device=device)[:, None] + shift) * ratio)
    clear = ((place - place.floor() - 0.5).abs() > 1e-3) | (height == 0)
    clear = clear.all(-2).all(0).nonzero().flatten()[:frames]
    assert len(clear) == frames
    magnitude = torch.stack([magnitude[..., clear], magnitude[..., clear]], -1).flatten(-2)[..., ::2]
    weight = awkward(items, bins, frames, seed=3, low=-0.2, device=device).clamp(min=0)
    scale = 2.0 ** torch.arange(items, dtype=torch.float32, device=device)  # exact: peaks stay where they are
    return magnitude / scale[:, None, None], gain, weight, scale


def autograd(magnitude, gain, weight, ratio, peak_bins, places, scale):
    """Compute both results by operations that autograd differentiates."""
    heard = magnitude * gain[:, None] * scale[:, None, None]
    root = None if weight is None else weight.clamp(min=1e-6).sqrt().sqrt()
    low = None if root is None else root[..., :peak_bins, :]
    return op.peak_axis(heard[..., :peak_bins, :], low, ratio, places), op.comb_level(heard, root)


def with_gradients(function, leaves, arguments, gradients):
    """Return both results and gradients; leaves are magnitude, weight or None, and scale."""
    axis, level = function(leaves[0], arguments[0], leaves[1], *arguments[1:], leaves[2])
    given = [x for x in leaves if x is not None]
    total = (axis * gradients[0]).sum() + (level * gradients[1]).sum()
    return axis, level, *torch.autograd.grad(total, given)


@runs_kernels
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("items, bins, frames, peak_bins, places, ratio", SIZES)
def test_kernel_equals_reference(
    items, bins, frames, peak_bins, places, ratio, weighted, monkeypatch, poisoned
):
    magnitude, gain, weight, scale = inputs(items, bins, frames, ratio)
    weight = weight if weighted else None
    gradients = [awkward(items, rows, frames, seed=rows, low=-1.0) for rows in (places, bins)]
    leaves = [None if x is None else x.double().requires_grad_() for x in (magnitude, weight, scale)]
    arguments = (gain.double(), ratio, peak_bins, places)
    expected = with_gradients(autograd, leaves, arguments, [x.double() for x in gradients])
    forbid(monkeypatch, op, "reference", "reference_gradients")
    leaves = [None if x is None else x.detach().requires_grad_() for x in (magnitude, weight, scale)]
    with forced_kernels():
        got = with_gradients(op.salience_inputs, leaves, (gain, *arguments[1:]), gradients)
    for value, wanted in zip(got, expected, strict=True):
        assert value.dtype == torch.float32
        torch.testing.assert_close(value.double(), wanted, atol=1e-5, rtol=1e-3)
    if bins > 1:
        assert (got[0] > 0).sum() > frames


@runs_kernels
def test_kernel_on_silence_ties_and_a_slice(monkeypatch):
    magnitude = torch.zeros(2, 2, 12, 7, device=DEVICE)
    magnitude[0, 1, 6:8] = 0.5  # two equal bins: the peak is half-way
    gain = torch.ones(9, device=DEVICE)
    expected = op.reference(magnitude[..., :9, :], gain, None, torch.ones(2, 2, device=DEVICE), RATIO, 9, 300)
    forbid(monkeypatch, op, "reference")
    with forced_kernels():
        got = op.salience_inputs(magnitude[..., :9, :], gain, None, RATIO, 9, 300)
        assert op.salience_inputs(magnitude[:0, :, :9], gain, None, RATIO, 9, 300)[0].shape == (0, 2, 300, 7)
    for value, wanted in zip(got, expected, strict=True):
        torch.testing.assert_close(value, wanted, atol=1e-6, rtol=1e-5)
    assert (got[0] > 0).sum() == 7


def test_reference_gradients_are_those_of_automatic_differentiation():
    magnitude, gain, weight, scale = (x.double() for x in inputs(2, 40, 9, RATIO, "cpu"))
    magnitude[..., 5:8, :] = 0
    for weighted in (weight, None):
        leaves = [None if x is None else x.clone().requires_grad_() for x in (magnitude, weighted, scale)]
        gradients = [awkward(2, rows, 9, seed=rows, low=-1.0, device="cpu").double() for rows in (333, 40)]
        arguments = (gain, RATIO, 30, 333)
        expected = with_gradients(autograd, leaves, arguments, gradients)
        got = with_gradients(op.salience_inputs, leaves, arguments, gradients)
        for value, wanted in zip(got, expected, strict=True):
            torch.testing.assert_close(value, wanted)


def test_gradients_in_double_precision_and_registration():
    magnitude, gain, weight, scale = (x.double() for x in inputs(1, 12, 3, RATIO, "cpu"))
    leaves = [x.requires_grad_() for x in (magnitude + 0.1, weight + 0.1, scale + 0.1)]
    settings = (RATIO, 12, 250)
    torch.autograd.gradcheck(
        lambda m, w, s: op.salience_inputs(m, gain, w, *settings, s), leaves, eps=1e-7, atol=1e-5
    )
    torch.library.opcheck(op._inputs, (leaves[0], gain, leaves[1], leaves[2], *settings))
    torch.library.opcheck(op._inputs, (magnitude, gain, None, scale, *settings))
    d_axis, d_level = (torch.rand(1, rows, 3, dtype=torch.float64) for rows in (250, 12))
    for each, to_scale in ((weight, True), (None, False)):
        arguments = (d_axis, d_level, magnitude, gain, each, scale, RATIO, 12, to_scale)
        torch.library.opcheck(op._inputs_backward, arguments)


def test_log_salience_compiles():
    magnitude, _, weight, _ = inputs(2, 60, 9, RATIO, "cpu")

    def compute(magnitude, weight):
        return log_salience(magnitude, GRID, weight, 2.8)

    compiled = torch.compile(compute, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(magnitude, weight), compute(magnitude, weight))


@runs_kernels
def test_log_salience_with_all_kernels():
    """Peaks, both products, median and mixture together, with gradients to magnitude and weight."""
    magnitude, _, weight, _ = inputs(1, 60, 6, RATIO)
    results = []
    for forced in (False, True):
        # On a GPU, double precision is what does without kernels.
        dtype = torch.float32 if forced else torch.float64
        leaves = [x.to(dtype).requires_grad_() for x in (magnitude, weight)]
        if forced:
            with forced_kernels():
                value = log_salience(leaves[0], GRID, leaves[1])
                value.square().sum().backward()
        else:
            value = log_salience(leaves[0], GRID, leaves[1])
            value.square().sum().backward()
        results.append([value.detach(), *(x.grad for x in leaves)])
    for plain, kernel in zip(*results, strict=True):
        torch.testing.assert_close(kernel.double(), plain, atol=1e-3 * plain.abs().max().item(), rtol=1e-3)


@runs_kernels
def test_peaks_at_the_borders_of_programs():
    """Many bins and peaks, so that several programs share the axis; each peak is in it once."""
    generator = torch.Generator().manual_seed(5)
    magnitude = torch.rand(1, 211, 40, generator=generator).to(DEVICE)
    arguments = (torch.ones(211, device=DEVICE), None, torch.ones(1, device=DEVICE), RATIO, 211, 698)
    expected, _ = op.reference(magnitude, *arguments)
    with forced_kernels():
        axis, level = op.salience_inputs(magnitude, arguments[0], None, *arguments[3:])
    torch.testing.assert_close(level, op.reference(magnitude, *arguments)[1], atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(axis.sum(-2), expected.sum(-2), atol=1e-4, rtol=1e-5)
    assert ((axis - expected).abs() > 1e-4).float().mean() < 1e-3  # places may be rounded either way


def test_the_harmonic_sum_skips_what_lies_below_a_pitch():
    """No harmonic lies more than a semitone below its pitch: blocks below are never multiplied."""
    table = summation(PitchGrid(1025, 44100 / 2048), torch.empty(0))
    lowest = [max(p - 9, 0) // UNIT for p in range(0, 454, ROWS)]
    assert [first for first, _ in table.ranges.tolist()] == lowest
