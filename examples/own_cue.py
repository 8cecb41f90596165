"""A cue of your own: where in the stereo image a sound lies. The voice is mostly in the middle.

    torchprim separate song.mp3 --preset examples/own_cue.py:with_position
    python -m examples.own_cue song.mp3 --out STEMS                  # the same in Python

It stands in for the spatial cue of the preset `best`, which learns from each song where its voice lies. What
it does to songs with known stems is in docs/extending.md, measured by `torchprim evaluate compare` with
`--methods pcl:examples/own_cue.py:without,pcl:examples/own_cue.py:with_position,pcl`.
"""

from __future__ import annotations

import argparse
import dataclasses

import torch
from torch import Tensor

import torchprim as tp


def position(mixture: tp.Mixture, width: float = 0.25) -> Tensor:
    """Return the mask |M|² / (|M|² + |S|² / width²) of mid M = L + R and side S = L - R; 1/2 of mono."""
    spectrum = mixture.channel_spectrum()  # (..., C, F, N), or None
    if spectrum is None or spectrum.shape[-3] != 2:
        return torch.full_like(mixture.magnitude(), 0.5)
    left, right = spectrum.unbind(-3)
    mid, side = (left + right).abs().square(), (left - right).abs().square()
    return mid / (mid + side / width**2).clamp_min(torch.finfo(mid.dtype).tiny)


without = dataclasses.replace(tp.PRESETS["best"], name="without", spatial=0.0)
with_position = without.plus("position", position, weight=1.0)


def main(argv: list[str] | None = None) -> None:
    """Separate a song with the cue in the ensemble, and write the stems."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("song")
    parser.add_argument("--out", default="stems", help="folder of the stems (stems)")
    args = parser.parse_args(argv)
    stems = tp.separate(args.song, args.out, separator=tp.PrimitiveSeparator(with_position))
    print(f"confidence {stems.confidence:.3f}; mean of the cue's mask {stems.masks['position'].mean():.3f}")


if __name__ == "__main__":
    main()
