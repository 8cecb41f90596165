"""Cutting a long recording into overlapping pieces, and fading their results into one another."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor


def _ramp(count: int, like: Tensor) -> Tensor:
    """Rises from 0 to 1 over `count` samples; with its mirror image it adds up to 1."""
    return (torch.arange(count, dtype=like.dtype, device=like.device) + 0.5) / max(1, count)


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
        gain = torch.ones_like(used[(0,) * (used.dim() - 1)])
        gain[: self.fade_in] *= _ramp(self.fade_in, gain)
        gain[len(gain) - self.fade_out :] *= _ramp(self.fade_out, gain).flip(0)
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
        >>> from torchprim.separators.pieces import cut
        >>> [(p.start, p.stop, p.begin, p.end) for p in cut(50, 30, 4)]
        [(0, 30, 0, 27), (20, 50, 23, 50)]
    """
    if length <= piece:
        return [Piece(0, length, 0, length, 0, 0)]
    # A start may be rounded down by a step of the grid: that much is kept in hand.
    advance = max(1.0, piece - overlap - grid - 1)
    count = 1 + math.ceil((length - piece) / advance)
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


def on_frames(pieces: list[Piece], frame: float, counts: list[int]) -> list[Piece]:
    """The same pieces counted in frames.

    Args:
        pieces: in samples, as `cut` made them.
        frame: samples from one frame to the next.
        counts: frames that each piece has.

    Returns:
        Pieces whose fades add up to 1 frame by frame.

    Example:
        >>> from torchprim.separators.pieces import cut, on_frames
        >>> [(p.start, p.stop, p.begin, p.end) for p in on_frames(cut(500, 300, 40, 10), 10, [31, 31])]
        [(0, 31, 0, 27), (20, 51, 23, 51)]
    """
    fade = round(pieces[0].fade_out / frame)
    starts = [round(piece.start / frame) for piece in pieces]
    begins = [round(piece.begin / frame) for piece in pieces]
    stops = [start + count for start, count in zip(starts, counts, strict=True)]
    ends = [*(begin + fade for begin in begins[1:]), stops[-1]]
    fades = [(fade if i else 0, fade if i < len(pieces) - 1 else 0) for i in range(len(pieces))]
    return [Piece(*edges, *f) for *edges, f in zip(starts, stops, begins, ends, fades, strict=True)]
