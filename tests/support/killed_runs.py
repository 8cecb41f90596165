"""Kill runs of `torchprim separate` at random moments, and check what each leaves.

    python -m tests.support.killed_runs KILLS MUSIC OUT

A run is a fork of this process, which has imported everything: so a kill comes while files are separated.
"""

import contextlib
import io
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import soundfile
import torch

from torchprim.cli.main import main


def run(music, out):
    """Run the command to its end in this process; return its exit status."""
    with contextlib.redirect_stdout(io.StringIO()):
        return main(["separate", str(music), "--out", str(out), "--method", "hpss", "--device", "cpu"])


def kill(music, out, seconds):
    """Begin a run and kill it; return whether it had not ended before."""
    child = os.fork()
    if child == 0:
        os._exit(run(music, out))
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def stems_by_song(out, frames):
    """Check the files of an output folder; return the times of the stems of each song that has a record."""
    for path in out.rglob("*.wav"):
        assert soundfile.info(path).frames == frames, f"{path} is half written"
    records = out / "separations.jsonl"
    content = records.read_text() if records.exists() else ""
    songs = [json.loads(line) for line in content.splitlines(keepends=True) if line.endswith("\n")]
    assert len({song["path"] for song in songs}) == len(songs), f"songs with two records: {songs}"
    names = ("vocals.wav", "accompaniment.wav")
    return {
        song["path"]: [(out / song["output"] / name).stat().st_mtime_ns for name in names] for song in songs
    }


def kill_runs(kills, music, out, frames):
    """Kill as many runs; one that ends before is followed by one into another folder."""
    torch.set_num_threads(1)
    assert run(music, out / "0") == 0
    generator, folder, killed, done = random.Random(0), out / "1", 0, {}
    while killed < kills:
        if kill(music, folder, generator.uniform(0, 0.4)):
            killed += 1
        now = stems_by_song(folder, frames)
        assert done.items() <= now.items(), "stems of an earlier run are lost, or made again"
        done = now
        if len(done) == len(os.listdir(music)):
            folder, done = folder.with_name(str(1 + int(folder.name))), {}
    for last in sorted(out.iterdir()):
        assert run(music, last) == 0 and run(music, last) == 0


if __name__ == "__main__":
    paths = [Path(path) for path in sys.argv[2:]]
    kill_runs(int(sys.argv[1]), *paths, soundfile.info(next(paths[0].iterdir())).frames)
