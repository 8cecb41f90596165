"""`torchprim separate` a second time: what is skipped, and how a killed run is resumed."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.separating import both, lines, separate, tree
from tests.support.sound_files import noise, write
from torchprim.audio.load import load_audio
from torchprim.cli.main import main
from torchprim.cli.separate.records import NAME, Records

ROOT = Path(__file__).parents[2]


def test_what_is_done_is_skipped_until_something_changes(tmp_path, halves, capsys):
    music, out = tmp_path / "music", tmp_path / "out"
    music.mkdir()
    path = write(music / "a.wav", noise(100))
    write(music / "b.wav", noise(100))

    def songs(*options):
        halves.songs = 0
        assert separate(music, "--out", out, *options) == 0
        assert len(lines(out)) == 2 == len({record["path"] for record in lines(out)})
        return halves.songs

    assert songs() == 2
    assert songs() == 0
    assert capsys.readouterr().out.splitlines()[-1] == "0 separated, 2 done before, 0 failed"
    assert songs("--overwrite") == 2
    os.utime(path, ns=(0, 12345))
    assert songs() == 1
    os.utime(write(path, noise(200)), ns=(0, 12345))
    assert songs() == 1
    (out / "a" / "accompaniment.wav").unlink()
    assert songs() == 1
    assert songs("--preset", "paper", "--overwrite") == 2
    assert songs("--preset", "paper") == 0
    assert songs("--method", "hpss", "--overwrite") == 2
    assert songs("--method", "hpss", "--format", "flac", "--overwrite") == 2
    assert songs("--method", "hpss", "--format", "flac") == 0
    assert tree(out) == [*(f"{n}/{s}.flac" for n in "ab" for s in ("accompaniment", "vocals")), NAME]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--preset", "paper"], "of preset best, not paper"),
        (["--method", "hpss"], "of method pcl, not hpss"),
        (["--format", "flac"], "of format wav, not flac"),
        (["--format", "mp3"], "of format wav, not mp3 and bitrate none, not 320"),
        (["--audio-track", "1"], "of audio track none, not 1"),
        (["--name", "{song} {stem}"], "under other names"),
    ],
)
def test_stems_of_other_settings_are_replaced_only_on_request(tmp_path, halves, capsys, options, said):
    music, out = tmp_path / "music", tmp_path / "out"
    music.mkdir()
    for name in "abcd":
        write(music / f"{name}.wav", noise(100))
    assert separate(*(music / f"{name}.wav" for name in "abc"), "--out", out) == 0
    before = {name: (out / name).stat().st_mtime_ns for name in tree(out) if name != NAME}
    (out / "c" / "vocals.wav").rename(tmp_path / "moved")  # one stem alone is enough
    capsys.readouterr()
    assert separate(music / "a.wav", "--out", out, *options) == 1
    assert capsys.readouterr().err == (
        f"error: {out}/a/vocals.wav: is {said}; --overwrite replaces it, another --out keeps both\n"
    )
    assert separate(music, "--out", out, *options) == 1  # the new song is done
    output, error = capsys.readouterr()
    assert error == (
        f"error: {out}: has stems {said}, for 3 songs (a/vocals.wav, b/vocals.wav, c/accompaniment.wav); "
        "--overwrite replaces them, another --out keeps both\n"
    )
    assert output.splitlines()[-1] == "1 separated, 0 done before, 3 failed"
    (tmp_path / "moved").rename(out / "c" / "vocals.wav")
    assert {name: (out / name).stat().st_mtime_ns for name in before} == before
    assert separate(music, "--out", out, *options, "--overwrite") == 0
    kept = {name for name in before if (out / name).exists()}
    assert kept == (set(before) if options[0] in ("--preset", "--method", "--audio-track") else set())
    assert separate(music, "--out", out, *options) == 0 and len(tree(out)) == 9


def test_stems_of_a_file_that_was_moved_away_are_not_replaced_unasked(tmp_path, halves, capsys):
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
    old = write(tmp_path / "x" / "a.wav", noise(100))
    assert separate(old, "--out", tmp_path / "out") == 0
    new = old.rename(tmp_path / "y" / "a.wav")
    assert separate(new, "--out", tmp_path / "out") == 1
    assert f"{tmp_path}/out/a/vocals.wav: is of {old}; --overwrite" in capsys.readouterr().err
    assert separate(new, "--out", tmp_path / "out", "--overwrite") == 0
    assert [record["path"] for record in lines(tmp_path / "out")] == [str(new)]
    assert separate(new, "--out", tmp_path / "out") == 0 and halves.songs == 2


KILLED = """
import os, signal, sys
from torchprim.audio import encode
from torchprim.cli.main import main

