"""From audio to stems: ensemble, pieces of long recordings, sample rates, channels, edge cases."""

import copy
import math
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import torchprim as tp
from torchprim.audio.find import demo_song
from torchprim.audio.load import load_stems
from torchprim.ensemble.presets import PRIMITIVES
from torchprim.metrics.scale import sd_sdr
from torchprim.separators import base
from torchprim.separators.pieces import split, to_frames


@given(
    length=st.integers(1, 4000),
    piece_length=st.integers(60, 400),
    overlap=st.integers(0, 9),
    hop=st.sampled_from([1.0, 3.0, 7.25]),
)
@settings(max_examples=200, deadline=None)
def test_pieces_cover_the_recording_and_cross_fades_add_up_to_1(length, piece_length, overlap, hop):
    pieces = split(length, piece_length, overlap, hop)
    total = torch.zeros(length, dtype=torch.float64)
    for p in pieces:
        assert p.start <= p.output_start < p.output_stop <= p.stop <= length
        assert abs(p.start - round(round(p.start / hop) * hop)) == 0
        assert p.stop - p.start < piece_length + hop + 1
        assert len(pieces) == 1 or p.stop - p.start >= piece_length
        p.overlap_add(torch.ones(p.stop - p.start, dtype=torch.float64), total)
    torch.testing.assert_close(total, torch.ones_like(total))
    assert math.isclose(sum(p.weight for p in pieces), length)


