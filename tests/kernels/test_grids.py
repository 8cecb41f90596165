"""70,000 spectrograms in one launch: CUDA ends the second and the third axis of a grid at 65,535."""

import importlib

import pytest
import torch

ITEMS, BINS, FRAMES = 70_000, 16, 16


def empty(*shape, dtype=torch.float32):
    """Make a tensor without memory."""
    return torch.empty(ITEMS, *shape, dtype=dtype, device="meta")


PLANE, HALF, POINTS = empty(BINS, FRAMES), empty(BINS, FRAMES // 2 + 1, 2), empty(64, 5)
ITEM, INDEX, LABELS = empty(), empty(9, dtype=torch.int64), empty(64, dtype=torch.int64)
WEIGHTS, BETA = torch.empty(2, device="meta"), torch.empty((), device="meta")
GAIN = torch.empty(BINS, device="meta")
LAUNCHES = {
    "ft2d.local_peaks": [("forward", (HALF, FRAMES, 5))],
    "ft2d.local_peaks_backward": [("backward", (HALF, ITEM, HALF, HALF, ITEM.long(), FRAMES, 5))],
    "ft2d.ft2d_masks": [
        ("forward", (PLANE, PLANE, ITEM, 1.0, GAIN, torch.float32)),
        ("backward", (PLANE, PLANE, PLANE, PLANE, ITEM, empty(2), 1.0, GAIN)),
    ],
    "clustering.soft_assignment": [
        ("forward", ([PLANE, PLANE], WEIGHTS, BETA, PLANE)),
        ("backward", (PLANE, [PLANE, PLANE], WEIGHTS, BETA, PLANE, True)),
    ],
    "clustering.loudest": [
        ("forward", (PLANE, 2, None)),
        ("values", ([PLANE, PLANE], INDEX)),
        ("gradients", (empty(9, 2), [PLANE, PLANE], INDEX)),
    ],
    "clustering.silhouette": [
        ("forward", (POINTS, LABELS, 2)),
        ("backward", (empty(64), POINTS, LABELS, empty(2, 64), empty(2))),
    ],
    "clustering.embedding_grams": [
        ("forward", (empty(BINS, FRAMES, 5), PLANE, PLANE, True, 2)),
        ("backward", (empty(7, 7), empty(BINS, FRAMES, 5), PLANE, PLANE, True, 2)),
    ],
}


class Recorder:
    """Stand in for a kernel: note its grids and do nothing."""

    def __init__(self, grids):
        self.grids = grids

    def __getitem__(self, grid):
        self.grids.append(grid)
        return lambda *_, **__: None


@pytest.mark.parametrize("operator", LAUNCHES)
def test_more_items_than_an_axis_takes(operator, monkeypatch):
    jit = pytest.importorskip("triton.runtime.jit")
    module = importlib.import_module(f"torchprim.kernels.{operator}_triton")
    grids = []
    for name, value in vars(module).copy().items():
        if isinstance(value, jit.KernelInterface):
            monkeypatch.setattr(module, name, Recorder(grids))
    for launch, arguments in LAUNCHES[operator]:
        before = len(grids)
        getattr(module, launch)(*arguments)
        assert len(grids) > before
    assert all(n < 65_536 for grid in grids for n in grid[1:])
    assert all(grid[0] < 2**31 for grid in grids)
