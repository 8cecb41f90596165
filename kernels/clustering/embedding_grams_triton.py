"""Gram matrices of unit embeddings on a GPU: the network's output is read once, forward and backward.

Floors at 4.3 TB/s, for 128 items of 400 frames, 1025 bins and D = 20 (1.05e9 logits; labels of 1 byte and
weights of 4 a bin): forward 1.04 ms in float32 and 0.55 ms in bfloat16, backward 2.01 and 1.04 ms.

Products run on tensor cores with float32's accuracy: each factor is split into a part that TF32 holds
exactly and the small rest, and only rest x rest, 2^-24 of the product, is left out. Tensor cores truncate
their sums, which would add up to a bias along a sequence: so no sequence there is longer than one tile, and
tiles are added in float32, programs in float64. Plain float32 products are 32 instructions of a warp for
each bin with D = 20, as many as the whole forward kernel has now (30; the backward one has 41).
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import triton
import triton.language as tl
from torch import Tensor

from torchprim.kernels.clustering.embedding_grams import empty_gradient
from torchprim.kernels.launch import Configuration

# A tile is BLOCK_O x BLOCK_I bins, the inner axis contiguous in the points. Labels and weights may be
# transposed, as with a recurrent network: 8 outer bins fill a sector of 32 bytes. By DP, the columns of a
# row (forward: with all classes) padded to a power of two; then warps and stages.
_SMALL = {"BLOCK_O": 8, "BLOCK_I": 4}, 1, 3
FORWARD = {
    16: _SMALL,
    32: _SMALL,
    64: ({"BLOCK_O": 8, "BLOCK_I": 8}, 4, 2),
    128: ({"BLOCK_O": 8, "BLOCK_I": 4}, 8, 2),
}
BACKWARD = {
    16: ({"BLOCK_O": 16, "BLOCK_I": 8}, 4, 2),
    32: ({"BLOCK_O": 16, "BLOCK_I": 8}, 4, 2),
    64: ({"BLOCK_O": 8, "BLOCK_I": 4}, 8, 2),
}
PROGRAMS = 4096  # of a launch, at most: several waves on 132 multiprocessors


@triton.jit
def _split(x):
    """Split x = high + rest, where TF32 holds the high part exactly."""
    bits = x.to(tl.int32, bitcast=True)
    high = ((bits + 0x1000) & -0x2000).to(tl.float32, bitcast=True)
    return high, x - high


@triton.jit
def _sigmoid(x):
    root = tl.rsqrt(1 + tl.exp2(x * -1.4426950408889634))
    return root * root  # as accurate as a division, without its check of the divisor's range


@triton.jit
def _load(
    tile, inner_tiles, points_ptr, labels_ptr, weights_ptr, outer, inner,
    point_outer, point_inner, label_outer, label_inner, weight_outer, weight_inner,
    D: tl.constexpr, DP: tl.constexpr, BLOCK_O: tl.constexpr, BLOCK_I: tl.constexpr, VEC: tl.constexpr,
):  # fmt: skip
    """Load a tile of bins: points, labels, weights, and which points exist."""
    p = tl.arange(0, BLOCK_O * BLOCK_I)
    d = tl.arange(0, DP)
    o, i = p // BLOCK_I, p % BLOCK_I
    first_o, first_i = tile // inner_tiles * BLOCK_O, tile % inner_tiles * BLOCK_I
    inside = (o < outer - first_o) & (i < inner - first_i)
    mask = inside[:, None] & (d < D)[None, :]
    first_o, first_i = first_o.to(tl.int64), first_i.to(tl.int64)
    # Visible multiples of VEC: the compiler vectorises the loads.
    offset = (first_o * point_outer + first_i * point_inner) * VEC
    offset += ((o * point_outer + i * point_inner) * VEC)[:, None] + d[None, :]
    points = tl.load(points_ptr + offset, mask=mask, other=0.0).to(tl.float32)
    offset_l = first_o * label_outer + first_i * label_inner
    label = tl.load(labels_ptr + offset_l + (o * label_outer + i * label_inner), mask=inside, other=0)
    offset_w = first_o * weight_outer + first_i * weight_inner
    weight = tl.load(weights_ptr + offset_w + (o * weight_outer + i * weight_inner), mask=inside, other=0)
    return points, label.to(tl.float32), weight.to(tl.float32), mask


@triton.jit
def _forward(
    points_ptr, labels_ptr, weights_ptr, part_ptr,
    outer, inner, inner_tiles, tiles,
    point_item, point_outer, point_inner, label_item, label_outer, label_inner,
    weight_item, weight_outer, weight_inner,
    D: tl.constexpr, DP: tl.constexpr, BLOCK_O: tl.constexpr, BLOCK_I: tl.constexpr, VEC: tl.constexpr,
    LOGITS: tl.constexpr, CLASSES: tl.constexpr,
):  # fmt: skip
    item = tl.program_id(0).to(tl.int64)
    programs = tl.num_programs(1)
    points_ptr += item * point_item * VEC
    labels_ptr += item * label_item
    weights_ptr += item * weight_item
    d = tl.arange(0, DP)
    if CLASSES == 2:
        first, second = (d == D).to(tl.float32), (d == D + 1).to(tl.float32)  # columns of the classes
    else:
        number = tl.where(d < D, float("nan"), (d - D).to(tl.float32))  # class of a column, if it is one
    total = tl.zeros((DP, DP), dtype=tl.float32)
    for tile in range(tl.program_id(1), tiles, programs):
        x, label, weight, _ = _load(
            tile, inner_tiles, points_ptr, labels_ptr, weights_ptr, outer, inner,
            point_outer, point_inner, label_outer, label_inner, weight_outer, weight_inner,
            D, DP, BLOCK_O, BLOCK_I, VEC,
        )  # fmt: skip
        scale = weight
        if LOGITS:
            x = tl.where((d < D)[None, :], _sigmoid(x), 0.0)
            scale *= tl.rsqrt(tl.maximum(tl.sum(x * x, 1), 1e-24))
        rows = x * scale[:, None]
        if CLASSES == 2:
            members = first[None, :] * (weight * (1 - label))[:, None]
            rows += members + second[None, :] * (weight * label)[:, None]
        else:
            rows += tl.where(label[:, None] == number[None, :], weight[:, None], 0.0)
        high, rest = _split(rows)
        # high² + 2 high rest; its symmetric part is the product.
        product = tl.dot(tl.trans(high), 2 * rest, input_precision="tf32")
        product = tl.dot(tl.trans(high), high, product, input_precision="tf32")
        total += product
    r = tl.arange(0, DP)
    part = item * programs + tl.program_id(1)
    tl.store(part_ptr + part * DP * DP + r[:, None] * DP + r[None, :], total)


@triton.jit
def _backward(
    slope_ptr, points_ptr, labels_ptr, weights_ptr, gradient_ptr,
    outer, inner, inner_tiles, tiles,
    point_item, point_outer, point_inner, label_item, label_outer, label_inner,
    weight_item, weight_outer, weight_inner, gradient_item, gradient_outer, gradient_inner,
    D: tl.constexpr, DP: tl.constexpr, BLOCK_O: tl.constexpr, BLOCK_I: tl.constexpr, VEC: tl.constexpr,
    LOGITS: tl.constexpr, CLASSES: tl.constexpr,
):  # fmt: skip
    item = tl.program_id(0).to(tl.int64)
    points_ptr += item * point_item * VEC
    labels_ptr += item * label_item
    weights_ptr += item * weight_item
    gradient_ptr += item * gradient_item * VEC
    d = tl.arange(0, DP)
    slope_ptr += item * (DP + CLASSES) * DP
    slope = tl.load(slope_ptr + d[:, None] * DP + d[None, :])
    if CLASSES == 2:
        first, second = tl.load(slope_ptr + DP * DP + d), tl.load(slope_ptr + DP * DP + DP + d)
    slope_high, slope_rest = _split(slope)
    p = tl.arange(0, BLOCK_O * BLOCK_I)
    o, i = p // BLOCK_I, p % BLOCK_I
    for tile in range(tl.program_id(1), tiles, tl.num_programs(1)):
        x, label, weight, mask = _load(
            tile, inner_tiles, points_ptr, labels_ptr, weights_ptr, outer, inner,
            point_outer, point_inner, label_outer, label_inner, weight_outer, weight_inner,
            D, DP, BLOCK_O, BLOCK_I, VEC,
        )  # fmt: skip
        scale = weight
        if LOGITS:
            x = tl.where((d < D)[None, :], _sigmoid(x), 0.0)
            square = tl.maximum(tl.sum(x * x, 1), 1e-24)
            scale *= tl.rsqrt(square)
        high, rest = _split(x * scale[:, None])
        g = tl.dot(rest, slope_high, input_precision="tf32")
        g = tl.dot(high, slope_rest, g, input_precision="tf32")
        g = tl.dot(high, slope_high, g, input_precision="tf32")
        if CLASSES == 2:
            pull = (weight * (1 - label))[:, None] * first[None, :]
            g += pull + (weight * label)[:, None] * second[None, :]
        else:
            for k in tl.static_range(CLASSES):
                row = tl.load(slope_ptr + DP * DP + k * DP + d)
                g += tl.where(label == k, weight, 0.0)[:, None] * row[None, :]
        if LOGITS:
            # The norm removes the component along the embedding; the sigmoid's derivative is x - x².
            along = tl.where(square > 1e-24, tl.sum(g * x, 1) / square, 0.0)
            g = (g - x * along[:, None]) * (x - x * x)
        g *= scale[:, None]
        offset = ((tile // inner_tiles * BLOCK_O).to(tl.int64) * gradient_outer) * VEC
        offset += ((tile % inner_tiles * BLOCK_I).to(tl.int64) * gradient_inner) * VEC
        offset += ((o * gradient_outer + i * gradient_inner) * VEC)[:, None] + d[None, :]
        tl.store(gradient_ptr + offset, g, mask=mask)


def _padded(number: int) -> int:
    """Return the columns of a tile: a power of two, 16 or more."""
    return max(16, triton.next_power_of_2(number))


def _arguments(tensors: list[Tensor], columns: int, table: dict):
    """Return grid, sizes with strides, and constants with options of a launch over the bins of some tensors.

    Those of four axes are points and their gradient, the first of all, those of three labels and weights.
    """
    points = tensors[0]
    if points.stride(1) < points.stride(2):  # bins innermost
        tensors = [x.transpose(1, 2) for x in tensors]
    items, outer, inner, dimensions = tensors[0].shape
    strides = [[s if n > 1 else 0 for s, n in zip(x.stride(), x.shape[:3], strict=False)] for x in tensors]
    is_points = [x.dim() == 4 for x in tensors]
    pairs = list(zip(strides, is_points, strict=True))
    vector = math.gcd(8, dimensions, *(s for stride, points in pairs if points for s in stride))
    strides = [s // vector if points else s for stride, points in pairs for s in stride]
    blocks, warps, stages = table[columns]
    inner_tiles = triton.cdiv(inner, blocks["BLOCK_I"])
    tiles = triton.cdiv(outer, blocks["BLOCK_O"]) * inner_tiles
    programs = min(tiles, triton.cdiv(PROGRAMS, items))
    constants = {"D": dimensions, "DP": columns, **blocks, "VEC": vector}
    options = {"num_warps": warps, "num_stages": stages}
    return (items, programs), (outer, inner, inner_tiles, tiles, *strides), constants | options


def _loadable(points: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return points whose last axis is contiguous, and boolean labels as bytes."""
    points = points if points.stride(-1) == 1 or points.shape[-1] == 1 else points.contiguous()
    return points, labels.view(torch.uint8) if labels.dtype == torch.bool else labels


