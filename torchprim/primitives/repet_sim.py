"""REPET-SIM: repetition without a period; the background of a frame is the median of similar frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from torchprim import checks
from torchprim.kernels.autocast import outside_autocast
from torchprim.kernels.mask_dtype import mask_dtype
from torchprim.primitives.base import Primitive
from torchprim.spectra.high_pass import high_pass

# Values gathered and sorted in one block: bounds the memory for clips of any length.
_BLOCK_VALUES = 1 << 23


@outside_autocast
def _similar_frames(magnitude: Tensor, min_distance: int, count: int) -> tuple[Tensor, Tensor]:
    """Find the frames most similar to each frame, `min_distance` from it and from each other.

    Greedy: the frame of highest cosine similarity is selected and its neighbours are suppressed, again and
    again. The frame itself is suppressed first: it would pull the median towards the voice in it.

    Returns:
        Indices `(N, K)`, and whether each is valid, `(N, K)`.
    """
    frames = magnitude.shape[-1]
    peak = magnitude.amax(0, keepdim=True)
    unit = magnitude / torch.where(peak > 0, peak, 1)  # squares of a quiet recording would underflow
    norm = torch.linalg.vector_norm(unit, dim=0, keepdim=True)
    unit = unit / torch.where(norm > 0, norm, 1)
    similarity = unit.T @ unit
    offsets = torch.arange(1 - min_distance, min_distance, device=magnitude.device)
    diagonal = torch.arange(frames, device=magnitude.device)[:, None]
    similarity.scatter_(1, (diagonal + offsets).clamp(0, frames - 1), -1)
    indices, valid = [], []
    for _ in range(min(count, -(-frames // min_distance))):
        best, index = similarity.max(1, keepdim=True)
        indices.append(index)
        valid.append(best >= 0)
        similarity.scatter_(1, (index + offsets).clamp(0, frames - 1), -1)
    return torch.cat(indices, 1), torch.cat(valid, 1)


def _background(magnitude: Tensor, min_distance: int, count: int) -> Tensor:
    """Compute the median of each bin over the similar frames: `(F, N)` -> `(F, N)`."""
    with torch.no_grad():
        all_indices, all_valid = _similar_frames(magnitude, min_distance, count)
    bins = magnitude.shape[0]
    rows = magnitude.T  # (N, F)
    medians = []
    block = max(1, _BLOCK_VALUES // (bins * all_indices.shape[1]))
    for index, valid in zip(all_indices.split(block), all_valid.split(block), strict=True):
        stack = rows[index].transpose(1, 2)  # (n, F, K)
        stack = stack.masked_fill(~valid[:, None], torch.inf).sort(-1).values
        sizes = valid.sum(-1)[:, None, None].expand(-1, bins, 1)
        middle = stack.gather(-1, (sizes - 1).clamp(min=0) // 2) + stack.gather(-1, sizes // 2)
        # Without a similar frame nothing is known to repeat.
        medians.append(torch.where(sizes > 0, middle / 2, 0)[..., 0])
    return torch.cat(medians).T


def repet_sim(
    magnitude: Tensor,
    apart: float = 1.0,
    count: int = 100,
    *,
    hop_length: int = 512,
    cutoff: float | Tensor = 0.0,
    smooth: bool = True,
    sample_rate: float = 44100,
    dtype: torch.dtype | None = None,
) -> Tensor:
    """Compute the vocals mask of REPET-SIM (Rafii and Pardo 2012).

    The background W of a frame is the median, bin by bin, of the frames of highest cosine similarity that
    lie at least `apart` seconds from it and from each other; mask = 1 - min(W, A) / A, 0 where A is 0. The
    best of the classical methods in SiSEC 2018; it needs clips of many seconds, where much repeats.

    Args:
        magnitude: `(..., F, N)`, not negative.
        apart: minimum distance of similar frames, in seconds.
        count: maximum number of similar frames.
        hop_length: samples from one frame to the next; converts `apart` to frames.
        cutoff: high-pass in Hz, see `high_pass`; 0 for none.
        smooth: whether the high-pass is smooth.
        sample_rate: in Hz.
        dtype: in which the mask is stored, float16 or float32; that of the magnitude by default.

    Returns:
        `(..., F, N)` in [0, 1]. The choice of similar frames is constant for the gradient.

    Raises:
        ValueError: for a magnitude that is complex, negative or not finite, or settings out of range.

    Example:
        >>> import torch, torchprim as tp
        >>> tp.repet_sim(tp.stft(torch.randn(2, 88200)).abs()).shape
        torch.Size([2, 1025, 173])
    """
    magnitude = checks.magnitude(magnitude)
    checks.positive(checks.number(apart, "apart"), "apart")
    checks.integer(count, "count", 1)
    checks.integer(hop_length, "hop_length", 1)
    checks.rate(sample_rate, "sample_rate")
    # Frames that lie further apart than the clip is long are all suppressed.
    min_distance = max(1, round(min(apart * sample_rate / hop_length, magnitude.shape[-1])))
    items = magnitude.reshape(-1, *magnitude.shape[-2:])
    backgrounds = [_background(item, min_distance, count) for item in items]
    background = torch.stack(backgrounds) if backgrounds else items  # of a batch of none
    background = background.reshape(magnitude.shape)
    nonzero = magnitude > 0
    ratio = (background / torch.where(nonzero, magnitude, 1)).clamp(max=1)
    gain = high_pass(magnitude.shape[-2], sample_rate, cutoff, smooth, like=magnitude)
    mask = torch.where(nonzero, (1 - ratio) * gain, 0)
    return mask.to(mask_dtype(dtype, mask.dtype, mask))


class RepetSim(Primitive, function=repet_sim):
    """Module of `repet_sim`; its settings are attributes, see `Primitive`.

    Example:
        >>> import torch, torchprim as tp
        >>> tp.RepetSim(apart=0.5)(torch.rand(65, 100)).shape
        torch.Size([65, 100])
    """

    def __init__(
        self,
        apart: float = 1.0,
        count: int = 100,
        *,
        hop_length: int = 512,
        cutoff: float | Tensor = 0.0,
        smooth: bool = True,
        sample_rate: float = 44100,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(locals())

    def forward(self, magnitude: Tensor) -> Tensor:
        return repet_sim(magnitude, **self.settings)

    if TYPE_CHECKING:

        def __call__(self, magnitude: Tensor) -> Tensor: ...
