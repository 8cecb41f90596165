"""`torchprim separate` with failures: one line names the file, the others are done."""

import errno
import os
import sys
from types import SimpleNamespace

import pytest
import torch

from tests.support.separating import HalvingSeparator, both, lines, separate, tree
from tests.support.sound_files import bad_files, cut, noise, silent_video, write
from torchprim.audio.encode import Encoder
from torchprim.audio.load import load_audio
from torchprim.cli.separate import separation
from torchprim.errors import writing


def test_bad_files_are_named_and_the_others_done(tmp_path, halves, capfd):
    music = tmp_path / "bad"
    music.mkdir()
    cases = bad_files(music)
    del cases["folder"], cases["zero byte"]
    good = [write(tmp_path / "first.wav", noise(1000)), write(tmp_path / "last.wav", noise(1000))]
    paths = [good[0], *(path for path, _ in cases.values()), good[1]]
    assert separate(*paths, "--out", tmp_path / "out") == 1
    output, errors = capfd.readouterr()
    assert len(errors.splitlines()) == len(cases) and "Traceback" not in errors
    for path, reason in cases.values():
        (line,) = [line for line in errors.splitlines() if line.startswith(f"error: {path}: ")]
        assert reason.lower() in line.lower()
    assert output.splitlines()[-1] == f"2 separated, 0 done before, {len(cases)} failed"
    assert tree(tmp_path / "out") == both("first", "last")


def test_folders_without_sound_and_strange_names_are_named(tmp_path, halves, capfd):
    (tmp_path / "empty").mkdir()
    for name in (tmp_path / "empty", "", "a\0b", "x" * 5000):
        assert separate(name, "--out", tmp_path / "out") == 1
        (line,) = capfd.readouterr().err.splitlines()
        assert line.startswith("error: ") and len(line) < 5100
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_listed_is_named_and_the_others_done(tmp_path, halves, capfd, monkeypatch):
    for name in ("music/a.wav", "music/closed/b.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path / name, noise(100))
    scandir = os.scandir

    def refusing(path):  # permissions do not bind root
        if str(path).endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    assert separate(tmp_path / "music", "--out", tmp_path / "out") == 1
    monkeypatch.undo()
    assert capfd.readouterr().err == f"error: {tmp_path / 'music' / 'closed'}: Permission denied\n"
    assert tree(tmp_path / "out") == both("a")


def test_a_truncated_file_is_separated_with_a_warning(tmp_path, halves, capsys):
    whole = write(tmp_path / "whole.wav", noise(10000))
    part = cut(whole, tmp_path / "part.wav")
    assert separate(whole, part, "--out", tmp_path / "out") == 0
    assert capsys.readouterr().err.startswith(f"warning: {part}: truncated: ")
    assert load_audio(tmp_path / "out" / "part" / "vocals.wav")[0].shape == load_quietly(part).shape
    assert [len(record["notes"]) for record in lines(tmp_path / "out")] == [0, 1]


def load_quietly(path):
    with pytest.warns(UserWarning):
        return load_audio(path)[0]


def test_an_output_folder_that_cannot_be_written_is_named(tmp_path, halves, capfd):
    path = write(tmp_path / "a.wav", noise(100))
    for out in (path, path / "below"):
        assert separate(path, tmp_path / "missing.wav", "--out", out) == 1
        errors = capfd.readouterr().err.splitlines()
        assert len(errors) == 2 and errors[0].startswith(f"error: {tmp_path / 'missing.wav'}: ")
        assert errors[1].startswith(f"error: {out}: ")
    assert halves.songs == 0


@pytest.mark.parametrize("name", ["vocals", "accompaniment"])
def test_a_full_disk_is_named_and_leaves_nothing(tmp_path, halves, capfd, monkeypatch, name):
    paths = [write(tmp_path / name, noise(1000)) for name in ("a.wav", "b.wav")]
    write_block = Encoder.write

    def full(self, audio, *rest):
        if self.path.parent.name == "a" and self.path.stem == name:
            with writing(self.path):
                raise OSError(errno.ENOSPC, "No space left on device")
        write_block(self, audio, *rest)

    monkeypatch.setattr(Encoder, "write", full)
    assert separate(*paths, "--out", tmp_path / "out") == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"error: {paths[0]}: ") and line.endswith("No space left on device")
    assert tree(tmp_path / "out") == both("b") and not (tmp_path / "out" / "a").exists()
    assert [record["output"] for record in lines(tmp_path / "out")] == ["b"]


