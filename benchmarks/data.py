"""Where real audio for measurements is found, and how songs are split for tuning and reporting."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from torchprim.audio.load import load_stems

SPLITS = ("even", "odd", "all")  # even: to tune on; odd: to report on


class MissingData(Exception):
    """Real audio that a benchmark needs is not there; the text says what, and where it was looked for."""


class Song(NamedTuple):
    """Mono sources of one song, `(T,)`; the mixture is their sum."""

    name: str
    vocals: Tensor
    accompaniment: Tensor
    sample_rate: float

    @property
    def mixture(self) -> Tensor:
        return self.vocals + self.accompaniment


def data_root() -> Path:
    """The folder that the variable TORCHPRIM_DATA names; by default `../shared/data` beside the checkout."""
    default = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
    return Path(os.environ.get("TORCHPRIM_DATA") or default)


def preview_paths(split: str = "odd") -> list[Path]:
    """The MUSDB18 previews in alphabetical order, every second one: counted from 0, even or odd.

    Raises:
        MissingData: where there are none.
        ValueError: for an unknown split.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    folder = data_root() / "musdb18_7s" / "train"
    paths = sorted(folder.glob("*.stem.mp4"))
    if not paths:
        raise MissingData(
            f"no *.stem.mp4 in {folder}: set TORCHPRIM_DATA to a folder that holds "
            "musdb18_7s/train (previews of the MUSDB18 training set)"
        )
    return {"even": paths[0::2], "odd": paths[1::2], "all": paths}[split]


def read_song(path: Path) -> Song:
    """The mean of the channels of each source; drums, bass and other add up to the accompaniment."""
    stems, sample_rate = load_stems(path)
    mono = {name: stem.mean(0) for name, stem in stems.items()}
    vocals = mono.pop("vocals")
    return Song(path.name.removesuffix(".stem.mp4"), vocals, sum(mono.values()), sample_rate)