def forward(points: Tensor, labels: Tensor, weights: Tensor, logits: bool, classes: int) -> Tensor:
    """Compute `embedding_grams.reference` by kernels."""
    size = points.shape[-1] + classes
    if not labels.numel():
        return torch.zeros(len(points), size, size, dtype=torch.float32, device=points.device)
    points, labels = _loadable(points, labels)
    grid, numbers, settings = _arguments([points, labels, weights], _padded(size), FORWARD)
    parts = points.new_empty(*grid, settings["DP"], settings["DP"], dtype=torch.float32)
    _forward[grid](points, labels, weights, parts, *numbers, **settings, LOGITS=logits, CLASSES=classes)
    total = parts.sum(1, dtype=torch.float64)[:, :size, :size]
    return (0.5 * (total + total.mT)).float()


def backward(
    gradient: Tensor, points: Tensor, labels: Tensor, weights: Tensor, logits: bool, classes: int
) -> Tensor:
    """Compute `embedding_grams.gradient_in_chunks` by kernels."""
    result = empty_gradient(points)
    if not labels.numel():
        return result
    points, labels = _loadable(points, labels)
    dimensions = points.shape[-1]
    columns = _padded(dimensions)
    grid, numbers, settings = _arguments([points, labels, weights, result], columns, BACKWARD)
    symmetric = gradient + gradient.mT
    slope = symmetric.new_zeros(len(points), columns + classes, columns)  # the classes' rows are the last
    slope[:, :dimensions, :dimensions] = symmetric[:, :dimensions, :dimensions]
    slope[:, columns:, :dimensions] = symmetric[:, dimensions:, :dimensions]
    settings |= {"LOGITS": logits, "CLASSES": classes}
    _backward[grid](slope, points, labels, weights, result, *numbers, **settings)
    return result


