"""Fixtures of a small bank: five songs, one short, one quiet, one broken; and a stand-in for a teacher."""

import math
from types import SimpleNamespace

import pytest
import torch

import torchprim as tp

RATE = 8000
GEOMETRY = tp.Geometry(RATE, 256, 64)


def tone(seconds, frequency, level=0.2, rate=RATE):
    t = torch.arange(round(seconds * rate)) / rate
    return level * torch.sin(2 * math.pi * frequency * t)


class HalvingTeacher(torch.nn.Module):
    """A teacher with a constant mask that counts the segments it separates (`separated`)."""

    identity = "halves"

    def __init__(self):
        super().__init__()
        self.separated = 0

    def forward(self, audio, sample_rate, keep_masks=None):
        self.separated += len(audio)
        level = audio.square().mean(-1)
        mask = torch.full((len(audio), GEOMETRY.bins, GEOMETRY.frames(audio.shape[-1])), 0.25)
        return SimpleNamespace(
            vocals=0.25 * audio,
            accompaniment=0.75 * audio,
            mask=mask,
            confidence=level,
            silhouette=level,
            posterior=level,
        )


@pytest.fixture
def music(tmp_path):
    """Write five songs: 10 s, 7 s, a short one, a quiet one, and a file that is not audio."""
    import soundfile  # may be missing on a machine with a GPU; only this fixture needs it

    folder = tmp_path / "music"
    folder.mkdir()
    songs = {"a": tone(10, 300), "b": tone(7, 500, 0.4), "c": tone(2, 700), "quiet": tone(5, 300, 1e-4)}
    for name, audio in songs.items():
        soundfile.write(folder / f"{name}.wav", audio.numpy(), RATE, subtype="FLOAT")
    (folder / "broken.wav").write_text("this is no sound")
    return folder


@pytest.fixture
def bank(music, tmp_path):
    settings = {"segment_seconds": 4.0, "hop_seconds": 2.0, "cache": tmp_path / "cache", "progress": False}
    return tp.Bank([music], RATE, **settings)
