"""Silhouette on a GPU: tiles of distances live in registers, all items of a batch in one launch.

A pair of points in D dimensions takes 3 D + 8 operations or so, and P points are read P / 64 times from
the cache: compute-bound. 16 items of 1000 points in 5 dimensions are 16 million pairs, 0.01 ms
at 30 tera-operations a second; of 26,500 points 11 billion, 9 ms.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import triton
import triton.language as tl
from torch import Tensor

from torchprim.kernels.launch import Configuration

# Rows of a tile lie along the lanes of a warp, so that each thread sums over columns on its own; EACH rows
# of a thread share a column that was loaded once. A tile has fewer columns than threads: Triton then loads
# them directly, not through shared memory.
SUMS = {"EACH": 2, "COLUMNS": 32}
SUMS_WARPS = 4
# One warp, so that all columns of a row are in one thread and its sums cross no lane. Registers hold the
# coordinates of a tile's columns: fewer columns in many dimensions.
PULL = {most: {"ROWS": 32, "COLUMNS": columns} for most, columns in ((8, 8), (20, 4), (32, 2))}
PULL_WARPS = 1
SCORE = {"ROWS": 256}
SCORE_WARPS = 4


@triton.jit
def _load_rows(points_ptr, row, count, D: tl.constexpr):
    """Load the points `row` of an item, `(D, count)` in memory, as a tuple of D tensors."""
    rows = ()
    for d in tl.static_range(D):
        x = tl.load(points_ptr + d * count + row, mask=row < count, other=0.0)
        rows = rows + (x.to(tl.float32),)  # noqa: RUF005  (what Triton compiles)
    return rows


@triton.jit
def _distance(rows, points_ptr, column, inside, count, D: tl.constexpr):
    """Compute distances from the rows' points to those at `points_ptr + column`."""
    x = tl.load(points_ptr + column, mask=inside, other=0.0).to(tl.float32)
    squared = (rows[0] - x) * (rows[0] - x)
    for d in tl.static_range(1, D):
        x = tl.load(points_ptr + d * count + column, mask=inside, other=0.0).to(tl.float32)
        squared += (rows[d] - x) * (rows[d] - x)
    return tl.sqrt(squared)


