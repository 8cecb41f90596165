"""Long recordings: pieces that cover them, cross-fades, and stretches read one after the other."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import torchprim as tp
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
