"""BSSEval v4 against museval, on a real song and on noise."""

import math
import sys

import numpy as np
import pytest
import torch

import torchprim as tp
from torchprim.audio.find import demo_song
from torchprim.audio.load import load_stems
from torchprim.evaluation.museval_peer import museval_bss_eval

RATE = 44100


def assert_equal_to_museval(references, estimates, window, hop, tolerance):
    """Within `tolerance` dB where museval lies within 60 dB of 0; the same frames undefined."""
    got = tp.metrics.bss_eval(references, estimates, window, hop)
    want = museval_bss_eval(references, estimates, window, hop)
    checked = 0
    for mine, theirs in zip(got, want, strict=True):
        mine, theirs = mine.numpy(), theirs.numpy()
        assert mine.shape == theirs.shape
        np.testing.assert_array_equal(np.isnan(mine), np.isnan(theirs))
        near = np.isfinite(theirs) & (np.abs(theirs) < 60)
        np.testing.assert_allclose(mine[near], theirs[near], rtol=0, atol=tolerance)
        checked += near.sum()
    return got, checked


@pytest.fixture(scope="module")
def song():
    """2.5 s of a real song: sources and estimates `(2, C, T)`, stereo."""
    stems, _ = load_stems(demo_song())
    vocals = stems.pop("vocals")
    sources = torch.stack([vocals, sum(stems.values())])[..., RATE : RATE + int(2.5 * RATE)]
    estimate = tp.PrimitiveSeparator("best", method="2dft-r")(sources.sum(0), RATE, channels=True)
    return sources, torch.stack([estimate.vocals, estimate.accompaniment])


def test_mono_song_equals_museval(song):
    mono = (x.mean(1, keepdim=True) for x in song)
    _, checked = assert_equal_to_museval(*mono, RATE, RATE, 0.01)
    assert checked == 4 * 2 * 2


def test_stereo_song_equals_museval(song):
    _, checked = assert_equal_to_museval(*song, RATE, RATE // 2, 0.01)
    assert checked == 4 * 2 * 4


def noise(sources=2, channels=1, length=9000, seed=0):
    g = torch.Generator().manual_seed(seed)
    s = torch.randn(sources, channels, length, generator=g)
    return s, s + 0.3 * s.flip(0) + 0.1 * torch.randn(sources, channels, length, generator=g)


@pytest.mark.parametrize(
    ("window", "hop"), [(2000, 2000), (2000, 1500), (3000, 4000), (9000, 100), (math.inf, math.inf)]
)
def test_windows_are_those_of_museval(window, hop):
    assert_equal_to_museval(*noise(), window, hop, 1e-6)


def test_silent_frames_are_undefined_as_in_museval():
    s, e = noise(channels=2)
    s[0, :, 2000:4000] = 0
    e[1, 0, 6000:8000] = 0.1
    e[1, 1, 6000:8000] = -0.1  # channels that cancel count as silence, too
    scores, _ = assert_equal_to_museval(s, e, 1000, 1000, 1e-5)
    undefined = scores.sdr.isnan()
    assert undefined.nonzero()[:, 1].unique().tolist() == [2, 3, 6, 7]
    assert torch.equal(undefined[0], undefined[1])


def test_perfect_estimate_has_no_error():
    s, _ = noise()
    scores = tp.metrics.bss_eval(s, s, 3000, 3000)
    assert (scores.sdr == math.inf).all()
    assert scores.isr.min() > 100 and scores.sir.min() > 100 and scores.sar.min() > 100


def test_equal_channels_make_no_trouble():
    """The normal equations are singular there; museval falls back on least squares."""
    s, e = noise(channels=1)
    wide = (x.expand(-1, 2, -1) for x in (s, e))
    one, two = (tp.metrics.bss_eval(*x, 3000, 3000, filter_length=32) for x in ((s, e), wide))
    for narrow, double in zip(one, two, strict=True):
        torch.testing.assert_close(narrow, double, atol=1e-6, rtol=0)


def test_order_of_channels_does_not_matter():
    """Vocals that differ by -70 dB between channels, and next to nothing above 3/4 of the band.

    museval's filters are rounding there, and so were ours with the channels as they are: 15 dB apart.
    """
    g = torch.Generator().manual_seed(1)
    spectrum = torch.randn(2, 2, 6001, generator=g) * (torch.arange(6001) < 4500)
    s = torch.fft.irfft(spectrum.double() * torch.exp(1j * 6.28 * torch.rand(2, 2, 6001, generator=g)))
    s[0, 1] = s[0, 0] + 3e-4 * s[0, 1]
    s = s + 1e-8 * s.std() * torch.randn(s.shape, generator=g)
    e = s + 0.2 * s.flip(0).roll(3, -1)
    one = tp.metrics.bss_eval(s, e, 3000, 3000, filter_length=64)
    two = tp.metrics.bss_eval(s.flip(1), e.flip(1), 3000, 3000, filter_length=64)
    for mine, theirs in zip(one, two, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-3, rtol=0)


def test_batch_equals_loop():
    items = [noise(seed=seed, length=4000) for seed in range(4)]
    s, e = (torch.stack(column).unflatten(0, (2, 2)) for column in zip(*items, strict=True))
    s[1, 1, 0] = 0  # a whole source is silent: museval refuses; here it is undefined
    got = tp.metrics.bss_eval(s, e, 1000, 1000, filter_length=16)
    assert got.sar.shape == (2, 2, 2, 4) and got.sar[1, 1].isnan().all()
    for i in range(3):
        alone = tp.metrics.bss_eval(*items[i], 1000, 1000, filter_length=16)
        for mine, theirs in zip(alone, got, strict=True):
            torch.testing.assert_close(mine, theirs[i // 2, i % 2], atol=1e-9, rtol=0)


def test_chunks_do_not_matter(monkeypatch):
    from torchprim.metrics import bss_eval_v4, distortion_filters

    s, e = noise(length=30_000)
    whole = tp.metrics.bss_eval(s, e, 2000, 500)
    monkeypatch.setattr(distortion_filters, "_CHUNK", 1)
    monkeypatch.setattr(bss_eval_v4, "_CHUNK", 1)
    for mine, theirs in zip(tp.metrics.bss_eval(s, e, 2000, 500), whole, strict=True):
        torch.testing.assert_close(mine, theirs, atol=1e-9, rtol=0)


def test_bad_arguments_are_named():
    s, e = noise(length=4000)
    with pytest.raises(ValueError, match=r"estimates must have the shape of references \(2, 1, 4000\)"):
        tp.metrics.bss_eval(s, e[:1])
    with pytest.raises(ValueError, match=r"references must have shape \(\.\.\., S, C, T\)"):
        tp.metrics.bss_eval(s[0], e[0])
    with pytest.raises(ValueError, match=r"hop must be a whole number of samples, at least 1, got 0\.5"):
        tp.metrics.bss_eval(s, e, 1000, 0.5)
    with pytest.raises(ValueError, match="references must be finite"):
        tp.metrics.bss_eval(s / 0, e)


def test_museval_is_loaded_without_its_package(monkeypatch):
    """`import museval` wants ffmpeg on the system, through stempeg."""
    monkeypatch.setenv("PATH", "")
    before = "museval" in sys.modules
    museval_bss_eval(*noise(length=3000), 1000, 1000)
    assert ("museval" in sys.modules) == before