room = int(sys.argv[1])
write = encode._Sink.write

def dying_write(self, data):
    global room
    room -= len(data)
    if room < 0:
        self.file.write(data[: len(data) // 2])
        self.file.flush()
        os.kill(os.getpid(), signal.SIGKILL)
    return write(self, data)

encode._Sink.write = dying_write
main(sys.argv[2:])
"""


@pytest.mark.parametrize("room", [0, 60_000, 150_000, 190_000])
def test_a_killed_run_leaves_nothing_half_written_and_is_resumed(tmp_path, room):
    music, out = tmp_path / "music", tmp_path / "out"
    music.mkdir()
    for name in ("a.wav", "b.wav", "c.wav"):  # stems of 40 kB
        write(music / name, noise(5000))
    arguments = ["separate", str(music), "--out", str(out), "--method", "hpss"]
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(room), *arguments], cwd=ROOT, capture_output=True
    )
    assert done.returncode == -signal.SIGKILL
    assert any(name.endswith(".part") for name in tree(out))
    for name in tree(out):
        if name.endswith(".wav"):
            assert load_audio(out / name)[0].shape == (2, 5000)
    before = [record["output"] for record in lines(out)]
    assert len(before) == room // 80_000
    with open(out / "separations.jsonl", "a") as file:
        file.write('{"path": "half a li')  # where the last line was being written
    assert main(arguments) == 0
    assert tree(out) == both("a", "b", "c")  # and nothing that was left over
    assert [record["output"] for record in lines(out)] == ["a", "b", "c"]


def test_records_survive_what_a_crash_does_to_them(tmp_path):
    good = {"path": "/a", "output": "a"}
    path = tmp_path / "separations.jsonl"
    path.write_bytes(
        b'{"path": "/b", "output": "b"}\n\xff\xfe\n[1]\nnull\n{"path": 3, "output": "x"}\n'
        + (b"[" * 100_000 + b"\n")  # deeper than Python parses
        + b'{"path": "/b", "o'
    )
    records = Records(tmp_path)
    assert list(records.by_path) == ["/b"]
    records.append(good)
    assert list(Records(tmp_path).by_path) == ["/b", "/a"]  # the torn line did not swallow the new one
    records.append({"path": "/b", "output": "c"})
    records.tidy()
    assert lines(tmp_path) == [{"path": "/b", "output": "c"}, good]
    assert os.listdir(tmp_path) == ["separations.jsonl"]
    with pytest.raises(ValueError):
        records.append({"path": "/c", "output": "c", "confidence": float("nan")})
    assert lines(tmp_path) == [{"path": "/b", "output": "c"}, good]


@pytest.mark.parametrize("output", ["..", "../x", "a/../..", "/x", ".", "", "a\0b"])
def test_a_record_never_leads_out_of_the_output_folder(tmp_path, halves, output):
    path, out = write(tmp_path / "music.wav", noise(100)), tmp_path / "up" / "out"
    assert separate(path, "--out", out) == 0
    (record,) = lines(out)
    (out / "separations.jsonl").write_text(json.dumps({**record, "output": output}) + "\n")
    assert separate(path, "--out", out) == 0
    assert lines(out) == [record] and halves.songs == 2
    assert sorted(tree(tmp_path)) == sorted(["music.wav", *(f"up/out/{name}" for name in both("music"))])
