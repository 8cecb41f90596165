"""The spatial cue: what it learns, what leaves a mask as it is, gradients, errors."""

import pytest
import torch

import torchprim as tp
from torchprim.primitives.spatial import _band_edges


def drawn(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def stereo(*lead, samples=12000, seed=0):
    return torch.randn(*lead, 2, samples, generator=torch.Generator().manual_seed(seed))


def mixed():
    """A voice in the centre, then an instrument at the left: spectrum, true mask, a poor one."""
    voice, left = (stereo(seed=seed)[0] for seed in range(2))
    voice[6000:], left[:6000] = 0.01 * voice[6000:], 0.01 * left[:6000]
    truth = tp.ideal_ratio_mask(voice, left)
    spectrum = tp.stft(torch.stack([voice + left, voice]))
    return spectrum, truth, (0.5 + 0.3 * (truth - 0.5) + 0.2 * (drawn(*truth.shape) - 0.5))


def test_the_vocals_are_found_in_the_centre():
    spectrum, truth, mask = mixed()
    errors = [(m - truth).square().mean() for m in (mask, tp.spatial(spectrum, mask))]
    assert errors[1] < 0.2 * errors[0]
    # It does not know that the vocals are there: they are where the mask says.
    torch.testing.assert_close(
        tp.spatial(spectrum, 1 - mask), 1 - tp.spatial(spectrum, mask), atol=1e-3, rtol=0
    )


def test_by_hand():
    """Two positions in a band: of the vocals 3/4 are in the centre, of the rest 4/7."""
    left = torch.ones(5, 9) + 0j
    right = left * torch.tensor([1, 0, 1, 0, 0])[:, None]
    mask = torch.tensor([0.6, 0.4, 0.6, 0.4, 0.6])[:, None].expand(-1, 9)
    # At 80 Hz a bin all but the last two lie in the lowest band.
    got = tp.spatial(torch.stack([left, right]), mask, 1.5, sample_rate=8 * 80)
    floor = 1e-3 / 16
    level = torch.tensor([4.0, 2.0])  # |M| + |S| of the two bins in the centre and of the one at the left
    vocals, rest = level * torch.tensor([0.6, 0.4]), level * torch.tensor([0.4, 0.6])
    gain = 1.5 * ((vocals / vocals.sum() + floor) / (rest / rest.sum() + floor)).log()
    for f, side in ((0, 0), (1, 1), (2, 0)):
        torch.testing.assert_close(torch.logit(got[f]), torch.logit(mask[f]) + gain[side])


@pytest.mark.parametrize("gains", [(1, 1), (1, -1), (1, 0), (0, 1), (0, 0), (0.3, 0.3)])
def test_one_position_changes_nothing(gains):
    mask = drawn(1025, 24)
    mask[:20] = 0
    audio = stereo()[:1] * torch.tensor(gains)[:, None]
    assert torch.equal(tp.spatial(tp.stft(audio), mask), mask)
    assert torch.equal(tp.spatial(tp.stft(stereo()), mask, 0.0), mask)


@pytest.mark.parametrize("level", [1e-30, 1e-20, 1e9, 1e18])
def test_the_mask_is_invariant_to_level(level):
    spectrum, _, mask = mixed()
    torch.testing.assert_close(
        tp.spatial(spectrum * level, mask), tp.spatial(spectrum, mask), atol=1e-4, rtol=0
    )


def test_silence_and_masks_of_0_and_1():
    audio = stereo()
    audio[:, 4000:9000] = 0
    mask = drawn(1025, 24)
    mask[100:200], mask[300:400] = 0, 1
    spectrum = tp.stft(audio)
    assert (spectrum == 0).any()
    for m in (mask, torch.zeros_like(mask), torch.ones_like(mask)):
        m.requires_grad_()
        result = tp.spatial(spectrum, m)
        (gradient,) = torch.autograd.grad(result.sum(), m)
        assert gradient.isfinite().all()
        assert torch.equal(result[m == 0], m[m == 0]) and torch.equal(result[m == 1], m[m == 1])
        assert result.min() >= 0 and result.max() <= 1


def test_batch_equals_loop_and_channels_have_no_order():
    spectrum, mask = tp.stft(stereo(2, 3)), drawn(2, 3, 1025, 24)
    result = tp.spatial(spectrum, mask)
    for i in range(2):
        for j in range(3):
            torch.testing.assert_close(
                result[i, j], tp.spatial(spectrum[i, j], mask[i, j]), atol=1e-5, rtol=0
            )
    torch.testing.assert_close(tp.spatial(spectrum.flip(-3), mask), result)
    assert tp.spatial(spectrum[:0], mask[:0]).shape == (0, 3, 1025, 24)
    assert tp.spatial(spectrum[..., :1], mask[..., :1]).shape == (2, 3, 1025, 1)
    assert tp.spatial(spectrum.cdouble(), mask).dtype == torch.float64


def test_bands():
    assert _band_edges(1025, 44100) == [0, 8, 40, 1025]
    assert _band_edges(257, 16000) == [0, 6, 28, 257]
    assert _band_edges(5, 44100) == [0, 1, 5]  # a coarse grid has fewer
    assert _band_edges(5, 200) == [0, 5]
    # What lies in one band says nothing of another.
    spectrum, mask = tp.stft(stereo()), drawn(1025, 24)
    other = mask.clone()
    other[50:] = 0.5
    torch.testing.assert_close(tp.spatial(spectrum, mask)[:40], tp.spatial(spectrum, other)[:40])
    assert (tp.spatial(spectrum, mask)[40:50] - tp.spatial(spectrum, other)[40:50]).abs().max() > 1e-4


def test_gradients():
    spectrum = tp.stft(stereo(samples=200).double(), tp.Geometry(8000, 32, 16))
    mask = drawn(*spectrum.shape[-2:]).double().requires_grad_()
    strength = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(
        lambda m, s: tp.spatial(spectrum, m, s, sample_rate=8000), (mask, strength)
    )
    leaf = spectrum.clone().requires_grad_()
    assert torch.autograd.grad(tp.spatial(leaf, mask).sum(), leaf, allow_unused=True) == (None,)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"spectrum": torch.zeros(2, 9, 4)}, "spectrum must be a complex tensor, got torch.float32"),
        ({"spectrum": torch.zeros(3, 9, 4) + 0j}, r"spectrum must have shape \(..., 2, F, N\) for a mask"),
        ({"spectrum": torch.zeros(2, 9, 5) + 0j}, r"of shape \(9, 4\), got \(2, 9, 5\)"),
        ({"mask": torch.zeros(9, 4) + 0j}, "mask must be real"),
        ({"strength": -1.0}, "strength must be finite and not negative, got -1.0"),
        ({"strength": float("nan")}, "strength must be finite and not negative, got nan"),
        ({"sample_rate": 0}, "sample_rate must be positive, got 0"),
    ],
)
def test_bad_arguments(changed, message):
    arguments = {"spectrum": torch.zeros(2, 9, 4) + 0j, "mask": torch.zeros(9, 4)} | changed
    with pytest.raises(ValueError, match=message):
        tp.spatial(**arguments)