@triton.jit
def _sums(
    points_ptr, labels_ptr, sums_ptr, sizes_ptr, count, clusters,
    D: tl.constexpr, EACH: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Sum the distances of some points to all points of two clusters; count the points of these."""
    item = tl.program_id(0).to(tl.int64)
    first = 2 * tl.program_id(2)
    points_ptr += item * D * count
    labels_ptr += item * count
    # Axes: rows of a thread, columns (over warps), rows over lanes.
    row = tl.program_id(1) * EACH * 32 + tl.arange(0, EACH)[:, None] * 32 + tl.arange(0, 32)[None, :]
    column = tl.arange(0, COLUMNS)[None, :, None]
    rows = _load_rows(points_ptr, row[:, None, :], count, D)
    one = tl.zeros((EACH, COLUMNS, 32), dtype=tl.float32)
    two = tl.zeros((EACH, COLUMNS, 32), dtype=tl.float32)
    ones = tl.zeros((1, COLUMNS, 1), dtype=tl.float32)
    twos = tl.zeros((1, COLUMNS, 1), dtype=tl.float32)
    for start in range(0, count, COLUMNS):
        inside = column < count - start
        label = tl.load(labels_ptr + start + column, mask=inside, other=-1).to(tl.int32)
        distance = _distance(rows, points_ptr + start, column, inside, count, D)
        in_one = tl.where(label == first, 1.0, 0.0)
        in_two = tl.where(label == first + 1, 1.0, 0.0)
        one += distance * in_one
        two += distance * in_two
        ones += in_one
        twos += in_two
    sums_ptr += (item * clusters + first) * count + row
    tl.store(sums_ptr, tl.sum(one, 1), mask=row < count)
    tl.store(sums_ptr + count, tl.sum(two, 1), mask=(row < count) & (first + 1 < clusters))
    if tl.program_id(1) == 0:
        tl.store(sizes_ptr + item * clusters + first, tl.sum(ones))
        tl.store(sizes_ptr + item * clusters + first + 1, tl.sum(twos), mask=first + 1 < clusters)


@triton.jit
def _means(labels_ptr, sums_ptr, sizes_ptr, item, row, count, clusters):
    """Compute `silhouette._means`; where they are not defined, both means are 1."""
    inside = row < count
    label = tl.load(labels_ptr + item * count + row, mask=inside, other=0).to(tl.int32)
    within = tl.zeros(row.shape, dtype=tl.float32)
    others = tl.zeros(row.shape, dtype=tl.float32)
    between = tl.full(row.shape, float("inf"), dtype=tl.float32)
    far = tl.zeros(row.shape, dtype=tl.float32)
    nearest = tl.zeros(row.shape, dtype=tl.int32)
    for k in range(clusters):
        total = tl.load(sums_ptr + (item * clusters + k) * count + row, mask=inside, other=0.0)
        size = tl.load(sizes_ptr + item * clusters + k)
        member = label == k
        within = tl.where(member, total / tl.maximum(size - 1.0, 1.0), within)
        others = tl.where(member, size - 1.0, others)
        mean = tl.where(size > 0.0, total / tl.maximum(size, 1.0), float("inf"))
        nearer = tl.where(member, float("inf"), mean) < between
        between = tl.where(nearer, mean, between)
        far = tl.where(nearer, size, far)
        nearest = tl.where(nearer, k, nearest)
    defined = (others > 0.0) & (far > 0.0) & (tl.maximum(within, between) > 0.0)
    within = tl.where(defined, within, 1.0)
    between = tl.where(defined, between, 1.0)
    return within, between, tl.maximum(others, 1.0), tl.maximum(far, 1.0), nearest, defined


@triton.jit
def _score(labels_ptr, sums_ptr, sizes_ptr, score_ptr, count, clusters, ROWS: tl.constexpr):
    item = tl.program_id(0).to(tl.int64)
    row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    within, between, _, _, _, _ = _means(labels_ptr, sums_ptr, sizes_ptr, item, row, count, clusters)
    score = (between - within) / tl.maximum(within, between)
    tl.store(score_ptr + item * count + row, score, mask=row < count)


@triton.jit
def _slopes(
    gradient_ptr, labels_ptr, sums_ptr, sizes_ptr, d_within_ptr, d_between_ptr, nearest_ptr, count, clusters,
    ROWS: tl.constexpr,
):  # fmt: skip
    """Compute the gradients to a distance within the cluster, and to one to the nearest other cluster."""
    item = tl.program_id(0).to(tl.int64)
    row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    within, between, others, far, nearest, defined = _means(
        labels_ptr, sums_ptr, sizes_ptr, item, row, count, clusters
    )
    offset = item * count + row
    gradient = tl.load(gradient_ptr + offset, mask=row < count, other=0.0).to(tl.float32)
    gradient = tl.where(defined, gradient, 0.0)
    positive = between >= within
    d_within = tl.where(positive, -1.0 / between, -between / (within * within))
    d_between = tl.where(positive, within / (between * between), 1.0 / within)
    tl.store(d_within_ptr + offset, gradient * d_within / others, mask=row < count)
    tl.store(d_between_ptr + offset, gradient * d_between / far, mask=row < count)
    tl.store(nearest_ptr + offset, nearest, mask=row < count)


@triton.jit
def _load_slopes(labels_ptr, d_within_ptr, d_between_ptr, nearest_ptr, start, index, inside):
    """Load label, both slopes, and the nearest other cluster; outside there is neither label nor cluster."""
    label = tl.load(labels_ptr + start + index, mask=inside, other=-1).to(tl.int32)
    d_within = tl.load(d_within_ptr + start + index, mask=inside, other=0.0)
    d_between = tl.load(d_between_ptr + start + index, mask=inside, other=0.0)
    return label, d_within, d_between, tl.load(nearest_ptr + start + index, mask=inside, other=-2)


@triton.jit
def _pull(
    points_ptr, labels_ptr, d_within_ptr, d_between_ptr, nearest_ptr, out_ptr, count,
    D: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr,
):  # fmt: skip
    """Compute the gradient to some points, through the distances in their silhouettes and in all others'."""
    item = tl.program_id(0).to(tl.int64)
    points_ptr += item * D * count
    row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)[None, :]
    column = tl.arange(0, COLUMNS)[:, None]
    rows = _load_rows(points_ptr, row, count, D)
    label, d_within, d_between, nearest = _load_slopes(
        labels_ptr, d_within_ptr, d_between_ptr, nearest_ptr, item * count, row, row < count
    )
    totals = ()
    for _d in tl.static_range(D):
        totals = totals + (tl.zeros((ROWS,), dtype=tl.float32),)  # noqa: RUF005
    for start in range(0, count, COLUMNS):
        inside = column < count - start
        column_label, column_d_within, column_d_between, column_nearest = _load_slopes(
            labels_ptr, d_within_ptr, d_between_ptr, nearest_ptr, item * count + start, column, inside
        )
        pull = tl.where(column_label == label, d_within + column_d_within, 0.0)
        pull += tl.where(column_label == nearest, d_between, 0.0)
        pull += tl.where(column_nearest == label, column_d_between, 0.0)
        distance = _distance(rows, points_ptr + start, column, inside, count, D)
        pull = tl.where(distance > 0.0, pull / tl.where(distance > 0.0, distance, 1.0), 0.0)
        sums = ()
        for d in tl.static_range(D):
            x = tl.load(points_ptr + start + d * count + column, mask=inside, other=0.0).to(tl.float32)
            sums = sums + (totals[d] + tl.sum(pull * (rows[d] - x), 0),)  # noqa: RUF005
        totals = sums
    row = tl.program_id(1) * ROWS + tl.arange(0, ROWS)
    for d in tl.static_range(D):
        tl.store(out_ptr + (item * D + d) * count + row, totals[d], mask=row < count)


