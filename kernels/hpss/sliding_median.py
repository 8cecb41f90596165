"""Running median along one axis, exact, differentiable, with no unfolded copy."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from torchprim.kernels.hpss.selection_network import Network, best_tile, selection_network
from torchprim.kernels.register import register_gradient, register_operator

# Samples of a block, which one operation of the network handles. On a CPU an operand of 64 KiB and the
# network's 30 to 50 live values stay in the L2 cache; on a GPU launches have to be amortised.
_BLOCK = {"cpu": 16384, "cuda": 1 << 22}
LARGEST_WINDOW = 1023
KERNEL_WINDOW = 63  # the largest that the kernels take


def mirrored_index(length: int, before: int, after: int, device: torch.device) -> Tensor:
    """Return indices -before .. length + after - 1, mirrored with the edge repeated (`d c b a | a b c d`)."""
    index = torch.arange(-before, length + after, device=device) % (2 * length)
    return torch.where(index < length, index, 2 * length - 1 - index)


def _run(network: Network, last_uses: dict[int, int], inputs: list[Tensor], outputs: list[Tensor]) -> None:
    """Evaluate the network on views of one shape, into `outputs`; buffers are reused after their last use."""
    values: list[Tensor | None] = list(inputs)
    free: list[Tensor] = []
    target = dict(zip(network.outputs, outputs, strict=True))
    for step, (is_max, a, b) in enumerate(network.steps):
        out = target.get(network.inputs + step)
        if out is None:
            out = free.pop() if free else torch.empty_like(inputs[0], memory_format=torch.contiguous_format)
        (torch.maximum if is_max else torch.minimum)(values[a], values[b], out=out)
        values.append(out)
        for value in {a, b}:
            if value >= network.inputs and last_uses.get(value) == step:
                free.append(values[value])
                values[value] = None


def _median_rows(x: Tensor, window: int) -> Tensor:
    """Compute the running median over the first axis of `(L, M)`, edges mirrored."""
    length, columns = x.shape
    if window == 1:
        return x.clone()
    rank = window // 2
    tile = best_tile(window, rank)
    network = selection_network(window, rank, tile)
    last_uses = network.last_uses()
    tiles = -(-length // tile)
    rows = tiles * tile + window - 1  # the last tile is filled up with more of the mirror image
    padded = x.index_select(0, mirrored_index(length, window // 2, rows - window // 2 - length, x.device))
    out = x.new_empty(tiles * tile, columns)
    block = max(1, _BLOCK.get(x.device.type, 1 << 20) // max(1, columns))
    for first in range(0, tiles, block):
        count = min(block, tiles - first)
        # Input j of tile g is row g * tile + j: strided views, no copy.
        inputs = [padded[first * tile + j :: tile][:count] for j in range(network.inputs)]
        outputs = [out[first * tile + j :: tile][:count] for j in range(tile)]
        _run(network, last_uses, inputs, outputs)
    return out[:length]


def reference(x: Tensor, window: int, dim: int) -> Tensor:
    """Compute the medians by a selection network over strided views."""
    rows = x.movedim(dim, 0)
    flat = rows.reshape(rows.shape[0], -1)
    columns = max(1, flat.shape[1])
    # Wide matrices are split into strips, so that a tile of a strip fits a block.
    strips = flat.split(max(1, min(columns, _BLOCK.get(x.device.type, 1 << 20))), dim=1)
    result = [_median_rows(strip, window) for strip in strips]
    median = torch.cat(result, 1) if len(result) > 1 else result[0]
    return median.reshape(rows.shape).movedim(0, dim).contiguous()


def reference_gradient(gradient: Tensor, x: Tensor, median: Tensor, window: int, dim: int) -> Tensor:
    """Route the gradient to the selected sample; among equal samples to the one of the lowest index.

    Every mirrored sample of a window is in the window itself too, so the search needs no padding.
    """
    gradient, x, median = (t.movedim(dim, 0) for t in (gradient, x, median))
    length = x.shape[0]
    result = torch.zeros_like(x)
    pending = torch.ones(x.shape, dtype=torch.bool, device=x.device)
    for offset in range(-(window // 2), window - window // 2):
        first, last = max(0, -offset), min(length, length - offset)  # outputs i with a sample i + offset
        if first >= last:
            continue
        output, sample = slice(first, last), slice(first + offset, last + offset)
        selected = (x[sample] == median[output]) & pending[output]
        result[sample] += torch.where(selected, gradient[output], 0)
        pending[output] &= ~selected
    return result.movedim(0, dim).contiguous()


def kernel_fits(x: Tensor, window: int, dim: int) -> bool:
    """Return whether the kernels take a window along an axis: up to 63 samples, mirrored at most once."""
    length, inner = x.shape[dim], math.prod(x.shape[dim % x.dim() + 1 :])
    small = 2 * length * max(inner, 128) < 2**31 and length < 2**19  # 32-bit offsets in a program; grid
    return window <= KERNEL_WINDOW and window // 2 <= length and small


_median = register_operator(
    "sliding_median",
    reference,
    kernel="sliding_median_triton.forward",
    fake=lambda x: x.new_empty(x.shape),
    fits=kernel_fits,
)
_median_backward = register_operator(
    "sliding_median_backward",
    reference_gradient,
    kernel="sliding_median_backward_triton.backward",
    fake=lambda x: x.new_empty(x.shape),
    fits=kernel_fits,
)
register_gradient(_median, _median_backward, to=("x",), outputs=("median",))


def check_window(window: int, name: str) -> None:
    """Raise ValueError for a window that is not a whole number in [1, 1023]."""
    if not isinstance(window, int) or isinstance(window, bool) or not 1 <= window <= LARGEST_WINDOW:
        raise ValueError(f"{name} must be a whole number in [1, {LARGEST_WINDOW}], got {window!r}")


def sliding_median(x: Tensor, window: int, dim: int = -1) -> Tensor:
    """Compute the running median along one axis, the edges mirrored with the edge sample repeated.

    y[i] = the sample of rank window // 2 (from 0) among x[i - window // 2], ..., window samples in all,
    which is `scipy.ndimage.median_filter(x, window, mode="reflect")` bit for bit: of an even number of
    samples the upper of the two middle ones.

    Args:
        x: real tensor of any shape.
        window: samples, 1 to 1023; it may be longer than the axis.
        dim: the axis.

    Returns:
        Like `x`. The gradient goes to the selected sample, of equal ones to that of the lowest index.

    Raises:
        ValueError: for a window out of range, or a tensor that is not real or is empty.

    Example:
        >>> import torch
        >>> from torchprim.kernels.hpss.sliding_median import sliding_median
        >>> sliding_median(torch.tensor([9.0, 1.0, 5.0, 2.0]), 3)
        tensor([9., 5., 2., 2.])
    """
    check_window(window, "window")
    if not isinstance(x, Tensor) or not x.is_floating_point() or x.dim() == 0 or x.numel() == 0:
        raise ValueError(f"x must be a real tensor that is not empty, got {x!r}")
    return _median(x, window, dim)
