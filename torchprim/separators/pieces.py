"""Splitting of long recordings into overlapping pieces, and overlap-add of their results with cross-fades."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Piece:
    """Piece of a recording, cross-faded with its neighbours. All numbers are samples, or frames.

    Args:
        start: first sample of the piece.
        stop: end of the piece, exclusive.
        output_start: first sample of the output that the piece contributes to.
        output_stop: end of the samples that it contributes to, exclusive.
        fade_in: length of the fade that begins at `output_start`; 0 for the first piece.
        fade_out: length of the fade that ends at `output_stop`; 0 for the last piece.
    """

    start: int
    stop: int
    output_start: int
    output_stop: int
    fade_in: int
    fade_out: int

    @property
    def weight(self) -> float:
        """Number of samples that the piece contributes to, those in a cross-fade counting half."""
        return self.output_stop - self.output_start - (self.fade_in + self.fade_out) / 2

    def overlap_add(self, result: Tensor, output: Tensor) -> None:
        """Add the result of the piece to the output in place, weighted by the cross-fade.

        Args:
            result: `(..., stop - start)`.
            output: `(..., T)`, of the whole recording.
        """
        output[..., self.output_start : self.output_stop] += self.faded(result)

    def faded(self, result: Tensor) -> Tensor:
        """Weight the part of a result that is added; the weights of all pieces add up to 1.

        Args:
            result: `(..., stop - start)`.

        Returns:
            `(..., output_stop - output_start)`; a part of `result` itself where there is no cross-fade.
        """
        part = result[..., self.output_start - self.start : self.output_stop - self.start]
        if not self.fade_in and not self.fade_out:
            return part
        gain = torch.ones_like(part[(0,) * (part.dim() - 1)])
        gain[: self.fade_in] *= _ramp(self.fade_in, gain)
        gain[len(gain) - self.fade_out :] *= _ramp(self.fade_out, gain).flip(0)
        return part * gain


def _ramp(length: int, like: Tensor) -> Tensor:
    """Return a linear ramp from 0 to 1, which adds up to 1 with its mirror image."""
    return (torch.arange(length, dtype=like.dtype, device=like.device) + 0.5) / max(1, length)


def split(length: int, piece_length: int, overlap: int, hop_length: float = 1.0) -> list[Piece]:
    """Split a recording into equally spaced pieces that overlap by at least `overlap` samples.

    All pieces have one length (the last ends at `length`, less than a hop longer): statistics over a whole
    piece, such as the 2DFT's, see the same duration everywhere. Two pieces are cross-faded over `overlap`
    samples in the middle of their overlap, where neither is near its edge.

    Args:
        length: samples of the recording.
        piece_length: samples of a piece.
        overlap: minimum overlap of two pieces, and length of the cross-fade, in samples.
        hop_length: pieces start at multiples of it, rounded to samples.

    Returns:
        One or more pieces.

    Example:
        >>> from torchprim.separators.pieces import split
        >>> [(p.start, p.stop, p.output_start, p.output_stop) for p in split(50, 30, 4)]
        [(0, 30, 0, 27), (20, 50, 23, 50)]
    """
    if length <= piece_length:
        return [Piece(0, length, 0, length, 0, 0)]
    # Rounding to the grid moves a start by less than a hop, which may cost overlap.
    max_spacing = max(1.0, piece_length - overlap - hop_length - 1)
    count = 1 + math.ceil((length - piece_length) / max_spacing)
    spacing = (length - piece_length) / (count - 1)
    starts = [round(math.floor(i * spacing / hop_length + 1e-9) * hop_length) for i in range(count)]
    stops = [*(start + piece_length for start in starts[:-1]), length]
    fades = [(starts[i + 1] + stops[i] - overlap) // 2 for i in range(count - 1)]  # starts of the cross-fades
    return _build(starts, stops, fades, overlap)


def to_frames(pieces: Sequence[Piece], hop_length: float, frame_counts: Sequence[int]) -> list[Piece]:
    """Convert pieces from samples to frames.

    Args:
        pieces: in samples, from `split`, all starting at whole frames.
        hop_length: samples from one frame to the next.
        frame_counts: number of frames of each piece.

    Returns:
        Pieces in frames, whose cross-fades add up to 1 in each frame.

    Example:
        >>> from torchprim.separators.pieces import split, to_frames
        >>> pieces = to_frames(split(500, 300, 40, 10), 10, [31, 31])
        >>> [(p.start, p.stop, p.output_start, p.output_stop) for p in pieces]
        [(0, 31, 0, 27), (20, 51, 23, 51)]
    """
    starts = [round(piece.start / hop_length) for piece in pieces]
    stops = [start + count for start, count in zip(starts, frame_counts, strict=True)]
    fades = [round(piece.output_start / hop_length) for piece in pieces[1:]]
    return _build(starts, stops, fades, round(pieces[0].fade_out / hop_length))


def _build(starts: list[int], stops: list[int], fades: list[int], overlap: int) -> list[Piece]:
    """Build pieces from their boundaries and the starts of the cross-fades of `overlap` between them."""
    last = len(starts) - 1
    return [
        Piece(
            start=starts[i],
            stop=stops[i],
            output_start=fades[i - 1] if i else starts[0],
            output_stop=fades[i] + overlap if i < last else stops[last],
            fade_in=overlap if i else 0,
            fade_out=overlap if i < last else 0,
        )
        for i in range(len(starts))
    ]
