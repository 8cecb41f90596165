"""Cutting a long recording into overlapping pieces, and fading their results into one another."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Piece:
    """A piece `[start, stop)` of which `[begin, end)` is used, faded in and out over `fade` samples."""

    start: int
    stop: int
    begin: int
    end: int
    fade_in: int
    fade_out: int

    @property
    def weight(self) -> float:
        """The samples that the piece answers for, a shared sample counting half."""
        return self.end - self.begin - (self.fade_in + self.fade_out) / 2

    def faded(self, result: Tensor) -> Tensor:
        """The used part of a piece's result `(..., stop - start)`, weighted so that pieces add up to 1."""
        used = result[..., self.begin - self.start : self.end - self.start]
        if not self.fade_in and not self.fade_out:
            return used
        gain = torch.ones(self.end - self.begin, dtype=result.dtype, device=result.device)
        for count, ends in ((self.fade_in, gain), (self.fade_out, gain.flip(0))):
            ramp = (torch.arange(count, dtype=result.dtype, device=result.device) + 0.5) / max(1, count)
            ends[:count] *= ramp
            if ends is not gain:
                gain = ends.flip(0)
        return used * gain


def cut(length: int, piece: int, overlap: int, grid: float = 1.0) -> list[Piece]:
    """Pieces of `piece` samples, equally spaced, at least `overlap` samples over each other.

    All pieces have one length (the last ends at `length`, less than a grid step longer): statistics over
    a whole piece, such as the 2DFT's, see the same amount of music everywhere. Each hands over to the
    next in the middle of what they share, where neither is near its edge.

    Args:
        length: samples of the recording.
        piece: samples of a piece.
        overlap: least samples shared by two pieces, and length of the cross-fade.
        grid: pieces start at multiples of this (the hop of a spectrogram), rounded to samples.

    Returns:
        One or more pieces.

    Example:
        >>> from torchprim.pieces import cut
        >>> [(p.start, p.stop, p.begin, p.end) for p in cut(50, 30, 4)]
        [(0, 30, 0, 27), (20, 50, 23, 50)]
    """
    if length <= piece:
        return [Piece(0, length, 0, length, 0, 0)]
    count = math.ceil((length - overlap) / (piece - overlap))
    spacing = (length - piece) / (count - 1)
    starts = [round(math.floor(i * spacing / grid + 1e-9) * grid) for i in range(count)]
    stops = [start + piece for start in starts[:-1]] + [length]
    turns = [(starts[i + 1] + stops[i] - overlap) // 2 for i in range(count - 1)]  # where a fade begins
    return [
        Piece(
            starts[i],
            stops[i],
            turns[i - 1] if i else 0,
            turns[i] + overlap if i < count - 1 else length,
            overlap if i else 0,
            overlap if i < count - 1 else 0,
        )
        for i in range(count)
    ]
