"""Position of each bin of a stereo spectrum between centre and sides: the side-to-mid ratio in dB."""

from __future__ import annotations

from torch import Tensor

from torchprim.kernels.register import register_operator
from torchprim.kernels.spectra.magnitude import as_complex, as_pairs

# Grid of positions: the ratio in dB of the first point, and the step. One channel alone (0 dB) is a point.
POINTS = 16
LOWEST = -48.0
STEP = 4.0

# Frames computed at a time: temporary tensors that stay in the cache.
_BLOCK = 128


def _over_three_frames(x: Tensor) -> Tensor:
    """Sum each frame with its neighbours."""
    total = x.clone()
    total[..., 1:] += x[..., :-1]
    total[..., :-1] += x[..., 1:]
    return total


def reference(spectrum: Tensor) -> tuple[Tensor, Tensor]:
    """Compute position and level of `(..., 2, F, N, 2)`."""
    left, right = as_complex(spectrum).unbind(-3)
    mid, side = left.real.new_empty(2, *left.shape).unbind()
    for start in range(0, left.shape[-1], _BLOCK):
        frames = slice(start, start + _BLOCK)
        mid[..., frames] = (left[..., frames] + right[..., frames]).abs()
        side[..., frames] = (left[..., frames] - right[..., frames]).abs()
    mid, side = _over_three_frames(mid), _over_three_frames(side)
    level = mid + side
    ratio = side.div_(mid).log10_().mul_(20 / STEP).sub_(LOWEST / STEP).clamp_(0, POINTS - 1)
    return ratio.masked_fill_(level == 0, 0), level


_side_to_mid = register_operator(
    "side_to_mid",
    reference,
    kernel="side_to_mid_triton.forward",
    fake=lambda spectrum: tuple(
        spectrum.new_empty(*spectrum.shape[:-4], *spectrum.shape[-3:-1]) for _ in range(2)
    ),
)


def side_to_mid(spectrum: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the position of each bin by its side-to-mid ratio, and its level.

    With M = L + R and S = L - R, summed over the frame and its neighbours, the ratio is 20 log10(Σ|S| / Σ|M|)
    dB: low in the centre, 0 in one channel alone, high where the channels are of opposite sign. It does not
    tell left from right.

    Args:
        spectrum: of two channels, `(..., 2, F, N)`, complex, in any order in memory.

    Returns:
        position: `(..., F, N)`, in steps of 4 dB from -48 dB, in [0, 15]; 0 in silence.
        level: `(..., F, N)`, Σ|M| + Σ|S|.
        Both are contiguous and have no gradient.

    Raises:
        ValueError: for a spectrum that is not complex, or not of two channels.

    Example:
        >>> import torch
        >>> from torchprim.kernels.spatial.side_to_mid import side_to_mid
        >>> left, right = torch.tensor([[[1.0], [1.0], [1.0]], [[1.0], [0.0], [-1.0]]]).cfloat()
        >>> side_to_mid(torch.stack([left, right]))[0].flatten().tolist()
        [0.0, 12.0, 15.0]
    """
    if not spectrum.is_complex() or spectrum.dim() < 3 or spectrum.shape[-3] != 2:
        raise ValueError(
            f"spectrum must be complex (..., 2, F, N), got {tuple(spectrum.shape)} {spectrum.dtype}"
        )
    return _side_to_mid(as_pairs(spectrum.detach()))