def test_cross_fades_of_pieces_in_frames_add_up_to_1():
    pieces = split(100_000, 30_000, 2_000, 557.28)
    frame_counts = [1 + (p.stop - p.start) // 557 for p in pieces]
    frame_pieces = to_frames(pieces, 557.28, frame_counts)
    total = torch.zeros(frame_pieces[-1].stop)
    for p, count in zip(frame_pieces, frame_counts, strict=True):
        p.overlap_add(torch.ones(count), total)
    torch.testing.assert_close(total, torch.ones_like(total))


@pytest.fixture(scope="module")
def mix(drum_loop, voice):
    return drum_loop + voice


def test_ensemble_beats_its_parts_and_the_mixture_on_a_real_song():
    stems, rate = load_stems(demo_song())
    vocals = stems.pop("vocals").mean(0)
    accompaniment = sum(stems.values()).mean(0)

    def score(method):
        got = tp.PrimitiveSeparator("best", method)(vocals + accompaniment, rate)
        return (sd_sdr(vocals, got.vocals) + sd_sdr(accompaniment, got.accompaniment)) / 2

    best = score("pcl")
    assert best > 4.5
    for cue in tp.PRESETS["best"].weights:
        assert best > score(cue) + 0.1  # the melody comes close: it reads the long window, too


@pytest.mark.parametrize("preset", ["best", "paper", "companion"])
def test_shapes_masks_batch_and_reproducibility(preset, mix):
    separator = tp.PrimitiveSeparator(preset)
    batch = torch.stack([mix[:60000], mix[50000:110000]])
    stems = separator(batch, 44100)
    geometry = separator.preset.geometry
    grid = (2, geometry.bins, geometry.frames(math.ceil(60000 * geometry.sample_rate / 44100)))
    assert stems.mask.shape == grid
    assert list(stems.masks) == list(separator.preset.weights)
    assert all(mask.shape == grid for mask in stems.masks.values())
    assert ((stems.mask >= 0) & (stems.mask <= 1)).all()
    torch.testing.assert_close(stems.vocals + stems.accompaniment, batch, atol=1e-5, rtol=0)
    torch.testing.assert_close(stems.silhouette * stems.posterior, stems.confidence)
    for i in range(2):  # batch equals loop
        alone = separator(batch[i], 44100)
        torch.testing.assert_close(alone.vocals, stems.vocals[i], atol=1e-4, rtol=0)
        torch.testing.assert_close(alone.confidence, stems.confidence[i], atol=1e-3, rtol=0)
    assert torch.equal(separator(batch, 44100).confidence, stems.confidence)  # reproducible


@pytest.mark.parametrize("method", PRIMITIVES)
def test_the_mask_of_one_primitive(method, mix):
    stems = tp.PrimitiveSeparator("best", method)(mix[:60000], 44100)
    assert list(stems.masks) == [method]
    assert torch.equal(stems.mask, stems.masks[method])
    assert stems.mask.any()


def test_channels_share_one_mask(mix):
    stereo = torch.stack([mix[:60000], 0.5 * mix[1000:61000]])
    stems = tp.PrimitiveSeparator(spatial=0.0)(stereo, 44100, channels=True)
    assert stems.vocals.shape == stereo.shape
    assert stems.confidence.shape == ()
    middle = tp.PrimitiveSeparator()(stereo.mean(0), 44100)
    torch.testing.assert_close(stems.mask, middle.mask, atol=1e-4, rtol=0)
    # Given the mask, separation is linear: the mean of the channels' vocals is the vocals of their mean.
    torch.testing.assert_close(stems.vocals.mean(0), middle.vocals, atol=1e-4, rtol=0)


def test_an_inverted_channel_is_separated_like_any_other(mix):
    """The mean of left and -left is silence: the mask is that of one of them."""
    left = mix[:60000]
    batch = torch.stack([torch.stack([left, -left]), torch.stack([left, left])]).requires_grad_()
    stems = tp.PrimitiveSeparator()(batch, 44100, channels=True)
    alone = tp.PrimitiveSeparator()(left, 44100)
    for item, mask in zip(stems.vocals, stems.mask, strict=True):
        torch.testing.assert_close(mask, alone.mask, atol=1e-4, rtol=0)
        torch.testing.assert_close(item[0], alone.vocals, atol=1e-4, rtol=0)
        torch.testing.assert_close(item[1].abs(), item[0].abs(), atol=1e-5, rtol=0)
    assert alone.vocals.abs().max() > 0.1
    (gradient,) = torch.autograd.grad(stems.vocals[:, 0].square().sum(), batch)
    assert gradient.isfinite().all() and gradient.any()


@pytest.mark.parametrize("level", [1e-30, 1e30])
def test_the_largest_and_smallest_audio_is_separated(mix, level):
    song = mix[:30000] / mix[:30000].abs().max()
    stems = tp.PrimitiveSeparator()(level * song, 44100)
    assert stems.vocals.isfinite().all() and stems.vocals.any()
    assert stems.confidence.isfinite()


def test_the_spatial_cue_refines_the_mask_of_two_channels(mix):
    stereo = torch.stack([mix[:60000], 0.5 * mix[1000:61000]])
    separator = tp.PrimitiveSeparator()
    stems, plain = (x(stereo, 44100, channels=True) for x in (separator, tp.PrimitiveSeparator(spatial=0.0)))
    assert (stems.confidence, stems.silhouette) == (plain.confidence, plain.silhouette)
    spectrum = tp.stft(stereo - stereo.mean(-1, keepdim=True))
    torch.testing.assert_close(stems.mask, tp.spatial(spectrum, plain.mask), atol=1e-4, rtol=0)
    assert (stems.mask - plain.mask).abs().max() > 0.1
    batch = separator(torch.stack([stereo, stereo.flip(0)]), 44100, channels=True)
    torch.testing.assert_close(
        batch.vocals, torch.stack([stems.vocals, stems.vocals.flip(0)]), atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("channels", [1, 3, "equal"])
def test_the_spatial_cue_needs_two_different_channels(channels, mix):
    audio = mix[None, :30000].expand(2 if channels == "equal" else channels, -1)
    stems, plain = (tp.PrimitiveSeparator(spatial=s)(audio, 44100, channels=True) for s in (2.0, 0.0))
    assert torch.equal(stems.mask, plain.mask)
    assert torch.equal(
        tp.PrimitiveSeparator()(audio, 44100).mask, tp.PrimitiveSeparator(spatial=0.0)(audio, 44100).mask
    )


def test_the_spatial_cue_belongs_to_the_ensemble(mix):
    stereo = torch.stack([mix[:30000], 0.5 * mix[1000:31000]])
    for separator in (tp.PrimitiveSeparator("best", "hpss"), tp.PrimitiveSeparator("paper")):
        assert separator.spatial == 0
    stems = tp.PrimitiveSeparator("best", "hpss")(stereo, 44100, channels=True)
    assert torch.equal(stems.mask, stems.masks["hpss"])


def test_long_audio_is_separated_in_pieces(mix, monkeypatch):
    """9 s in pieces of 3 s instead of 30: cross-faded, with masks on the grid of the whole recording."""
    monkeypatch.setattr(base, "PIECE_SECONDS", 3.0)
    monkeypatch.setattr(base, "OVERLAP_SECONDS", 0.5)
    song = torch.cat([mix, mix[:50001]])
    separator, seen = tp.PrimitiveSeparator(), []
    stems = separator(song, 44100, keep_masks=True, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(i, len(seen)) for i in range(1, len(seen) + 1)]
    assert len(seen) == len(split(len(song), 3 * 44100, 22050))
    torch.testing.assert_close(stems.vocals + stems.accompaniment, song, atol=1e-5, rtol=0)
    assert stems.mask.shape == (1025, 1 + len(song) // 512)
    # Outside of the cross-fades the masks are those of the piece alone.
    piece = separator._pieces(len(song), 44100)[1]
    alone = separator(song[piece.start : piece.stop], 44100)
    first = (piece.output_start + 22050) // 512 + 2
    count = (piece.output_stop - 22050) // 512 - 2 - first
    offset = piece.start // 512
    torch.testing.assert_close(
        stems.mask[:, first : first + count], alone.mask[:, first - offset : first - offset + count]
    )
    # The joined mask, applied to the whole recording, gives the vocals but for the slope of the fades.
    masked = tp.istft(tp.stft(song) * stems.mask, length=len(song))
    assert sd_sdr(stems.vocals, masked) > 30
    assert separator(song, 44100).mask is None
    assert separator(song, 44100).masks == {}


def test_confidence_of_a_song_is_the_mean_of_its_pieces(mix, monkeypatch):
    monkeypatch.setattr(base, "PIECE_SECONDS", 3.0)
    monkeypatch.setattr(base, "OVERLAP_SECONDS", 0.5)
    separator = tp.PrimitiveSeparator(n_points=None)
    song = mix[: 5 * 44100]
    pieces = separator._pieces(len(song), 44100)
    parts = torch.stack([separator(song[p.start : p.stop], 44100).confidence for p in pieces])
    weights = torch.tensor([p.weight for p in pieces])
    wanted = (parts * weights).sum() / weights.sum()
    torch.testing.assert_close(separator(song, 44100).confidence, wanted)


@pytest.mark.parametrize("rate", [8000, 22050, 44099, 48000, 192000])
def test_other_sample_rates(rate, mix):
    song = tp.resample(mix[: 2 * 44100], 44100, rate)
    stems = tp.PrimitiveSeparator()(song, rate)
    torch.testing.assert_close(stems.vocals + stems.accompaniment, song, atol=1e-5, rtol=0)
    wanted = tp.resample(tp.PrimitiveSeparator()(mix[: 2 * 44100], 44100).vocals, 44100, rate)
    count = min(len(wanted), len(song))
    if rate >= 44099:
        assert sd_sdr(wanted[:count], stems.vocals[:count]) > 10


@pytest.mark.parametrize("samples", [1, 2, 3, 10, 511, 512, 513, 2047, 2049])
@pytest.mark.parametrize("preset", ["best", "paper", "companion"])
def test_a_few_samples(samples, preset, generator):
    stems = tp.PrimitiveSeparator(preset)(torch.randn(2, samples, generator=generator), 44100)
    assert stems.vocals.shape == (2, samples)
    assert torch.isfinite(stems.vocals).all()
    assert torch.isfinite(stems.confidence).all()


@pytest.mark.parametrize("value", [0.0, 0.3, -1.0])
@pytest.mark.parametrize("preset", ["best", "paper", "companion"])
@pytest.mark.parametrize("method", ["pcl", *PRIMITIVES])
def test_silence_and_constants(value, preset, method):
    song = torch.full((2, 30000), value)
    stems = tp.PrimitiveSeparator(preset, method)(song, 44100, channels=True)
    assert not stems.mask.any()
    assert stems.confidence == 0
    assert not stems.vocals.any()
    assert torch.equal(stems.accompaniment, song)


def test_masks_are_invariant_to_level(mix):
    loud, quiet = (tp.PrimitiveSeparator()(mix[:60000] * gain, 44100) for gain in (1.0, 2.0**-12))
    torch.testing.assert_close(loud.mask, quiet.mask, atol=1e-4, rtol=0)
    torch.testing.assert_close(loud.vocals, quiet.vocals * 2.0**12, atol=1e-4, rtol=0)


def test_gradient_flows_to_the_audio(mix):
    song = mix[:20000].clone().requires_grad_()
    stems = tp.PrimitiveSeparator()(song, 44100)
    (stems.vocals.square().sum() + stems.confidence).backward()
    assert torch.isfinite(song.grad).all()
    assert song.grad.any()


def test_changed_presets():
    separator = tp.PrimitiveSeparator("best", beta=3.0, weights={"hpss": 1.0, "2dft-r": 0.0})
    assert separator.preset.beta == 3.0
    assert separator.cues.names == ("hpss",)  # a cue with weight 0 is not computed
    assert tp.PRESETS["best"].beta == 2.5
    assert tp.PrimitiveSeparator(spatial=1.0).identity != tp.PrimitiveSeparator().identity


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"preset": "worst"}, "unknown preset 'worst'; there are paper, companion, best"),
        ({"method": "repet"}, "unknown method 'repet'; there are pcl, hpss"),
        ({"beta": 0.0}, "beta must be positive, got 0.0"),
        ({"weights": {"hps": 1.0}}, "unknown primitive 'hps'"),
        ({"weights": {"hpss": -1.0}}, "weights must not be negative"),
        ({"weights": {}}, "weights must name at least one primitive"),
        ({"n_points": 1}, "n_points must be a whole number at least 2, got 1"),
        ({"betta": 1.0}, "a preset has no field 'betta'"),
    ],
)
def test_bad_settings(arguments, message):
    with pytest.raises(ValueError, match=message):
        tp.PrimitiveSeparator(**arguments)