def test_what_cannot_fit_on_the_disk_is_not_begun(tmp_path, halves, capfd, monkeypatch):
    path = write(tmp_path / "a.wav", noise(1000))
    monkeypatch.setattr(separation.shutil, "disk_usage", lambda folder: SimpleNamespace(free=15_999))
    assert separate(path, "--out", tmp_path / "out") == 1
    assert capfd.readouterr().err.startswith(f"error: {path}: ") and halves.songs == 0


def test_a_full_disk_under_the_records_tears_no_line(tmp_path, halves, capfd, monkeypatch):
    paths = [write(tmp_path / name, noise(100)) for name in ("a.wav", "b.wav")]
    assert separate(paths[0], "--out", tmp_path / "out") == 0
    monkeypatch.setattr("torchprim.files.os.fsync", refuse_fsync)
    assert separate(*paths, "--out", tmp_path / "out") == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"error: {paths[1]}: ") and "No space left on device" in line
    assert [record["output"] for record in lines(tmp_path / "out")] == ["a"]


def refuse_fsync(descriptor):
    if "separations" in os.readlink(f"/proc/self/fd/{descriptor}"):
        raise OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried\nto allocate"), "not enough memory on the device"),
        (MemoryError(), "not enough memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "not enough memory"),
        (ValueError("audio must be\nfinite"), "audio must be finite"),
        (RuntimeError("a surprise"), "RuntimeError: a surprise"),
    ],
)
def test_a_failing_separation_is_named_and_the_rest_done(tmp_path, halves, capfd, monkeypatch, error, text):
    paths = [write(tmp_path / name, noise(100)) for name in ("a.wav", "b.wav")]
    stream = HalvingSeparator.stream

    def failing(self, *args, **options):
        if HalvingSeparator.songs == 0:
            HalvingSeparator.songs += 1
            raise error
        return stream(self, *args, **options)

    monkeypatch.setattr(HalvingSeparator, "stream", failing)
    assert separate(*paths, "--out", tmp_path / "out") == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"error: {paths[0]}: {text}")
    assert tree(tmp_path / "out") == both("b")


def test_samples_beyond_the_range_of_floats_are_refused_by_their_value(tmp_path, capfd):
    loud, usable = noise(5000) * 1e37, noise(5000) * 1e29
    paths = [write(tmp_path / f"{i}.wav", audio, 44100, "FLOAT") for i, audio in enumerate((loud, usable))]
    assert separate(*paths, "--out", tmp_path / "out") == 1
    (line,) = capfd.readouterr().err.splitlines()
    assert line == f"error: {paths[0]}: a sample is {loud[:, 0][0]:g} at 0.000 s"
    vocals = load_audio(tmp_path / "out" / "1" / "vocals.wav")[0]
    assert torch.isfinite(vocals).all() and vocals.any()


def test_an_inverted_channel_is_separated_with_a_warning(tmp_path, capsys):
    left = noise(20000, 1)[0]
    path = write(tmp_path / "a.wav", [left, -left], 44100, "FLOAT")
    assert separate(path, "--out", tmp_path / "out") == 0
    assert capsys.readouterr().err.startswith(f"warning: {path}: its channels cancel, one may be inverted")
    vocals = load_quietly(tmp_path / "out" / "a" / "vocals.wav")
    assert vocals.abs().max() > 0.01 and torch.equal(vocals[0], -vocals[1])
    (record,) = lines(tmp_path / "out")
    assert record["confidence"] > 0 and len(record["notes"]) == 1


def test_an_interrupted_run_ends_with_one_line(tmp_path, halves, capfd, monkeypatch):
    paths = [write(tmp_path / name, noise(100)) for name in ("a.wav", "b.wav")]
    stream = HalvingSeparator.stream

    def interrupted(self, *args, **options):
        if HalvingSeparator.songs == 1:
            raise KeyboardInterrupt
        return stream(self, *args, **options)

    monkeypatch.setattr(HalvingSeparator, "stream", interrupted)
    assert separate(*paths, "--out", tmp_path / "out") == 130
    assert capfd.readouterr().err == "interrupted\n"
    assert tree(tmp_path / "out") == both("a")


def test_a_film_without_sound_is_no_song(tmp_path, capfd):
    assert separate(silent_video(tmp_path / "film.mp4"), "--out", tmp_path / "out") == 1
    assert capfd.readouterr().err == f"error: {tmp_path / 'film.mp4'}: has no audio stream\n"


def test_a_missing_library_is_named_once(tmp_path, halves, capfd, monkeypatch):
    paths = [write(tmp_path / name, noise(100)) for name in ("a.wav", "b.wav")]
    monkeypatch.setitem(sys.modules, "soundfile", None)
    assert separate(*paths, "--out", tmp_path / "out") == 1
    assert capfd.readouterr().err == "error: writing sound needs soundfile: pip install soundfile\n"
