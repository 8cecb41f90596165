"""Two saliences in one: a harmonic sum and that of combs, each relative to its level."""

from __future__ import annotations

import torch
from torch import Tensor

from torchprim.kernels.register import register_gradient, register_operator

OFF_MEDIAN = 0.3  # share of a pitch's median over time that is subtracted from the sum
FLOOR = 0.03  # of a salience, relative to the mean over frames of the frames' maxima
REACH = 2  # frames on either side in the moving average of the combs' salience


def mean_over_frames(value: Tensor, reach: int) -> Tensor:
    """Compute the moving average over 2 reach + 1 frames (last dimension); fewer at the ends."""
    window = 2 * reach + 1
    rows = value.reshape(-1, 1, value.shape[-1])
    rows = torch.nn.functional.avg_pool1d(rows, window, 1, reach, count_include_pad=False)
    return rows.reshape(value.shape)


def _level(value: Tensor) -> Tensor:
    level = value.amax(-2, keepdim=True).mean(-1, keepdim=True)
    return torch.where(level > 0, level, 1.0)


def reference(total: Tensor, median: Tensor, combs: Tensor, a: float, b: float) -> Tensor:
    """Compute the mixture as its equation is written."""
    one = (total - OFF_MEDIAN * median[..., None]).clamp(min=0)
    two = mean_over_frames(combs.clamp(min=0), REACH)
    return a * (one / _level(one) + FLOOR).log() + b * (two / _level(two) + FLOOR).log()


def _to_salience(gradient: Tensor, value: Tensor) -> Tensor:
    """Compute the gradient to a salience through log(value / level + floor); equal maxima share theirs."""
    top = value.amax(-2, keepdim=True)
    mean = top.mean(-1, keepdim=True)
    level = torch.where(mean > 0, mean, 1.0)
    slope = gradient / (value / level + FLOOR) / level
    to_level = -(slope * value).sum((-2, -1), keepdim=True) / level
    to_level = torch.where(mean > 0, to_level, 0.0) / value.shape[-1]
    highest = value == top
    return slope + torch.where(highest, to_level / highest.sum(-2, keepdim=True), 0.0)


def reference_gradients(
    gradient: Tensor, total: Tensor, median: Tensor, combs: Tensor, a: float, b: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute gradients to the harmonic sum, its median and the combs' salience."""
    rest = total - OFF_MEDIAN * median[..., None]
    d_total = torch.where(rest >= 0, _to_salience(a * gradient, rest.clamp(min=0)), 0.0)
    d_mean = _to_salience(b * gradient, mean_over_frames(combs.clamp(min=0), REACH))
    # The adjoint of the moving average.
    rows = d_mean.reshape(-1, 1, d_mean.shape[-1])
    window = 2 * REACH + 1
    valid = torch.nn.functional.avg_pool1d(torch.ones_like(rows[:1]), window, 1, REACH)  # share of 5 frames
    d_combs = torch.nn.functional.avg_pool1d(rows / valid, window, 1, REACH).reshape(combs.shape)
    return d_total, -OFF_MEDIAN * d_total.sum(-1), torch.where(combs >= 0, d_combs, 0.0)


_mix = register_operator(
    "salience_mix",
    reference,
    kernel="salience_mix_triton.forward",
    fake=lambda total: total.new_empty(total.shape),
)
_mix_backward = register_operator(
    "salience_mix_backward",
    reference_gradients,
    kernel="salience_mix_triton.backward",
    fake=lambda total, median, combs: tuple(x.new_empty(x.shape) for x in (total, median, combs)),
)
register_gradient(_mix, _mix_backward, to=("total", "median", "combs"))


def salience_mix(total: Tensor, median: Tensor, combs: Tensor, a: float = 4 / 7, b: float = 3 / 7) -> Tensor:
    """Compute a log(S1 / m1 + 0.03) + b log(S2 / m2 + 0.03) of two saliences S1 and S2.

    S1 = relu(total - 0.3 median), S2 the mean of relu(combs) over 5 frames (fewer at the ends); m is the
    mean over frames of the frames' maxima.

    Args:
        total: `(..., P, N)`, a harmonic sum.
        median: `(..., P)`, its median over frames.
        combs: `(..., P, N)`.
        a: weight of the first.
        b: weight of the second.

    Returns:
        `(..., P, N)`. Gradients flow to all tensors; pitches that share a frame's maximum share its
        gradient equally.

    Raises:
        ValueError: for shapes that do not fit.

    Example:
        >>> import torch
        >>> from torchprim.kernels.salience.salience_mix import salience_mix
        >>> total = torch.tensor([[0.0, 0.0], [1.0, 1.0]])
        >>> salience_mix(total, torch.zeros(2), total).exp()  # 0.03 and 1.03
        tensor([[0.0300, 0.0300],
                [1.0300, 1.0300]])
    """
    if total.shape != combs.shape or total.shape[:-1] != median.shape or not total.shape[-1]:
        raise ValueError(
            "total, median and combs must have shapes (..., P, N), (..., P) and (..., P, N), got "
            f"{tuple(total.shape)}, {tuple(median.shape)} and {tuple(combs.shape)}"
        )
    return _mix(total, median, combs, a, b)
