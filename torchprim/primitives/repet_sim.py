"""Repetition without a period: a frame's background is the median of the frames most like it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from torchprim import checks
from torchprim.primitives.base import Primitive
from torchprim.spectra.high_pass import high_pass

# Values gathered and sorted at once: bounds the memory, whatever the length of the clip.
_BLOCK = 1 << 23


def _similar_frames(magnitude: Tensor, apart: int, count: int) -> tuple[Tensor, Tensor]:
    """For each frame those most like it, `apart` frames from it and from each other: (N, K), valid.

    Greedy: the frame of highest cosine similarity is taken and its surroundings ruled out, again and
    again. The frame itself is ruled out first: it would pull the median towards the voice in it.
    """
    frames = magnitude.shape[-1]
    norm = torch.linalg.vector_norm(magnitude, dim=0, keepdim=True)
    unit = magnitude / torch.where(norm > 0, norm, 1)
    similarity = unit.T @ unit
    around = torch.arange(1 - apart, apart, device=magnitude.device)
    itself = torch.arange(frames, device=magnitude.device)[:, None]
    similarity.scatter_(1, (itself + around).clamp(0, frames - 1), -1)
    chosen, valid = [], []
    for _ in range(min(count, -(-frames // apart))):
        best, index = similarity.max(1, keepdim=True)
        chosen.append(index)
        valid.append(best >= 0)
        similarity.scatter_(1, (index + around).clamp(0, frames - 1), -1)
    return torch.cat(chosen, 1), torch.cat(valid, 1)


def _repeating(magnitude: Tensor, apart: int, count: int) -> Tensor:
    """(F, N): for each bin the median over the similar frames."""
    with torch.no_grad():
        index, valid = _similar_frames(magnitude, apart, count)
    bins = magnitude.shape[0]
    rows = magnitude.T  # (N, F)
    result = []
    block = max(1, _BLOCK // (bins * index.shape[1]))
    for chosen, found in zip(index.split(block), valid.split(block), strict=True):
        stack = rows[chosen].transpose(1, 2)  # (n, F, K)
        stack = stack.masked_fill(~found[:, None], torch.inf).sort(-1).values
        found = found.sum(-1)[:, None, None].expand(-1, bins, 1)
        middle = stack.gather(-1, (found - 1).clamp(min=0) // 2) + stack.gather(-1, found // 2)
        # Where no frame is similar nothing is known to repeat.
        result.append(torch.where(found > 0, middle / 2, 0)[..., 0])
    return torch.cat(result).T


def repet_sim(
    magnitude: Tensor,
    apart: float = 1.0,
    count: int = 100,
    *,
    hop_length: int = 512,
    cutoff: float | Tensor = 0.0,
    smooth: bool = True,
    sample_rate: float = 44100,
) -> Tensor:
    """Vocals mask of REPET-SIM (Rafii and Pardo 2012).

    With c(i, j) the cosine similarity of frames i and j, the background of a frame is W = the median,
    bin by bin, of the frames of highest similarity that lie at least `apart` seconds from it and from each
    other; mask = 1 - min(W, A) / A, 0 where A is 0. The best of the classical methods in
    SiSEC 2018; it needs clips of many seconds, where much repeats.

    Args:
        magnitude: `(..., F, N)`, not negative.
        apart: least distance of similar frames in seconds.
        count: most frames that a median is taken of.
        hop_length: samples between frames; gives `apart` its frames.
        cutoff: high-pass in Hz, see `high_pass`; 0 for none.
        smooth: whether the high-pass is smooth.
        sample_rate: in Hz.

    Returns:
        `(..., F, N)` in [0, 1]. Which frames are similar carries no gradient.

    Raises:
        ValueError: for a magnitude that is complex, negative or not finite, or settings out of range.

    Example:
        >>> import torch, torchprim as tp
        >>> tp.repet_sim(tp.stft(torch.randn(2, 88200)).abs()).shape
        torch.Size([2, 1025, 173])
    """
    magnitude = checks.magnitude(magnitude)
    checks.positive(apart, "apart")
    checks.integer(count, "count", 1)
    checks.integer(hop_length, "hop_length", 1)
    frames_apart = max(1, round(apart * sample_rate / hop_length))
    items = magnitude.reshape(-1, *magnitude.shape[-2:])
    background = torch.stack([_repeating(item, frames_apart, count) for item in items]).reshape(
        magnitude.shape
    )
    present = magnitude > 0
    share = (background / torch.where(present, magnitude, 1)).clamp(max=1)
    gain = high_pass(magnitude.shape[-2], sample_rate, cutoff, smooth, like=magnitude)
    return torch.where(present, (1 - share) * gain, 0)


class RepetSim(Primitive, function=repet_sim):
    """`repet_sim` as a module: its settings are attributes, see `Primitive`.

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
    ) -> None:
        super().__init__(locals())

    def forward(self, magnitude: Tensor) -> Tensor:
        return repet_sim(magnitude, **self.settings)

    if TYPE_CHECKING:

        def __call__(self, magnitude: Tensor) -> Tensor: ...