def _pull_tile(dimensions: int) -> dict[str, int]:
    return next(tile for most, tile in PULL.items() if dimensions <= most)


def forward(points: Tensor, labels: Tensor, clusters: int) -> tuple[Tensor, Tensor, Tensor]:
    """Compute `silhouette.reference` by kernels."""
    items, count, dimensions = points.shape
    shapes = ((items, count), (items, clusters, count), (items, clusters))
    score, sums, sizes = (points.new_empty(shape, dtype=torch.float32) for shape in shapes)
    if score.numel():
        read = (points.mT.contiguous(), labels.contiguous())
        grid = (items, triton.cdiv(count, 32 * SUMS["EACH"]), triton.cdiv(clusters, 2))
        _sums[grid](*read, sums, sizes, count, clusters, D=dimensions, **SUMS, num_warps=SUMS_WARPS)
        grid = (items, triton.cdiv(count, SCORE["ROWS"]))
        _score[grid](read[1], sums, sizes, score, count, clusters, **SCORE, num_warps=SCORE_WARPS)
    else:
        sizes.zero_()
    return score, sums, sizes


def backward(gradient: Tensor, points: Tensor, labels: Tensor, sums: Tensor, sizes: Tensor) -> Tensor:
    """Compute `silhouette.reference_gradient` by kernels."""
    items, count, dimensions = points.shape
    if not gradient.numel():
        return torch.zeros_like(points, memory_format=torch.contiguous_format)
    transposed, labels = points.mT.contiguous(), labels.contiguous()
    d_within, d_between = (
        torch.empty((items, count), dtype=torch.float32, device=points.device) for _ in range(2)
    )
    nearest = torch.empty((items, count), dtype=torch.int32, device=points.device)
    read = (gradient.contiguous(), labels, sums.contiguous(), sizes.contiguous())
    slopes = (d_within, d_between, nearest)
    grid = (items, triton.cdiv(count, SCORE["ROWS"]))
    _slopes[grid](*read, *slopes, count, sums.shape[1], **SCORE, num_warps=SCORE_WARPS)
    out = torch.empty_like(transposed, dtype=torch.float32)
    tile = _pull_tile(dimensions)
    grid = (items, triton.cdiv(count, tile["ROWS"]))
    _pull[grid](transposed, labels, *slopes, out, count, D=dimensions, **tile, num_warps=PULL_WARPS)
    return out.mT.contiguous()


def configurations() -> Iterator[Configuration]:
    """List all launches, in the dimensions of the primitives and of the network's embedding."""
    names = ("points_ptr", "gradient_ptr", "sums_ptr", "sizes_ptr", "score_ptr", "out_ptr")
    types = dict.fromkeys((*names, "d_within_ptr", "d_between_ptr"), "*fp32")
    types |= {"labels_ptr": "*i64", "nearest_ptr": "*i32", "count": "i32", "clusters": "i32"}
    yield Configuration.of(_score, types, SCORE, SCORE_WARPS)
    yield Configuration.of(_slopes, types, SCORE, SCORE_WARPS)
    for dimensions in (1, 2, 4, 5, 6, 8, 20, 32):
        common, size = dimensions == 5, {"D": dimensions}
        yield Configuration.of(_sums, types, size | SUMS, SUMS_WARPS, common=common)
        yield Configuration.of(_pull, types, size | _pull_tile(dimensions), PULL_WARPS, common=common)
