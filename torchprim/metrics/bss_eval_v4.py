"""BSSEval version 4, as the SiSEC campaigns and museval compute it: SDR, ISR, SIR and SAR per frame.

Its SDR is not comparable with SD-SDR: BSSEval allows any filter of 512 taps on the references.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from torchprim import checks
from torchprim.metrics.distortion_filters import projection_filters

_CHUNK = 2**24  # complex numbers of one signal in a chunk of frames: 256 MB


class BSSEval(NamedTuple):
    """In dB, each `(..., S, frames)`; nan where a source is silent in a frame."""

    sdr: Tensor  # signal to distortion
    isr: Tensor  # image to spatial distortion
    sir: Tensor  # signal to interference
    sar: Tensor  # signal to artifacts


def bss_eval(
    references: checks.Audio,
    estimates: checks.Audio,
    window: float = 44100,
    hop: float = 44100,
    *,
    filter_length: int = 512,
) -> BSSEval:
    """Compute BSSEval v4 (Stöter, Liutkus and Ito 2018) of all sources of a track.

    With P_j the projection of an estimate on its own reference filtered with L taps, and P that on all
    references, both fitted once over the whole track: SDR = |s|² / |e - s|², ISR = |s|² / |P_j e - s|²,
    SIR = |P_j e|² / |P e - P_j e|², SAR = |P e|² / |e - P e|², in dB, over each frame and its channels.
    The filters start with zero state in each frame, and ring for L - 1 samples after it. Permutations are
    not searched: estimate j is of reference j. Track scores are medians over the frames.

    Args:
        references: `(..., S, C, T)`, true sources.
        estimates: `(..., S, C, T)`, their estimates in the same order.
        window: samples of a frame; `math.inf`, or any number from T on, for one frame of the whole track.
        hop: samples between the starts of frames; an incomplete last frame is left out.
        filter_length: taps L of the filters.

    Returns:
        `sdr, isr, sir, sar`, each `(..., S, frames)`, float64. A frame in which a reference or an estimate
        is silent (the sum of its channels is 0 throughout) is nan for all sources.

    Raises:
        ValueError: for signals that are complex, empty, not finite, or of unequal shapes, or a window,
            hop or filter length that is not a whole number of samples.

    Example:
        >>> import torch, torchprim as tp
        >>> sources = torch.randn(2, 1, 3 * 8000)
        >>> mixture = sources.sum(0, keepdim=True).expand(2, -1, -1)
        >>> scores = tp.metrics.bss_eval(sources, mixture, 8000, 8000, filter_length=16)
        >>> scores.sdr.shape, scores.sdr.abs().max() < 1, scores.sar.min() > 100
        (torch.Size([2, 3]), tensor(True), tensor(True))
    """
    references = _checked(references, "references")
    estimates = _checked(estimates, "estimates")
    checks.same_device(estimates, "estimates", references, "references")
    if references.shape != estimates.shape:
        raise ValueError(
            f"estimates must have the shape of references {tuple(references.shape)}, "
            f"got {tuple(estimates.shape)}"
        )
    checks.integer(filter_length, "filter_length", 1)
    window, hop, count = _frames(references.shape[-1], window, hop)
    leading = references.shape[:-3]
    pairs = zip(references.flatten(0, -4), estimates.flatten(0, -4), strict=True) if leading else ()
    # A loop over items: the normal equations of one saturate the device (2048 x 2048 for stereo).
    items = [
        _track(s, e, window, hop, count, filter_length)
        for s, e in (pairs if leading else [(references, estimates)])
    ]
    if leading and not items:
        scores = references.new_empty(4, *leading, references.shape[-3], count)
    else:
        scores = torch.stack(items, 1).unflatten(1, leading) if leading else items[0]
    return BSSEval(*scores)


def _checked(signals: checks.Audio, name: str) -> Tensor:
    signals = checks.real(signals, name, 3, "(..., S, C, T)")
    return checks.double(checks.audio(signals, name))


def _frames(length: int, window: float, hop: float) -> tuple[int, int, int]:
    """Return window and hop in samples, and the number of frames, as museval's `Framing`."""
    if not window < length:
        return length, length, 1
    for name, value in (("window", window), ("hop", hop)):
        if not math.isfinite(value) or value != int(value) or value < 1:
            raise ValueError(f"{name} must be a whole number of samples, at least 1, got {value!r}")
    return int(window), int(hop), int((length - window + hop) // hop)


def _track(references: Tensor, estimates: Tensor, window: int, hop: int, count: int, lags: int) -> Tensor:
    """Compute the four ratios `(4, S, frames)` of one track `(S, C, T)`."""
    scores = references.new_full((4, len(references), count), torch.nan)
    signals = torch.stack([references, estimates])  # (2, S, C, T)
    if not (signals.sum(2) != 0).any(-1).all():
        return scores  # museval refuses such a track
    per_source, joint = projection_filters(references, estimates, lags)
    size = _good_size(window + lags - 1)  # linear, not circular, convolution
    filters = torch.fft.rfft(per_source, n=size, dim=2), torch.fft.rfft(joint, n=size, dim=2)
    chunk = max(1, _CHUNK // (signals[0, :, :, 0].numel() * size))  # frames
    for first in range(0, count, chunk):
        last = min(count, first + chunk)
        part = signals[..., first * hop : (last - 1) * hop + window].unfold(-1, window, hop)
        scores[:, :, first:last] = _ratios(part, filters, size)
    return scores


def _ratios(frames: Tensor, filters: tuple[Tensor, Tensor], size: int) -> Tensor:
    """Compute `(4, S, frames)` of frames `(2, S, C, frames, window)`, nan where a source is silent."""
    audible = (frames.sum(2) != 0).any(-1).all(0).all(0)  # (frames,)
    s, e = torch.fft.rfft(frames, n=size)  # (S, C, frames, F) each
    per_source, joint = filters
    on_source = torch.einsum("scnf,scfd->sdnf", s, per_source)  # P_j e
    on_all = torch.einsum("scnf,scfed->ednf", s, joint)  # P e

    def energy(spectrum: Tensor) -> Tensor:
        """Sum by Parseval: all bins count twice but the first, and the last of an even size."""
        total = 2 * torch.linalg.vector_norm(torch.view_as_real(spectrum), dim=(-2, -1)).square()
        once = spectrum[..., [0, -1] if size % 2 == 0 else [0]].abs().square().sum(-1)
        return (total - once).sum(1)  # (S, frames)

    target = energy(s)
    ratios = torch.stack(
        [
            _decibel(target, energy(e - s)),
            _decibel(target, energy(on_source - s)),
            _decibel(energy(on_source), energy(on_all - on_source)),
            _decibel(energy(on_all), energy(e - on_all)),
        ]
    )
    return ratios.masked_fill(~audible, torch.nan)


def _decibel(above: Tensor, below: Tensor) -> Tensor:
    return torch.where(below == 0, torch.inf, 10 * torch.log10(above / below))


def _good_size(least: int) -> int:
    """Return the smallest FFT length >= `least` whose prime factors are 2, 3 and 5."""
    best = 1 << (least - 1).bit_length()
    five = 1
    while five < best:
        three = five
        while three < best:
            size = three << max(0, (-(-least // three) - 1).bit_length())
            best = min(best, size)
            three *= 3
        five *= 5
    return best