@pytest.mark.parametrize(
    ("audio", "rate", "channels", "message"),
    [
        (torch.zeros(5).long(), 44100, False, "audio must be real and floating point"),
        (torch.tensor([0.0, torch.inf]), 44100, False, "audio must be finite"),
        (torch.full((9,), 3e32), 44100, False, r"audio must lie within ±1e\+30"),
        (torch.zeros(2, 0), 44100, False, "audio must not be empty"),
        (torch.zeros(5), 44100, True, r"audio must have shape \(\.\.\., C, T\), got \(5,\)"),
        (torch.zeros(5), 0, False, "sample_rate must be positive, got 0"),
        (torch.zeros(5), True, False, "sample_rate must be a number in Hz, got True"),
        (torch.zeros(5), 1, False, "new_rate must be within a factor of 1000"),
    ],
)
def test_bad_audio(audio, rate, channels, message):
    with pytest.raises(ValueError, match=message):
        tp.PrimitiveSeparator()(audio, rate, channels)


def test_separators_copy_and_pickle(mix):
    separators = [tp.PrimitiveSeparator("best", beta=3.0), tp.PrimitiveSeparator("paper", "hpss")]
    separators.append(tp.NetworkSeparator(tp.build_network("small").eval()).with_primitives("companion"))
    song = mix[:11025]
    for separator in separators:
        with torch.inference_mode():
            wanted = separator(song, 44100).vocals
            for other in (copy.deepcopy(separator), pickle.loads(pickle.dumps(separator))):
                assert other.identity == separator.identity
                assert torch.equal(other(song, 44100).vocals, wanted)