def configurations() -> Iterator[Configuration]:
    """List all launches with D of 20 (the networks'), 2, 40, 64, K of 2, 4; others differ in masks alone."""
    types = dict.fromkeys(("weights_ptr", "part_ptr", "slope_ptr"), "*fp32")
    for kernel, table in ((_forward, FORWARD), (_backward, BACKWARD)):
        numbers = {n: "i32" for n in kernel.arg_names if not n.endswith("_ptr") and n.islower()}
        for dimensions, classes, points, logits, labels in (
            (20, 2, "*bf16", True, "*u8"),
            (20, 2, "*fp32", True, "*u8"),
            (20, 2, "*fp16", True, "*fp32"),
            (20, 2, "*fp32", False, "*u8"),
            *((other, 2, points, True, "*u8") for other in (2, 40, 64) for points in ("*bf16", "*fp32")),
            *((20, 4, points, True, "*u8") for points in ("*bf16", "*fp32")),
            (20, 4, "*fp32", False, "*i64"),
            *((other, 4, "*fp32", True, "*u8") for other in (2, 40, 64)),
        ):
            columns = _padded(dimensions + classes if kernel is _forward else dimensions)
            blocks, warps, stages = table[columns]
            types |= numbers | {"points_ptr": points, "labels_ptr": labels, "gradient_ptr": points}
            constants = {"D": dimensions, "DP": columns, **blocks, "VEC": math.gcd(8, dimensions)}
            constants |= {"LOGITS": logits, "CLASSES": classes}
            common = dimensions == 20 and logits and points != "*fp16"
            yield Configuration.of(kernel, types, constants, warps, stages, common=common)
