"""Host time of a batch of remixes: on a GPU, one copy to it and nothing that waits for it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.stream import KINDS, ROWS, Counts, noise_stream, on_few_samples, rates
from torchprim.spectra.stft import Geometry

# In a process of its own: the cache of constant tables would keep fake tensors.
_CODE = """
import json, sys
from benchmarks.stream import on_a_fake_device
times, counts = on_a_fake_device(2, **json.loads(sys.argv[1]))
print(json.dumps([counts.operations, counts.copies, counts.waits]))
"""


@pytest.mark.parametrize(
    "changes",
    [*ROWS.values(), {"sources": 4}, {"sources": 4, "channels": 2, "eq": 3.0}],
    ids=str,
)
def test_a_batch_is_one_copy_and_no_wait(changes):
    settings = {"batch_size": 7, "frames": 50, "slots": 8} | changes
    command = [sys.executable, "-c", _CODE, json.dumps(settings)]
    run = subprocess.run(command, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-1000:]
    operations, copies, waits = json.loads(run.stdout)
    assert 20 < operations < 110 and (copies, waits) == (1, 0)


def test_operations_do_not_grow_with_the_batch():
    def operations(batch_size):
        stream = noise_stream("cpu", Geometry(44100, 16, 4), 0.02, batch_size=batch_size, frames=3, slots=8)
        stream.batch(0)
        with Counts() as counts:
            stream.batch(1)
        return counts.operations

    assert operations(2) == operations(64)


def test_waits_are_counted():
    with Counts() as counts:
        x = torch.ones(3).sum().item()
        torch.ones(3).nonzero()
    assert (x, counts.waits, counts.copies) == (3.0, 2, 0)


def test_host_time():
    assert 0 < on_few_samples(3, batch_size=4, slots=4).p50 < 1


def test_rates_are_of_each_kind():
    rows = rates(2, 2, 20).splitlines()[2:]
    assert [row.split(" | ")[0].strip("| ") for row in rows] == list(KINDS.values())
    assert all(float(cell) > 0 for row in rows for cell in row.strip("|").split("|")[1:])
