"""Files that a kill leaves whole, and several writers of one file."""

import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.training_runs import start
from torchprim.errors import CheckpointError
from torchprim.files import (
    all_replaced,
    append_json_lines,
    check_writable,
    filter_json_lines,
    read_json_lines,
    remove_stale,
    replaced,
)


def test_an_error_leaves_the_old_file(tmp_path):
    path = tmp_path / "x.txt"
    path.write_bytes(b"old")
    with pytest.raises(ZeroDivisionError), replaced(path) as file:
        file.write(b"new")
        raise ZeroDivisionError
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["x.txt"]
    check_writable(path)
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["x.txt"]


def test_a_name_of_255_bytes_can_be_written(tmp_path):
    path = tmp_path / (83 * "歌" + "x.jsonl"[-6:])
    assert len(os.fsencode(path.name)) == 255
    left = tmp_path / f".{66 * '歌'}.4194399.12345678.part"  # of a process that is gone
    left.touch()
    with replaced(path) as file:
        file.write(b"whole")
    assert os.listdir(tmp_path) == [path.name]


def test_threads_that_write_one_file_do_not_share_a_temporary_file(tmp_path, monkeypatch):
    path, opened = tmp_path / "x.txt", threading.Event()

    def slow():
        with replaced(path) as file:
            file.write(b"slow" * 1000)
            opened.wait(5)

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(slow)
        with replaced(path) as file:
            file.write(b"half")
            file.flush()
            opened.set()
            first.result()
            assert path.read_bytes() == b"slow" * 1000
    assert path.read_bytes() == b"half" and os.listdir(tmp_path) == ["x.txt"]
    monkeypatch.chdir(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        contents = [bytes([i]) * 5000 for i in range(64)]
        names = [path, "x.txt"]  # two names of one file
        for done in [pool.submit(_write, names[i % 2], content) for i, content in enumerate(contents)]:
            done.result()
    assert path.read_bytes() in contents and os.listdir(tmp_path) == ["x.txt"]


def _write(path, content):
    with replaced(path) as file:
        file.write(content)


def test_a_name_that_begins_like_another_is_another_file(tmp_path):
    with all_replaced([tmp_path / "a.wav.b.wav", tmp_path / "a.wav"]) as files:
        for file in files:
            file.write(b"x")
    assert sorted(os.listdir(tmp_path)) == ["a.wav", "a.wav.b.wav"]


def test_what_killed_writers_left_is_removed_from_a_folder(tmp_path):
    """Of any file, also as earlier versions named it; not what another process is writing."""
    dead = [".gone.npz.99999999.part", ".gone.npz.99999999.0a1b2c3d.part", ".last.pt.99999999.partial"]
    kept = [".x.npz.part", ".notes.99999999.parts", "x.99999999.part"]
    for name in dead + kept:
        (tmp_path / name).touch()
    program = "import sys, torchprim.files; torchprim.files.remove_stale(sys.argv[1])"
    with replaced(tmp_path / "x.npz") as file:
        file.write(b"half")
        writing = Path(file.name).name
        assert start(["-c", program, tmp_path]).wait() == 0
        assert sorted(os.listdir(tmp_path)) == sorted([*kept, writing])
    assert (tmp_path / "x.npz").read_bytes() == b"half"
    remove_stale(tmp_path / "nowhere")


def test_a_pipe_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file") as caught, replaced(tmp_path / "pipe"):
        pass
    assert caught.value.filename == str(tmp_path / "pipe")


def test_lines_of_several_writers(tmp_path):
    path = tmp_path / "x.jsonl"
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(append_json_lines, path, [{"n": n}]) for n in range(100)]:
            done.result()
    assert sorted(r["n"] for r in read_json_lines(path)) == list(range(100))
    with path.open("a") as file:
        file.write("[" * 100_000 + '\n{"n": 100')  # nested too deeply; killed while writing
    filter_json_lines(path, lambda records: [r for r in records if r["n"] % 2])
    assert [json.loads(line)["n"] % 2 for line in path.read_text().splitlines()] == [1] * 50
    before = path.stat().st_ino
    filter_json_lines(path, lambda records: records)  # nothing to remove: not rewritten
    assert path.stat().st_ino == before
    with pytest.raises(ValueError, match="not JSON compliant"):
        append_json_lines(path, [{"n": float("nan")}])


def test_a_checkpoint_error_has_a_path_and_the_text_that_was_given():
    error = CheckpointError("./best.pt", "is damaged")
    assert error.path.name == "best.pt" and str(error) == "./best.pt: is damaged"
