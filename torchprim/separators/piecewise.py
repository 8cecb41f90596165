"""Separation of a recording piece by piece: the whole of it, or stretch by stretch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from torch import Tensor

from torchprim.ensemble.confidence import Confidence
from torchprim.separators.pieces import Piece, to_frames

Progress = Callable[[int, int], None]


class Estimate(NamedTuple):
    """Mask of a mixture on the separator's grid, and its confidence."""

    mask: Tensor  # (..., F, N), or (..., K, F, N) of K sources
    masks: dict[str, Tensor]  # each cue's mask by name
    confidence: Confidence


class Separated(NamedTuple):
    """What was separated, before a separator makes its result of it."""

    audio: Tensor  # the mixture, (..., T)
    stems: Tensor  # (..., T), or (S, ..., T) of several
    estimate: Estimate | None  # masks of the whole mixture, where they are kept
    confidence: Confidence  # mean over pieces, weighted by duration
    sample_rate: float  # in Hz


# Stems of one piece, and the estimate behind them.
SeparatePiece = Callable[[Tensor], tuple[Tensor, Estimate]]


def separate_pieces(
    separate: SeparatePiece,
    audio: Tensor,
    sample_rate: float,
    pieces: Sequence[Piece],
    hop_length: float | None = None,
    progress: Progress | None = None,
) -> Separated:
    """Separate a recording in pieces, and add them up with cross-fades.

    Args:
        separate: of one piece `(..., T)`, from its audio.
        audio: `(..., T)`.
        sample_rate: in Hz.
        pieces: of the recording, from `split`.
        hop_length: of the masks' grid in samples of the audio, to keep them; None for no masks.
        progress: called with (pieces done, number of pieces) after each piece.
    """
    stems, confidences, estimates = audio, [], []
    for done, piece in enumerate(pieces, 1):
        piece_stems, estimate = separate(audio[..., piece.start : piece.stop])
        if len(pieces) == 1:
            stems = piece_stems
        else:
            if done == 1:
                stems = audio.new_zeros(*piece_stems.shape[:-1], audio.shape[-1])
            piece.overlap_add(piece_stems, stems)
        confidences.append(estimate.confidence)
        if hop_length is not None:
            estimates.append(estimate)
        if progress is not None:
            progress(done, len(pieces))
    total = sum(piece.weight for piece in pieces)
    weights = [piece.weight / total for piece in pieces]  # Python floats: no copy to the device
    means = (
        sum(weight * value for weight, value in zip(weights, values, strict=True))
        for values in zip(*confidences, strict=True)
    )
    confidence = Confidence(*means)
    joined = None if hop_length is None else _join_masks(estimates, confidence, pieces, hop_length)
    return Separated(audio, stems, joined, confidence, sample_rate)


def stream_pieces(
    separate: SeparatePiece,
    read: Callable[[int, int], Tensor],
    sample_rate: float,
    pieces: Sequence[Piece],
    progress: Progress | None = None,
) -> Iterator[Separated]:
    """Separate a recording stretch by stretch, one for each piece; joined they are those of the whole.

    Args:
        separate, sample_rate, pieces, progress: as for `separate_pieces`.
        read: returns samples `start` to `stop` of the recording.

    Yields:
        What was separated, with the mean confidence of the pieces so far.
    """
    weight, sums, tail = 0.0, (0.0, 0.0, 0.0), None
    for done, piece in enumerate(pieces, 1):
        audio = read(piece.start, piece.stop)
        stems, estimate = separate(audio)
        weight += piece.weight
        sums = [total + piece.weight * x for total, x in zip(sums, estimate.confidence, strict=True)]
        stems = piece.faded(stems)
        if tail is not None:
            stems[..., : piece.fade_in] += tail
        count = stems.shape[-1] - piece.fade_out  # samples that no later piece adds to
        stems, tail = stems[..., :count], stems[..., count:].clone()
        first = piece.output_start - piece.start
        confidence = Confidence(*(total / weight for total in sums))
        part = Separated(audio[..., first : first + count], stems, None, confidence, sample_rate)
        if progress is not None:
            progress(done, len(pieces))
        del audio, estimate, stems  # not to be held beside the next piece
        yield part
        del part


def _join_masks(
    estimates: list[Estimate], confidence: Confidence, pieces: Sequence[Piece], hop_length: float
) -> Estimate:
    """Overlap-add the masks of all pieces with cross-fades, as the stems are."""
    if len(estimates) == 1:
        return estimates[0]._replace(confidence=confidence)
    frame_counts = [estimate.mask.shape[-1] for estimate in estimates]
    frame_pieces = to_frames(pieces, hop_length, frame_counts)

    def join(masks: list[Tensor]) -> Tensor:
        joined = masks[0].new_zeros(*masks[0].shape[:-1], frame_pieces[-1].stop)
        for piece, mask in zip(frame_pieces, masks, strict=True):
            piece.overlap_add(mask, joined)
        return joined

    names = estimates[0].masks
    cue_masks = {name: join([estimate.masks[name] for estimate in estimates]) for name in names}
    return Estimate(join([estimate.mask for estimate in estimates]), cue_masks, confidence)
