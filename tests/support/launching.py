"""Run as a program, without TRITON_INTERPRET: launches of the presets, and at sizes of 1, on a fake device.

Prints how many launches were recorded, and those that would fail, as JSON.
"""

import contextlib
import json
import sys

import torch
import triton
import triton.language as tl

import torchprim as tp
from benchmarks.predict.device import FakeDevice
from benchmarks.predict.launches import recorded, to_machine_code

PRESETS = ("best", "paper", "companion")
SHAPES = ((1, 1, 1), (1, 1, 9), (1, 9, 1))  # items, bins, frames
LAUNCHES = []


@contextlib.contextmanager
def fake_device():
    """Fake a CPU, on which autograd runs without a GPU, and record what is launched."""
    with recorded(LAUNCHES.append, to_machine_code), FakeDevice("cpu"):
        yield


def separate(preset, batch, seconds, mask_dtype=None):
    """Separate noise of two channels, without gradients and with them; half precision passes none on."""
    separator = tp.PrimitiveSeparator(preset, mask_dtype=mask_dtype)
    rate = round(separator.geometry.sample_rate)
    separator(torch.zeros(1, 2, rate // 4), rate, channels=True)  # constant tables, faster for real
    for gradients in (False, True) if mask_dtype is None else (False,):
        with fake_device(), torch.set_grad_enabled(gradients):
            audio = torch.empty(batch, 2, round(seconds * rate), requires_grad=gradients)
            stems = separator(audio, rate, channels=True, generator=torch.Generator())
            if gradients:
                (stems.vocals.square().sum() + stems.confidence.sum()).backward()


# name -> function of a magnitude
OPERATORS = {
    "hpss": lambda x: tp.hpss(x, (1, 1)),
    "ft2d": lambda x: tp.ft2d(x, (1, 1))[0],
    "melody": tp.melody,
    "melody, soft": lambda x: tp.melody(x, soft=True),
    "soft_assignment": lambda x: tp.soft_assignment([x], [1.0]),
    "confidence_measure": lambda x: tp.confidence_measure([x], x, [1.0])[0],
    "deep_clustering_loss": lambda x: tp.deep_clustering_loss(x[..., None], x > 0.5, x),
    "deep_clustering_loss, 4 classes": lambda x: tp.deep_clustering_loss(
        x[..., None].expand(*x.shape, 20), (x > 0.5).byte(), x, classes=4
    ),
    "spatial": lambda x: tp.spatial(torch.stack([x, x], -3) + 0j, x),
}


def differentiate(function, shape):
    """Compute the function of a magnitude, and its gradient if there is one."""
    with fake_device():
        result = function(torch.empty(shape, requires_grad=True))
        if result.requires_grad:
            result.sum().backward()


@triton.jit
def plain(x_ptr):
    tl.store(x_ptr, 1.0)


@triton.jit
def constant(x_ptr, size):
    """Fail where the size is 1, a constant without methods."""
    tl.store(x_ptr + size.to(tl.int64), 1.0)


@triton.jit
def crowded(x_ptr, N: tl.constexpr):
    """Hold more numbers in a thread than it has registers."""
    i = tl.arange(0, N)
    x = tl.load(x_ptr + i)
    tl.store(x_ptr + i, x / tl.sum(x))


def launch_broken():
    with fake_device():
        x = torch.empty(16384)
        constant[(1,)](x, 2)
        constant[(1,)](x, 1)
        crowded[(1,)](x, N=16384, num_warps=1)
        plain[(1, 65535)](x)
        plain[(1, 70_000)](x)


def run(part):
    """Run a part of the tests."""
    if part == "broken":
        launch_broken()
    elif part == "sizes of 1":
        for function in OPERATORS.values():
            for shape in SHAPES:
                differentiate(function, shape)
        separate("best", 1, 0.01)  # one frame
    else:
        for preset in PRESETS:
            separate(preset, 16, 30.0)
        separate("best", 16, 30.0, torch.float16)


if __name__ == "__main__":
    torch.set_num_threads(1)  # parts run side by side
    run(sys.argv[1])
    failures = {f"{launch.kernel}: {launch.failure}" for launch in LAUNCHES if launch.failure}
    if sys.argv[1] == "sizes of 1":  # their speed does not matter
        failures = {failure for failure in failures if ": RuntimeError: spills " not in failure}
    print(json.dumps({"launches": len(LAUNCHES), "failures": sorted(failures)}))
