"""Two saliences in one: a harmonic sum and what combs found, each relative to its own level."""

from __future__ import annotations

import torch
from torch import Tensor

from torchprim.kernels.dispatch import takes_kernel

OFF_MEDIAN = 0.3  # share of a pitch's median over time that is taken off the sum
FLOOR = 0.03  # of a salience, relative to the mean over frames of the frames' maxima
REACH = 2  # frames on either side over which the combs' salience is averaged


def mean_over_frames(value: Tensor, reach: int) -> Tensor:
    """Mean over 2 reach + 1 frames (last dimension); fewer at the ends."""
    window = 2 * reach + 1
    rows = value.reshape(-1, 1, value.shape[-1])
    rows = torch.nn.functional.avg_pool1d(rows, window, 1, reach, count_include_pad=False)
    return rows.reshape(value.shape)


def _level(value: Tensor) -> Tensor:
    level = value.amax(-2, keepdim=True).mean(-1, keepdim=True)
    return torch.where(level > 0, level, 1.0)


def reference(total: Tensor, median: Tensor, combs: Tensor, a: float, b: float) -> Tensor:
    """The mixture as its equation is written."""
    one = (total - OFF_MEDIAN * median[..., None]).clamp(min=0)
    two = mean_over_frames(combs.clamp(min=0), REACH)
    return a * (one / _level(one) + FLOOR).log() + b * (two / _level(two) + FLOOR).log()


def _to_salience(gradient: Tensor, value: Tensor) -> Tensor:
    """Gradient to a salience through log(value / level + floor); a maximum's is shared by equal pitches."""
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
    """Gradients to the harmonic sum, its median and the combs' salience."""
    rest = total - OFF_MEDIAN * median[..., None]
    d_total = torch.where(rest >= 0, _to_salience(a * gradient, rest.clamp(min=0)), 0.0)
    d_mean = _to_salience(b * gradient, mean_over_frames(combs.clamp(min=0), REACH))
    # The mean's adjoint: what each frame had of the means that it was in.
    rows = d_mean.reshape(-1, 1, d_mean.shape[-1])
    window = 2 * REACH + 1
    held = torch.nn.functional.avg_pool1d(torch.ones_like(rows[:1]), window, 1, REACH)  # of 5 frames
    d_combs = torch.nn.functional.avg_pool1d(rows / held, window, 1, REACH).reshape(combs.shape)
    return d_total, -OFF_MEDIAN * d_total.sum(-1), torch.where(combs >= 0, d_combs, 0.0)


@torch.library.custom_op("torchprim::salience_mix", mutates_args=())
def _mix(total: Tensor, median: Tensor, combs: Tensor, a: float, b: float) -> Tensor:
    if takes_kernel(total, median, combs):
        from torchprim.kernels.salience import salience_mix_triton

        return salience_mix_triton.forward(total, median, combs, a, b)
    return reference(total, median, combs, a, b)


@_mix.register_fake
def _(total, median, combs, a, b):
    return total.new_empty(total.shape)


@torch.library.custom_op("torchprim::salience_mix_backward", mutates_args=())
def _mix_backward(
    gradient: Tensor, total: Tensor, median: Tensor, combs: Tensor, a: float, b: float
) -> tuple[Tensor, Tensor, Tensor]:
    if takes_kernel(gradient, total, median, combs):
        from torchprim.kernels.salience import salience_mix_triton

        return salience_mix_triton.backward(gradient, total, median, combs, a, b)
    return reference_gradients(gradient, total, median, combs, a, b)


@_mix_backward.register_fake
def _(gradient, total, median, combs, a, b):
    return tuple(x.new_empty(x.shape) for x in (total, median, combs))


def _remember(ctx, inputs, output):
    *tensors, ctx.a, ctx.b = inputs
    ctx.save_for_backward(*tensors)


def _gradients(ctx, gradient):
    return *_mix_backward(gradient, *ctx.saved_tensors, ctx.a, ctx.b), None, None


_mix.register_autograd(_gradients, setup_context=_remember)


def salience_mix(total: Tensor, median: Tensor, combs: Tensor, a: float = 4 / 7, b: float = 3 / 7) -> Tensor:
    """a log(S1 / m1 + 0.03) + b log(S2 / m2 + 0.03), of two saliences S1 and S2.

    S1 = relu(total - 0.3 median), S2 the mean of relu(combs) over 5 frames (fewer at the ends); m is the
    mean over frames of the frames' maxima.

    Args:
        total: `(..., P, N)`, a harmonic sum.
        median: `(..., P)`, its median over frames.
        combs: `(..., P, N)`.
        a: weight of the first.
        b: weight of the second.

    Returns:
        `(..., P, N)`. Gradients flow to all tensors; that of a frame's maximum goes in equal parts to all
        pitches that have it.

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
