"""What the commands print, where it cannot be printed: nothing that is computed is lost."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.support.separating import both, tree
from tests.support.sound_files import noise, write

ROOT = Path(__file__).parents[2]


@pytest.fixture
def music(tmp_path):
    """Three short songs."""
    (tmp_path / "music").mkdir()
    for name in "abc":
        write(tmp_path / "music" / f"{name}.wav", noise(22050))
    return tmp_path / "music"


def start(command, *arguments, **options):
    """Run a command in a process of its own."""
    call = [sys.executable, "-m", "torchprim", command, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.run(call, cwd=ROOT, env=environment, text=True, timeout=600, **options)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_under_what_is_printed_stops_nothing(music, tmp_path):
    out = tmp_path / "out"
    with open("/dev/full", "w") as full:
        done = start(
            "separate", music, "x", "--out", out, "--method", "hpss", stdout=full, stderr=subprocess.PIPE
        )
        assert done.stderr.splitlines() == [
            "error: x: no such file or folder",
            "warning: standard output: cannot be written: No space left on device",
        ]
        assert done.returncode == 1 and tree(out) == both("a", "b", "c")
        done = start(
            "separate", music, "--out", tmp_path / "more", "--method", "hpss", stdout=full, stderr=full
        )
        assert done.returncode == 0 and tree(tmp_path / "more") == both("a", "b", "c")
        done = start("pitch", music / "a.wav", "--out", tmp_path / "p", stdout=full, stderr=subprocess.PIPE)
        warning, voiced = done.stderr.splitlines()
        assert warning == "warning: standard output: cannot be written: No space left on device"
        assert "of the frames are voiced" in voiced
        assert done.returncode == 0 and tree(tmp_path / "p") == ["a.pitch.csv", "a.pitch.png"]


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_closed_streams_stop_nothing_and_reach_no_file(music, tmp_path, closed):
    def close():
        for number in closed:
            os.close(number)

    (music / "b.wav").write_text("no sound")  # is named on standard error, and FFmpeg has its say
    done = start("separate", music, "--out", tmp_path / "out", "--method", "hpss", preexec_fn=close)
    assert done.returncode == 1 and tree(tmp_path / "out") == both("a", "c")
    for path in (tmp_path / "out").rglob("*.wav"):
        assert soundfile.info(path).frames == 22050


def test_a_reader_that_leaves_ends_the_command_quietly(music, tmp_path):
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = start(
            "separate",
            music,
            "--out",
            tmp_path / "o",
            "--method",
            "hpss",
            stdout=writing,
            stderr=subprocess.PIPE,
        )
    finally:
        os.close(writing)
    assert done.returncode == 1 and done.stderr == ""


# Memory


@pytest.fixture
def long_song(music):
    """150 minutes of silence, 3 GB decoded, among the music."""
    with soundfile.SoundFile(music / "b.flac", "w", 44100, 2, "PCM_16") as file:
        for _ in range(150):
            file.write(np.zeros((44100 * 60, 2), np.int16))
    return music / "b.flac"


@pytest.mark.skipif(sys.platform != "linux", reason="limits the address space")
@pytest.mark.parametrize(
    ("command", "options"),
    [("label", ["--cache", "cache"]), ("report", []), ("pitch", [])],
)
def test_a_song_that_memory_does_not_suffice_for_is_named(music, long_song, tmp_path, command, options):
    def limit():
        resource.setrlimit(resource.RLIMIT_AS, (5 << 30, 5 << 30))

    options = [tmp_path / option if option == "cache" else option for option in options]
    given, out = (music, tmp_path / "o.jsonl") if command == "label" else (long_song, tmp_path / "out")
    done = start(command, given, "--out", out, *options, capture_output=True, preexec_fn=limit)
    (line,) = [line for line in done.stderr.splitlines() if "not enough memory" in line]
    assert done.returncode == 1 and f"{long_song.name}: not enough memory" in line
    assert "Traceback" not in done.stderr
    if command == "label":
        assert len(out.read_text().splitlines()) == 3
