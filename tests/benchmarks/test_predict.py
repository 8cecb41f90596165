"""`python -m benchmarks predict`: bytes counted by hand, of operations of PyTorch and of the project."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

pytest.importorskip("triton")

from benchmarks.predict import ir, page, rates
from benchmarks.predict.fft import passes
from benchmarks.predict.ledger import Ledger, total
from benchmarks.predict.trace import traced

ROOT = Path(__file__).parents[2]
MIB = 1 << 20  # bytes of a float32 tensor (512, 512)
ENVIRONMENT = {key: value for key, value in os.environ.items() if key != "TRITON_INTERPRET"}


def cuda(*shape, **options):
    return torch.empty(*shape, device="cuda", **options)


def rows(function, *shapes, device="cuda"):
    """Trace a function of new tensors; return (kind, launches, bytes read, bytes written) of each row."""
    with torch.no_grad(), traced(device) as ledger:
        tensors = [cuda(shape) for shape in shapes]
        function(*tensors)
    return [(row.kind, row.launches, row.read, row.written) for row in ledger.rows], ledger


SQUARE = (512, 512)
# name -> function, shapes, rows
OPERATIONS = {
    "sum of two": (torch.add, [SQUARE, SQUARE], [("aten", 1, 2 * MIB, MIB)]),
    "broadcast row": (torch.add, [SQUARE, (1, 512)], [("aten", 1, MIB + 2048, MIB)]),
    "expanded operand": (
        lambda a, b: a + b.expand(512, 512),
        [SQUARE, (512, 1)],
        [("aten", 1, MIB + 2048, MIB)],
    ),
    "views": (lambda a: a.mT.unsqueeze(0)[:, :3].detach(), [SQUARE], []),
    "nothing to copy": (torch.Tensor.contiguous, [SQUARE], []),
    "reduction": (lambda a: a.amax(-1), [SQUARE], [("aten", 1, MIB, 2048)]),
    "in place": (lambda a: a.mul_(2), [SQUARE], [("aten", 1, MIB, MIB)]),
    "overwritten": (torch.Tensor.zero_, [SQUARE], [("aten", 1, 0, MIB)]),
    "windows": (lambda a: a.unfold(0, 100, 1).sum(), [(512,)], [("aten", 1, 2048, 4)]),
    "gather": (
        lambda a, i: a.index_select(0, i.long()),
        [SQUARE, (8,)],
        [("copy", 1, 32, 64), ("aten", 1, 8 * 2048 + 64, 8 * 2048)],
    ),
    "largest": (lambda a: a.topk(4), [(512, 512)], [("aten", 10, 6 * MIB, 512 * 4 * (4 + 8))]),
    "FFT": (torch.fft.rfft, [(8, 2048)], [("fft", 1, (65536 + 65600) / 2, (65536 + 65600) / 2)]),
    "real FFT from a clone": (
        lambda a: torch.fft.irfft(torch.view_as_complex(a)),
        [(8, 1025, 2)],
        [("copy", 1, 65600, 65600), ("fft", 1, 65568, 65568)],
    ),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_bytes_of_operations(name):
    function, shapes, expected = OPERATIONS[name]
    assert rows(function, *shapes)[0] == expected


def test_crossed_orders_cost_sectors():
    (row,) = rows(lambda a: a.mT.contiguous(), SQUARE)[1].rows
    assert row.name == "clone float32[512x512] CROSSED"
    assert row.seconds["H100"] == row.seconds["H200"] == 32 * 512 * 512 / rates.L2
    (row,) = rows(lambda a: a.clone(), SQUARE)[1].rows
    assert row.seconds == {chip: 2 * MIB / rate for chip, rate in rates.CHIPS.items()}


def test_memory_and_host():
    ledger = rows(lambda a: (a + 1).relu().sum(), SQUARE)[1]
    assert ledger.peak == 3 * MIB
    assert ledger.host == pytest.approx(4 * rates.HOST["aten"])  # and the allocation
    sums = total(ledger.rows)
    assert (sums.calls, sums.launches, sums.bytes) == (3, 3, 5 * MIB + 4)


def test_host_computes_for_real():
    with traced() as ledger:
        chosen = torch.randint(10, (3,), generator=torch.Generator().manual_seed(0)).tolist()
        drawn = torch.rand(4, device="cuda", generator=torch.Generator("cuda"))
    assert all(0 <= n < 10 for n in chosen) and drawn.shape == (4,)
    assert [row.name for row in ledger.rows] == ["rand float32[4]"]


def test_passes_of_a_transform():
    assert [passes(n) for n in (2048, 8192, 16384, 2584)] == [1, 1, 2, 2]
    assert [passes(n, real=True) for n in (2048, 16384, 2584)] == [1, 2, 3]


def test_a_step_of_an_lstm_with_gradients():
    with traced("cpu") as ledger:
        network = nn.LSTM(20, 8, 2, batch_first=True, bidirectional=True)
        network(torch.empty(4, 7, 20))[0].sum().backward()
    assert network.weight_hh_l0.grad.shape == (32, 8)
    names = [row.name for row in ledger.rows if row.kind == "lstm"]
    forward = ["LSTM forward inputs 20 -> 64", "LSTM forward, 7 steps of 4 x 8 (serial)"]
    assert names[:2] == forward and len(names) == 8
    assert names[4] == "LSTM backward inputs 16 -> 64"
    serial = [row.seconds["H100"] for row in ledger.rows if "serial" in row.name]
    assert serial[0] == 7 * rates.RECURRENT_STEP


LOOPS = """module {
  tt.func public @kernel(%x: !tt.ptr<f32> {tt.divisibility = 16 : i32}, %y: !tt.ptr<f32>, %n: i32) {
    %c0 = arith.constant 0 : i32
    %c64 = arith.constant 64 : i32
    %c5 = arith.constant 5 : i32
    %i = tt.make_range {end = 64 : i32, start = 0 : i32} : tensor<64xi32>
    %z = arith.constant dense<0.0> : tensor<64xf32>
    %p = tt.get_program_id x : i32
    %sum:2 = scf.for %k = %c0 to %n step %c64 iter_args(%a = %z, %q = %x) -> (tensor<64xf32>, i32) : i32 {
      %s = tt.splat %q : !tt.ptr<f32> -> tensor<64x!tt.ptr<f32>>
      %t = tt.addptr %s, %i : tensor<64x!tt.ptr<f32>>, tensor<64xi32>
      %v = tt.load %t : tensor<64x!tt.ptr<f32>>
      %b = arith.addf %a, %v : tensor<64xf32>
      %r = tt.addptr %q, %c64 : !tt.ptr<f32>, i32
      scf.yield %b, %r : tensor<64xf32>, !tt.ptr<f32>
    }
    %first = arith.cmpi slt, %p, %c5 : i32
    scf.if %first {
      %s = tt.splat %y : !tt.ptr<f32> -> tensor<64x!tt.ptr<f32>>
      tt.store %s, %sum#0 : tensor<64x!tt.ptr<f32>>
    } else {
      %j = arith.fptosi %sum#0 : tensor<64xf32> to tensor<64xi32>
      %s = tt.splat %x : !tt.ptr<f32> -> tensor<64x!tt.ptr<f32>>
      %t = tt.addptr %s, %j : tensor<64x!tt.ptr<f32>>, tensor<64xi32>
      %v = tt.load %t : tensor<64x!tt.ptr<f32>>
    }
    %w = scf.while (%m = %c0) : (i32) -> i32 {
      %more = arith.cmpi slt, %m, %c5 : i32
      scf.condition(%more) %m : i32
    } do {
    ^bb0(%m: i32):
      %one = arith.constant 1 : i32
      %l = tt.load %y : !tt.ptr<f32>
      %next = arith.addi %m, %one : i32
      scf.yield %next : i32
    }
    tt.return
  }
}
"""


@pytest.mark.parametrize("programs", [4, 100])
def test_loops_and_branches_are_followed(programs):
    x, y = torch.empty(4096), torch.empty(64)
    counted = ir.count(LOOPS, [x, y, 1000], (programs, 1, 1), warps=1)
    gathered = [0, 0] if programs == 4 else [64, 64]
    assert counted.loaded[0] == [16 * 64 + gathered[0], gathered[1]]
    assert counted.loaded[1] == [5, 0]
    assert counted.stored == ({1: [64, 0]} if programs == 4 else {})


@pytest.fixture(scope="module")
def operators():
    command = [sys.executable, "-m", "tests.support.predicting"]
    child = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True)
    assert child.returncode == 0, child.stderr[-2000:]
    found = json.loads(child.stdout.splitlines()[-1])
    small = ("ones", "full", "_to_copy")  # settings as tensors
    return {name: [row for row in rows if not row[0].startswith(small)] for name, rows in found.items()}


PLANE = 4 * 4 * 129 * 256  # bytes


def test_operators_are_run_by_their_host_code(operators):
    """Planes of 4 x 129 x 256: each tensor of a launch once, a copy before it as an operation of its own."""
    small = 129 * 4 + 4  # gain and power
    kernel = ["hpss_mask: _forward", "triton", 1, PLANE + small, PLANE]
    assert operators["hpss_mask"] == [kernel]
    copy = ["clone float32[4x129x256] CROSSED", "copy", 1, PLANE, PLANE]
    assert operators["hpss_mask, bins innermost"] == [copy, kernel]
    assert operators["row_median"] == [["row_median: _forward", "triton", 1, PLANE, 4 * 4 * 129]]
    small = 2 * 4 + 4  # weights and beta
    ((_, _, _, read, written),) = operators["assign"]
    assert (read, written) == (3 * PLANE + small, PLANE)


def test_masks_in_float16_move_half_the_bytes(operators):
    """Written so by one kernel, read so by another, and no copy between."""
    ((*_, written),) = operators["hpss_mask, float16"]
    assert written == PLANE // 2
    ((_, _, _, read, written),) = operators["assign, float16"]
    assert (read, written) == (2 * PLANE + 2 * 4 + 4, PLANE)


def test_gathers_take_sectors(operators):
    """512 values of each of 4 items, from two masks: an index of 8 bytes, and a sector a value."""
    ((_, _, _, read, written),) = operators["values_at"]
    assert (read, written) == (4 * 512 * (8 + 2 * 32), 4 * 512 * 2 * 4)


def test_page_of_a_small_separation(tmp_path):
    out = tmp_path / "predict.md"
    command = [sys.executable, "-m", "benchmarks", "predict", "--preset", "best", "--batch", "1"]
    command += ["--seconds", "2", "--network", "", "--out", str(out)]
    child = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True)
    assert child.returncode == 0, child.stderr[-2000:]
    text = out.read_text()
    assert text.startswith("# Predicted on an H100 and an H200\n")
    for stage in page.STAGES:
        assert f"\n| {stage} | " in text
    assert "\n| **all** | " in text and "H200, ms" in text
    assert "\n\nWith the cues' masks in float16, `mask_dtype`: 0." in text


def test_measured_times(tmp_path):
    records = [
        {"kind": "time_stage", "stage": "Viterbi", "preset": "best", "graph": None, "eager": [1, 2, 3]},
        {"kind": "time_stage", "stage": "voicing", "preset": "best", "graph": [4, 5, 6], "eager": [1, 2, 3]},
        {"kind": "time_stream", "batch_seconds": 7},
        {"kind": "time_step", "mode": "kernels", "failure": "died"},
    ]
    for date in ("2026-01-02", "2025-12-31"):
        (tmp_path / f"gpu-chip-{date}.json").write_text(json.dumps({"where": date, "records": records}))
    measured = page.Measured(page.latest_run(tmp_path))
    assert measured.where == "2026-01-02"
    assert measured.seconds("time_stage", stage="Viterbi", preset="best") == 2
    assert measured.seconds("time_stage", stage="voicing", preset="best") == 5
    assert measured.seconds("time_stage", stage="voicing", preset="paper") is None
    assert measured.seconds("time_stream") == 7
    assert measured.seconds("time_step", mode="kernels") is None
    assert page.Measured(page.latest_run(tmp_path / "none")).seconds("time_stream") is None


def test_an_eager_call_waits_for_the_host():
    ledger = Ledger()
    ledger.add("work", "aten", 3.0e9, 0, launches=10)
    assert page.whole_seconds(ledger, "H100", rates.GRAPH) == pytest.approx(1e-3 + 10 * rates.GRAPH)
    ledger.host = 1.0
    assert page.whole_seconds(ledger, "H100", rates.EAGER) == 1.0


def test_not_under_the_interpreter(tmp_path, capsys, monkeypatch):
    from benchmarks.__main__ import main

    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert main(["predict", "--out", str(tmp_path / "x.md")]) == 1
    assert "TRITON_INTERPRET" in capsys.readouterr().err
