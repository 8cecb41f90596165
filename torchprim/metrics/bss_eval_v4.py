"""BSSEval version 4, as the SiSEC campaigns and museval compute it: SDR, ISR, SIR and SAR frame by frame.

Not to be mixed with SD-SDR: here the reference may be filtered with 512 taps, whatever that changes.
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
    references: Tensor,
    estimates: Tensor,
    window: float = 44100,
    hop: float = 44100,
    *,
    filter_length: int = 512,
) -> BSSEval:
    """BSSEval v4 (Stöter, Liutkus and Ito 2018), on all sources of a track together.

    With P_j the projection of an estimate on its own reference filtered with L taps, and P that on all
    references, both fitted once over the whole track: SDR = |s|² / |e - s|², ISR = |s|² / |P_j e - s|²,
    SIR = |P_j e|² / |P e - P_j e|², SAR = |P e|² / |e - P e|², in dB, over each frame and its channels.
    The filters start afresh in each frame, and ring on for L - 1 samples after it. There is no search
    for a permutation: estimate j is of reference j. Track scores are medians over the frames.

    Args:
        references: `(..., S, C, T)`, true sources.
        estimates: `(..., S, C, T)`, their estimates in the same order.
        window: samples of a frame; `math.inf`, or any number from T on, for one frame of everything.
        hop: samples from one frame to the next; a last frame that is not whole is left out.
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
    if references.shape != estimates.shape:
        raise ValueError(
            f"estimates must have the shape of references {tuple(references.shape)}, "
            f"got {tuple(estimates.shape)}"
        )
    checks.integer(filter_length, "filter_length", 1)
    window, hop, count = _frames(references.shape[-1], window, hop)
    leading = references.shape[:-3]
    pairs = zip(references.flatten(0, -4), estimates.flatten(0, -4), strict=True) if leading else ()
    # Items one by one: the normal equations of one fill the device already (2048 x 2048 for stereo).
    items = [_track(s, e, window, hop, count, filter_length) for s, e in pairs or [(references, estimates)]]
    scores = torch.stack(items, 1).unflatten(1, leading) if leading else items[0]
    return BSSEval(*scores)


def _checked(signals: Tensor, name: str) -> Tensor:
    signals = checks.real(signals, name, 3, "(..., S, C, T)")
    return checks.audio(signals, name).double()


def _frames(length: int, window: float, hop: float) -> tuple[int, int, int]:
    """Window and hop in samples, and the number of frames: museval's `Framing`."""
    if not window < length:
        return length, length, 1
    for name, value in (("window", window), ("hop", hop)):
        if not math.isfinite(value) or value != int(value) or value < 1:
            raise ValueError(f"{name} must be a whole number of samples, at least 1, got {value!r}")
    return int(window), int(hop), int((length - window + hop) // hop)


def _track(references: Tensor, estimates: Tensor, window: int, hop: int, count: int, lags: int) -> Tensor:
    """One track `(S, C, T)`: the four ratios `(4, S, frames)`."""
    scores = references.new_full((4, len(references), count), torch.nan)
    signals = torch.stack([references, estimates])  # (2, S, C, T)
    if not (signals.sum(2) != 0).any(-1).all():
        return scores  # museval refuses such a track
    own, everything = projection_filters(references, estimates, lags)
    size = _good_size(window + lags - 1)  # so that what rings on does not wrap round
    filters = torch.fft.rfft(own, n=size, dim=2), torch.fft.rfft(everything, n=size, dim=2)
    some = max(1, _CHUNK // (signals[0, :, :, 0].numel() * size))
    for first in range(0, count, some):
        last = min(count, first + some)
        part = signals[..., first * hop : (last - 1) * hop + window].unfold(-1, window, hop)
        scores[:, :, first:last] = _ratios(part, filters, size)
    return scores


def _ratios(frames: Tensor, filters: tuple[Tensor, Tensor], size: int) -> Tensor:
    """`(2, S, C, frames, window)` -> `(4, S, frames)`, nan where a source is silent."""
    sound = (frames.sum(2) != 0).any(-1).all(0).all(0)  # (frames,)
    s, e = torch.fft.rfft(frames, n=size)  # (S, C, frames, F) each
    own, everything = filters
    on_own = torch.einsum("scnf,scfd->sdnf", s, own)
    on_all = torch.einsum("scnf,scfed->ednf", s, everything)

    def energy(spectrum: Tensor) -> Tensor:
        """Parseval: each bin but the first, and the last of an even size, stands for two."""
        total = 2 * torch.linalg.vector_norm(torch.view_as_real(spectrum), dim=(-2, -1)).square()
        once = spectrum[..., [0, -1] if size % 2 == 0 else [0]].abs().square().sum(-1)
        return (total - once).sum(1)  # (S, frames)

    true = energy(s)
    ratios = torch.stack(
        [
            _decibel(true, energy(e - s)),
            _decibel(true, energy(on_own - s)),
            _decibel(energy(on_own), energy(on_all - on_own)),
            _decibel(energy(on_all), energy(e - on_all)),
        ]
    )
    return ratios.masked_fill(~sound, torch.nan)


def _decibel(above: Tensor, below: Tensor) -> Tensor:
    return torch.where(below == 0, torch.inf, 10 * torch.log10(above / below))


def _good_size(least: int) -> int:
    """The smallest length >= `least` whose prime factors are 2, 3 and 5: fast to transform."""
    best = 1 << (least - 1).bit_length()
    five = 1
    while five < best:
        three = five
        while three < best:
            whole = three << max(0, (-(-least // three) - 1).bit_length())
            best = min(best, whole)
            three *= 3
        five *= 5
    return best
