"""Peaks of the 2-D transform, against the definition on the whole plane, and kernel against reference."""

import numpy as np
import pytest
import torch

from tests.support.kernel_tools import DEVICE, awkward, forbid, runs_kernels
from tests.support.oracles import peaks_by_definition
from torchprim.kernels.dispatch import forced_kernels
from torchprim.kernels.ft2d import local_peaks as op
from torchprim.kernels.ft2d.local_peaks import kept_peaks, local_peaks

# bins, frames, rates: rows that are margins alone, and rows with programs that see no margin
SIZES = [(5, 14, 5), (2, 41, 25), (2, 170, 35), (1, 171, 25), (2, 57, 55), (4, 3, 3), (1, 30, 7), (3, 1, 1)]


def spectrum_of(*shape, seed=0, device=DEVICE):
    """Draw a spectrum that is not contiguous, of a signal that is not negative."""
    return torch.fft.rfft2(awkward(*shape, seed=seed, device=device)).mT.contiguous().mT


@pytest.mark.parametrize(
    ("bins", "frames", "neighbourhood"),
    [(40, 33, (1, 25)), (32, 41, (1, 5)), (32, 40, (3, 5)), (17, 31, (5, 3)), (7, 7, (7, 7)), (2, 5, (1, 3))],
)
def test_equals_the_definition(bins, frames, neighbourhood):
    magnitude = np.random.default_rng(bins).random((bins, frames))
    spectrum = torch.fft.rfft2(torch.tensor(magnitude))
    wanted = peaks_by_definition(magnitude, neighbourhood)[:, : frames // 2 + 1]
    got = local_peaks(spectrum.abs() / spectrum.abs().max(), frames, neighbourhood)
    np.testing.assert_allclose(got.numpy(), wanted, atol=1e-12)
    kept, highest = kept_peaks(spectrum, frames, neighbourhood)
    np.testing.assert_allclose((kept / highest).numpy(), wanted * spectrum.numpy(), atol=1e-9)


@runs_kernels
@pytest.mark.parametrize("bins, frames, rates", SIZES)
def test_kernel_equals_reference(bins, frames, rates, monkeypatch, poisoned):
    items = 2 if frames < 20 else 1
    spectrum = spectrum_of(items, bins, frames, seed=bins)
    shape = torch.view_as_real(spectrum).shape
    d_kept, d_highest = awkward(*shape, seed=1, low=-1.0), awkward(items, seed=2, low=-1.0)
    parts = torch.view_as_real(spectrum).contiguous()
    kept, highest, where = op.reference(parts, frames, rates)
    wanted = op.reference_gradients(d_kept, d_highest, parts, kept, where, frames, rates)
    forbid(monkeypatch, op, "reference", "reference_gradients", "peak_map")
    leaf = spectrum.detach().clone().requires_grad_()
    with forced_kernels():
        got, got_highest = kept_peaks(leaf, frames, (1, rates))
        total = (torch.view_as_real(got) * d_kept).sum() + (got_highest * d_highest).sum()
        total.backward()
    scale = spectrum.abs().max().item()
    torch.testing.assert_close(torch.view_as_real(got), kept, atol=1e-6 * scale, rtol=1e-5)
    torch.testing.assert_close(got_highest, highest, atol=1e-6, rtol=1e-5)
    torch.testing.assert_close(torch.view_as_real(leaf.grad), wanted, atol=2e-5, rtol=1e-4)


@runs_kernels
def test_more_scales_than_a_program_has(poisoned):
    parts = torch.view_as_real(spectrum_of(35, 9)).contiguous()
    with forced_kernels():
        got = op._peaks(parts, 9, 3)
    for value, wanted in zip(got, op.reference(parts, 9, 3), strict=True):
        torch.testing.assert_close(value, wanted, atol=2e-4, rtol=1e-5)


@runs_kernels
def test_kernel_with_ties_and_flat_places():
    """Equal levels in one window are all peaks; a flat plane, and one of zeros, has none."""
    parts = torch.zeros(3, 6, 51, 2, device=DEVICE)
    parts[0, :, ::4, 0] = 3.0
    parts[0, :, 2::4, 1] = -3.0
    parts[0, 0, 0, 0] = 8.0
    parts[1, ..., 0] = 0.7
    with forced_kernels():
        kept, highest, _ = op._peaks(parts, 100, 7)
    wanted, _, _ = op.reference(parts, 100, 7)
    torch.testing.assert_close(kept, wanted, atol=1e-5, rtol=1e-5)
    assert (kept[0, 2, 4:44, 0].abs() > 1).sum() == 10
    assert not kept[1:].any()
    assert highest[1:].tolist() == [0.0, 0.0]


@runs_kernels
@pytest.mark.parametrize("make", ["kernel", "reference"])
def test_float32_variance_is_accurate(make):
    """Neighbourhoods far from zero with little spread: what a float32 sum of squares would lose."""
    level = 0.5 + 1e-3 * awkward(4, 101, seed=5, device=DEVICE).double()
    level[0, 0] = 1.0
    parts = torch.stack([level, torch.zeros_like(level)], -1)
    wanted, _, _ = op.reference(parts.float().double(), 200, 25)
    if make == "kernel":
        with forced_kernels():
            kept, _, _ = op._peaks(parts.float(), 200, 25)
    else:
        kept, _, _ = op.reference(parts.float(), 200, 25)
    torch.testing.assert_close(kept.double(), wanted, atol=2e-3, rtol=2e-3)


@runs_kernels
def test_leading_dimensions_and_empty_batches():
    spectrum = spectrum_of(6, 5, 14).view(2, 3, 5, 8)
    with forced_kernels():
        kept, highest = kept_peaks(spectrum, 14, (1, 5))
        none, no_highest = kept_peaks(spectrum[:0], 14, (1, 5))
    assert (kept.shape, highest.shape) == (spectrum.shape, (2, 3))
    assert (none.shape, no_highest.shape) == ((0, 3, 5, 8), (0, 3))
    torch.testing.assert_close(kept[1, 2], kept_peaks(spectrum[1, 2].cpu(), 14, (1, 5))[0].to(DEVICE))


def test_flat_plane_and_gradient_are_finite():
    for neighbourhood in ((1, 5), (3, 3)):
        m = torch.zeros(5, 6, requires_grad=True)
        peaks = local_peaks(m, 10, neighbourhood)
        kept, _ = kept_peaks(m + 0j, 10, neighbourhood)
        (peaks.sum() + kept.abs().sum()).backward()
        assert torch.equal(peaks, torch.zeros(5, 6))
        assert torch.isfinite(m.grad).all()


def doubles(*shape, seed=4):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("bins, frames, neighbourhood", [(5, 12, (1, 5)), (4, 11, (1, 5)), (6, 12, (3, 5))])
def test_gradcheck(bins, frames, neighbourhood):
    m = doubles(bins, frames // 2 + 1).requires_grad_()
    assert torch.autograd.gradcheck(lambda t: local_peaks(t, frames, neighbourhood), m)
    spectrum = torch.fft.rfft2(doubles(bins, frames)).requires_grad_()
    assert torch.autograd.gradcheck(lambda s: kept_peaks(s, frames, neighbourhood), spectrum)


@pytest.mark.parametrize("neighbourhood", [(1, 5), (3, 3), (1, 1)])
def test_soft_choice_gradcheck(neighbourhood):
    m = doubles(5, 7).requires_grad_()
    temperature = torch.tensor(0.7, dtype=torch.float64, requires_grad=True)
    check = torch.autograd.gradcheck
    assert check(lambda t, x: local_peaks(t, 12, neighbourhood, x), (m, temperature))
    if neighbourhood != (1, 1):
        local_peaks(m, 12, neighbourhood, temperature).square().sum().backward()
        assert m.grad.ne(0).sum() > 30  # not the peaks alone
        assert temperature.grad.abs() > 1e-4


@pytest.mark.parametrize("neighbourhood", [(1, 7), (3, 5)])
def test_hard_choice_is_the_limit_of_the_soft(neighbourhood):
    magnitude = doubles(16, 40)
    m = torch.fft.rfft2(magnitude).abs()
    m = m / m.max()
    hard = local_peaks(m, 40, neighbourhood)
    differences = [(local_peaks(m, 40, neighbourhood, t) - hard).abs().max() for t in (1.0, 0.1, 1e-2, 1e-6)]
    assert differences == sorted(differences, reverse=True)
    assert differences[0] > 0.05
    assert differences[-1] < 1e-9
    limit = local_peaks(m.cpu(), 40, neighbourhood, 1e-300)
    assert torch.equal(limit, hard)


def test_registration():
    parts = torch.view_as_real(spectrum_of(2, 4, 9, device="cpu")).contiguous()
    torch.library.opcheck(op._peaks, (parts.clone().requires_grad_(), 9, 5))
    kept, highest, where = op._peaks(parts, 9, 5)
    torch.library.opcheck(op._peaks_backward, (kept, highest, parts, kept, where, 9, 5))


def test_compiles():
    spectrum = spectrum_of(2, 4, 9, device="cpu")
    compiled = torch.compile(kept_peaks, fullgraph=True, backend="aot_eager")
    for got, wanted in zip(compiled(spectrum, 9, (1, 5)), kept_peaks(spectrum, 9, (1, 5)), strict=True):
        torch.testing.assert_close(got, wanted)


@pytest.mark.parametrize("neighbourhood", [(1, 4), (2, 3), (0, 5), (1, 2000), (1, 2.5)])
def test_bad_neighbourhood(neighbourhood):
    with pytest.raises(ValueError, match="neighbourhood must be"):
        local_peaks(torch.rand(10, 3), 5, neighbourhood)


@pytest.mark.parametrize("temperature", [-1.0, float("nan"), torch.tensor(0.0)])
def test_bad_temperature(temperature):
    with pytest.raises(ValueError, match="temperature must be positive, got"):
        local_peaks(torch.rand(10, 3), 5, (1, 3), temperature)


def test_a_plane_of_another_size():
    for body, plane in ((local_peaks, torch.rand(4, 5)), (kept_peaks, torch.rand(4, 5) + 0j)):
        with pytest.raises(ValueError, match=r"must have 9 // 2 \+ 1 rates for frames=9 and .* got 4 x 5"):
            body(plane, 9, (5, 3))
        with pytest.raises(ValueError, match=r"must have 12 // 2 \+ 1 rates"):
            body(plane, 12, (1, 3))
