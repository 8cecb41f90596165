"""Folders of real audio for benchmarks, and the split of songs for tuning and reporting."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from torchprim.audio.load import load_stems
from torchprim.evaluation.songs import Song

SPLITS = ("even", "odd", "all")  # even: to tune on; odd: to report on


class MissingData(Exception):
    """Real audio that a benchmark needs is not there; the text names it and the folder that was searched."""


def data_root() -> Path:
    """Return the folder of the variable TORCHPRIM_DATA; by default `../shared/data` beside the checkout."""
    default = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
    return Path(os.environ.get("TORCHPRIM_DATA") or default)


def preview_paths(split: str = "odd") -> list[Path]:
    """List the MUSDB18 previews in alphabetical order, every second one: counted from 0, even or odd.

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


def read_preview(path: Path) -> Song:
    """Read a preview with its channels; drums, bass and other add up to the accompaniment.

    Unlike `read_song` of the evaluation it takes silent stems.
    """
    stems, sample_rate = load_stems(path)
    vocals = stems.pop("vocals")
    return Song(path.name.removesuffix(".stem.mp4"), torch.stack([vocals, sum(stems.values())]), sample_rate)