def test_a_preset_is_frozen():
    weights = {"hpss": 1.0}
    preset = tp.Preset("mine", weights)
    weights["hpss"] = -1.0
    assert preset.weights == {"hpss": 1.0}
    with pytest.raises(TypeError):
        preset.weights["hpss"] = 2.0
    assert copy.deepcopy(tp.PRESETS["best"]) == tp.PRESETS["best"]


def test_the_identity_covers_the_cues():
    """Labels of a separator whose cues were changed must not be taken for the preset's."""
    separator, same = tp.PrimitiveSeparator("best"), tp.PrimitiveSeparator("best")
    preset = separator.identity
    assert preset == same.identity
    seen = {preset}
    hpss = separator.cues["hpss"].primitive
    for power in (3.0, torch.tensor(4.0), torch.nn.Parameter(torch.tensor(4.0)), torch.tensor(4.0000005)):
        hpss.power = power
        assert separator.identity not in seen
        seen.add(separator.identity)
    hpss.power = 2.0
    assert separator.identity == preset
    separator.cues["hpss"] = torch.nn.Identity()
    assert separator.identity not in seen


@pytest.mark.parametrize(("rate", "channels"), [(44100, True), (48000, True), (44100, False)])
def test_stretches_join_to_the_stems_of_the_whole(mix, monkeypatch, rate, channels):
    monkeypatch.setattr(base, "PIECE_SECONDS", 1.0)
    monkeypatch.setattr(base, "OVERLAP_SECONDS", 0.2)
    audio = torch.stack([mix, mix.flip(-1)])[..., : 4 * 44100 + 1]
    audio = audio if channels else audio[0]
    separator = tp.PrimitiveSeparator("best")
    spans, done = [], []

    def read(start, stop):
        spans.append((start, stop))
        return audio[..., start:stop]

    whole = separator(audio, rate, channels)
    stretches = separator.stream(
        read, audio.shape[-1], rate, channels, progress=lambda *pieces: done.append(pieces)
    )
    parts = list(stretches)
    assert len(parts) == len(spans) == len(done) > 3 and done[-1] == (len(parts), len(parts))
    assert max(stop - start for start, stop in spans) < 1.1 * rate  # memory is that of a piece
    for name in ("vocals", "accompaniment"):
        joined = torch.cat([getattr(part, name) for part in parts], -1)
        assert torch.allclose(joined, getattr(whole, name), atol=1e-6)
    for name in ("confidence", "silhouette", "posterior"):
        assert getattr(parts[-1], name).item() == pytest.approx(getattr(whole, name).item(), abs=1e-6)
    (one,) = separator.stream(lambda start, stop: audio[..., start:stop], rate // 2, rate, channels)
    assert torch.allclose(one.vocals, separator(audio[..., : rate // 2], rate, channels).vocals, atol=1e-6)


def test_what_a_stretch_cannot_be_made_of():
    separator = tp.PrimitiveSeparator("best", "hpss")
    for length, rate, message in ((0, 44100, "length"), (9, 0, "sample_rate"), (9, 44100, "must be finite")):
        with pytest.raises(ValueError, match=message):
            list(separator.stream(lambda *_: torch.full((9,), torch.nan), length, rate))
