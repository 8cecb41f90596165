"""Banks and remixes of two channels."""

from types import SimpleNamespace

import pytest
import soundfile
import torch

import torchprim as tp
from tests.support.small_bank import GEOMETRY, RATE, tone

FRAMES = 60
LENGTH = 59 * GEOMETRY.hop_length


class Panned(torch.nn.Module):
    """A teacher whose vocals are three quarters of each channel; it wants channels."""

    identity = "panned"

    def forward(self, audio, sample_rate, channels=False):
        assert channels and audio.dim() == 3
        level = audio.square().mean((-2, -1))
        measures = {"confidence": level, "silhouette": level, "posterior": level}
        return SimpleNamespace(vocals=0.75 * audio, accompaniment=0.25 * audio, **measures)


@pytest.fixture
def folder(tmp_path):
    """Write a song that is left of the middle, one right of it, one of a single channel."""
    for name, audio in {
        "left": torch.stack([tone(6, 300), 0.25 * tone(6, 300)], 1),
        "right": torch.stack([0.5 * tone(6, 500), tone(6, 500)], 1),
        "mono": tone(6, 700)[:, None],
    }.items():
        (tmp_path / "music").mkdir(exist_ok=True)
        soundfile.write(tmp_path / "music" / f"{name}.wav", audio.numpy(), RATE, subtype="FLOAT")
    return tmp_path


def open_bank(folder, channels, kind=tp.Bank, **settings):
    settings = {"segment_seconds": 4.0, "hop_seconds": 2.0} | settings
    return kind([folder / "music"], RATE, channels=channels, cache=folder / "c", progress=False, **settings)


def song_of(bank, name):
    return next(i for i, segment in enumerate(bank.segments) if name in bank.names[segment.song])


def test_bank_keeps_both_channels(folder):
    stereo, mono = open_bank(folder, 2), open_bank(folder, 1)
    assert stereo.segments == mono.segments and mono.audio([0]).dim() == 2
    for name, ratio in {"left": 0.25, "right": 2.0, "mono": 1.0}.items():
        audio = stereo.audio([song_of(stereo, name)])
        assert audio.shape == (1, 2, 4 * RATE)
        left, right = audio[0].square().mean(-1).sqrt()
        assert right / left == pytest.approx(ratio, rel=1e-3)
        torch.testing.assert_close(audio.mean(1), mono.audio([song_of(mono, name)]), atol=1e-4, rtol=0)
    assert tp.Bank.from_cache(folder / "c", sample_rate=RATE, channels=2, progress=False).channels == 2
    with pytest.raises(ValueError, match="channels"):
        open_bank(folder, 3)


def test_remixes_are_panned_as_their_songs(folder):
    bank = open_bank(folder, 2)
    labels = tp.label(bank, Panned(), progress=False)
    assert labels.confidence.isfinite().all()
    stream = tp.RemixStream(bank, Panned(), labels=labels, batch_size=8, frames=FRAMES, geometry=GEOMETRY)
    batch = stream.batch(0)
    assert batch.mixture.shape == (8, 2, LENGTH) and batch.magnitude.shape == (8, GEOMETRY.bins, FRAMES)
    ratios = torch.tensor([0.25, 2.0, 1.0])
    for source in (batch.vocals, batch.accompaniment):
        left, right = source.square().mean(-1).sqrt().unbind(1)
        assert ((right / left)[:, None] - ratios).abs().amin(1).max() < 1e-2
    torch.testing.assert_close(batch.mixture, batch.vocals + batch.accompaniment)
    expected = tp.stft(batch.mixture.mean(1), GEOMETRY).abs()
    torch.testing.assert_close(batch.magnitude, expected, atol=1e-4, rtol=1e-3)
    again = tp.RemixStream(bank, Panned(), labels=labels, batch_size=8, frames=FRAMES, geometry=GEOMETRY)
    assert torch.equal(again.batch(0).mixture, batch.mixture)


def test_stereo_level_equaliser_and_speed(folder):
    bank = open_bank(folder, 2)
    settings = {"batch_size": 4, "frames": FRAMES, "geometry": GEOMETRY}
    level = tp.RemixStream(bank, Panned(), ratio=(3.0, 3.0), **settings).batch(1)
    power = [x.square().mean((-2, -1)) for x in (level.vocals, level.accompaniment)]
    torch.testing.assert_close(
        10 * torch.log10(power[0] / power[1]), torch.full((4,), 3.0), atol=0.01, rtol=0
    )
    changed = tp.RemixStream(bank, Panned(), eq=3.0, speed=0.05, **settings).batch(1)
    assert changed.mixture.shape == (4, 2, LENGTH) and changed.mixture.isfinite().all()


def test_stereo_stems(tmp_path):
    song = tmp_path / "music" / "song"
    song.mkdir(parents=True)
    sources = {
        "vocals": torch.stack([tone(6, 300), 0 * tone(6, 300)], 1),
        "accompaniment": torch.stack([0.5 * tone(6, 500), tone(6, 500)], 1),
    }
    for name, audio in sources.items():
        soundfile.write(song / f"{name}.wav", audio.numpy(), RATE, subtype="FLOAT")
    bank = open_bank(tmp_path, 2, tp.StemBank)
    vocals, accompaniment = bank.stems([0])
    torch.testing.assert_close(vocals[0].T, sources["vocals"][: 4 * RATE], atol=1e-4, rtol=0)
    torch.testing.assert_close(accompaniment[0].T, sources["accompaniment"][: 4 * RATE], atol=1e-4, rtol=0)
    assert not bank.notes  # vocals on one channel alone are not silent


def test_primitives_as_stereo_teacher(folder):
    bank = open_bank(folder, 2)
    stream = tp.RemixStream(
        bank, tp.PrimitiveSeparator("best", "hpss").eval(), batch_size=2, frames=FRAMES, geometry=GEOMETRY
    )
    mixture, sources = stream.batch(0).pair()
    torch.testing.assert_close(mixture, sources.sum(1))
