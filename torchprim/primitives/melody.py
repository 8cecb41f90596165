"""Melody: time and pitch proximity, a mask at the harmonics of the sung pitch."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from torchprim import checks
from torchprim.kernels.mask_dtype import mask_dtype
from torchprim.kernels.voicing.comb_mask import comb_mask
from torchprim.primitives.base import Primitive
from torchprim.primitives.pitch.grid import PitchGrid, check_range
from torchprim.primitives.pitch.tracking import COMB_WIDTH, JUMP, SLOPE, track
from torchprim.spectra.high_pass import high_pass

BIAS = 1.0  # of the voicing score, towards voiced


def melody(
    magnitude: Tensor,
    f_min: float = 80.0,
    f_max: float = 1100.0,
    width: float | Tensor = COMB_WIDTH,
    soft: bool = False,
    *,
    bias: float | Tensor = BIAS,
    slope: float | Tensor = SLOPE,
    jump: float | Tensor = JUMP,
    weight: Tensor | None = None,
    loudest: Tensor | None = None,
    cutoff: float | Tensor = 0.0,
    smooth: bool = True,
    sample_rate: float = 44100,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Compute the vocals mask of the predominant melody: a soft comb at the harmonics of its pitch.

    Mask = v · exp(-d² / 2 width²), d the distance to the nearest of 40 harmonics of the best path through
    the salience (Salamon and Gómez 2012; see `torchprim.primitives.pitch.salience`), v = sigmoid(2 (score
    + bias)) with the voicing score of `torchprim.primitives.pitch.voicing`. The bias is towards voiced: a
    missed voice costs more SD-SDR than a comb that passes accompaniment.

    Args:
        magnitude: `(..., F, N)`; tuned for a window of 2048 and a hop of 512 at 44.1 kHz.
        f_min: lowest pitch in Hz.
        f_max: highest pitch in Hz.
        width: standard deviation of a tooth of the comb in Hz; a tensor receives a gradient.
        soft: average the combs by the marginals of all paths, instead of taking the best path's;
            gradients flow through the marginals.
        bias: added to the voicing score; a tensor receives a gradient.
        slope: transition cost of the path, per pitch (10 cents) of distance. With `soft` a tensor
            receives a gradient.
        jump: maximum transition cost, that of a new note; likewise.
        weight: `(..., F, N)` in [0, 1], a vocals mask that weights the spectrum. That of `long_hpss` without
            a high-pass improves the melody much: it is high where the pitch moves.
        loudest: the largest magnitude, `(...)`, to which level is relative; computed by default.
        cutoff: high-pass of the mask in Hz, see `high_pass`; 0 for none.
        smooth: whether the high-pass is smooth.
        sample_rate: of the audio, in Hz.
        dtype: in which the mask is stored, float16 or float32; that of the magnitude by default.

    Returns:
        `(..., F, N)`, in [0, 1].

    Raises:
        ValueError: for magnitudes or weights that are negative or not finite, weights or `loudest` of another
            shape, a width that is not positive, a pitch range that is empty, begins below 1 Hz or does not
            end below half the sample rate, a bias that is not finite, or path costs that are negative, or
            tensors without `soft`.

    Example:
        >>> import torch, torchprim as tp
        >>> audio = torch.randn(2, 44100)
        >>> tp.melody(tp.stft(audio).abs(), weight=tp.long_hpss(audio), cutoff=220).shape
        torch.Size([2, 1025, 87])
    """
    magnitude = checks.magnitude(magnitude)
    checks.rate(sample_rate, "sample_rate")
    checks.positive(width, "width")
    check_range(f_min, f_max, sample_rate)
    if isinstance(bias, Tensor):
        checks.in_range(bias, "bias")
    elif not math.isfinite(bias):
        raise ValueError(f"bias must be finite, got {bias!r}")
    for name, cost in (("slope", slope), ("jump", jump)):
        checks.not_negative(cost, name)
        if isinstance(cost, Tensor) and not soft:
            raise ValueError(f"{name} must be a number, unless soft=True: the best path has no gradient")
    if weight is not None:
        weight = checks.magnitude(weight, "weight", keep_half=True)
        weight = weight if weight.element_size() == 2 else weight.to(magnitude.dtype)
        if weight.shape[-2:] != magnitude.shape[-2:]:
            raise ValueError(f"weight must have shape {tuple(magnitude.shape)}, got {tuple(weight.shape)}")
    bins = magnitude.shape[-2]
    bin_width = sample_rate / 2 / max(1, bins - 1)
    grid = PitchGrid(bins, bin_width, f_min, f_max)
    if loudest is not None and loudest.shape != magnitude.shape[:-2]:
        raise ValueError(f"loudest must have shape {tuple(magnitude.shape[:-2])}, got {tuple(loudest.shape)}")
    result = track(magnitude, grid, weight, width, soft, slope, jump, loudest=loudest)
    voiced = torch.sigmoid(2 * (result.score + bias))
    gain = high_pass(bins, sample_rate, cutoff, smooth, like=magnitude)
    if result.comb is None:
        return comb_mask(magnitude, gain * result.combs, result.path, voiced, dtype)
    mask = torch.where(magnitude > 0, gain * result.comb * voiced[..., None, :], 0)
    return mask.to(mask_dtype(dtype, mask.dtype, mask))


class Melody(Primitive, function=melody):
    """Module of `melody`; its settings are attributes, see `Primitive`.

    Example:
        >>> import torch, torchprim as tp
        >>> tp.Melody(cutoff=220)(torch.rand(1025, 40)).shape
        torch.Size([1025, 40])
    """

    def __init__(
        self,
        f_min: float = 80.0,
        f_max: float = 1100.0,
        width: float | Tensor = COMB_WIDTH,
        soft: bool = False,
        *,
        bias: float | Tensor = BIAS,
        slope: float | Tensor = SLOPE,
        jump: float | Tensor = JUMP,
        cutoff: float | Tensor = 0.0,
        smooth: bool = True,
        sample_rate: float = 44100,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(locals())

    def forward(
        self, magnitude: Tensor, weight: Tensor | None = None, loudest: Tensor | None = None
    ) -> Tensor:
        return melody(magnitude, weight=weight, loudest=loudest, **self.settings)

    if TYPE_CHECKING:

        def __call__(
            self, magnitude: Tensor, weight: Tensor | None = None, loudest: Tensor | None = None
        ) -> Tensor: ...
