"""`torchprim label`: labels, resuming, several processes, refusals."""

import json

import numpy as np
import pytest
import torch

import torchprim as tp
from tests.support.sound_files import noise, write
from tests.support.training_runs import start, write_music
from torchprim.cli.main import main
from torchprim.files import append_json_lines
from torchprim.networks.checkpoint import save_checkpoint
from torchprim.sources import FOUR
from torchprim.training.data import find_teacher


@pytest.fixture(scope="module")
def music(tmp_path_factory):
    folder = write_music(tmp_path_factory.mktemp("label") / "music", 3)
    (folder / "broken.wav").write_text("no sound")
    write(folder / "silent.wav", 0 * noise(44100))
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


def label(cache, *arguments):
    return main(
        ["label", *map(str, arguments), "--cache", str(cache), "--preset", "companion", "--device", "cpu"]
    )


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_labels_and_goes_on(music, cache, tmp_path, capsys):
    out = tmp_path / "new" / "labels.jsonl"
    assert label(cache, music, "nowhere", "--out", out, "--batch", "2") == 1  # two could not be used
    said = capsys.readouterr()
    assert "error: nowhere: no such file or folder" in said.err
    assert "broken.wav" in said.err
    assert f"skipped {music / 'silent.wav'}: it is silent, below -70 LUFS" in said.err
    assert said.out.startswith("3 segments labelled, 0 before, of 4 songs -> ")
    records = lines(out)
    fields = {"song", "start", "seconds", "loudness", "teacher", "confidence", "silhouette", "posterior"}
    assert all(set(record) == fields for record in records)
    assert [record["song"].split("/")[-1] for record in records] == ["0.wav", "1.wav", "2.wav"]
    # A kill in the middle of the last line.
    text = out.read_text()
    out.write_text(text[: text.rindex("{") + 20])
    files = [music / f"{i}.wav" for i in range(3)]
    assert label(cache, *files, "--out", out, "--batch", "2") == 0
    assert capsys.readouterr().out.startswith("1 segments labelled, 2 before, of 3 songs")
    assert [json.loads(line) for line in out.read_text().splitlines() if line[-1] == "}"] == records
    # A teacher of other settings is another teacher.
    before = len(lines_of(out))
    assert main(["label", str(files[0]), "--cache", str(cache), "--out", str(out), "--device", "cpu"]) == 0
    assert len(lines_of(out)) == before + 1


def made(folder):
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def lines_of(path):
    return [line for line in path.read_text().splitlines() if line.endswith("}")]


def test_two_processes_share_the_songs(music, cache, tmp_path):
    out = tmp_path / "labels.jsonl"
    files = [music / f"{i}.wav" for i in range(3)]
    command = ["-m", "torchprim", "label", *files, "--out", out, "--cache", cache, "--preset", "companion"]
    pair = [start(command, RANK=str(rank), WORLD_SIZE="2") for rank in range(2)]
    said = [child.communicate(timeout=120) for child in pair]
    assert [child.returncode for child in pair] == [0, 0], said
    assert said[0][0].startswith("process 0 of 2: 2 segments labelled, 0 before, of 2 songs")
    assert said[1][0].startswith("process 1 of 2: 1 segments labelled, 0 before, of 1 songs")
    assert sorted(record["song"].split("/")[-1] for record in lines(out)) == ["0.wav", "1.wav", "2.wav"]
    assert "label" not in said[1][1]  # one bar


def test_own_output_is_left_out_and_one_loud_sample_stops_nothing(tmp_path, capsys):
    music = write_music(tmp_path / "music", 1)
    audio = np.random.default_rng(0).standard_normal((2, 44100)) / 10
    audio[0, 5000] = 1e20
    write(music / "spike.wav", audio, subtype="FLOAT")
    for name in ("vocals", "accompaniment"):
        write(made(music / "stems" / "0") / f"{name}.wav", noise(44100))
    append_json_lines(music / "stems" / "separations.jsonl", [{"path": str(music / "0.wav"), "output": "0"}])
    write(made(music / "RUN" / "examples" / "0000002") / "mixture.wav", noise(44100))
    (music / "RUN" / "log.jsonl").touch()
    out = music / "RUN" / "labels.jsonl"
    assert label(tmp_path / "cache", music, "--out", out) == 1  # one could not be used
    said = capsys.readouterr()
    assert "3 files that torchprim wrote are left out" in said.err
    assert f"skipped {music / 'spike.wav'}: a sample is 5e+19 at 0.113 s, far above" in said.err
    assert said.out.startswith("1 segments labelled, 0 before, of 1 songs")
    assert [record["song"] for record in lines(out)] == [str(music / "0.wav")]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["nowhere", "--out", "OUT/l"], 1, "error: nowhere: no such file or folder"),
        (["MUSIC/broken.wav", "--out", "OUT/l"], 1, "no song that can be used"),
        (["MUSIC", "--out", "OUT"], 1, "OUT: cannot be written"),
        (["MUSIC", "--out", "/dev/null"], 1, "/dev/null: cannot be written: not a regular file"),
        (["MUSIC", "--out", "OUT/l", "--teacher", "no.pt"], 1, "error: no.pt: there is no such file"),
        (
            ["MUSIC", "--out", "OUT/l", "--batch", "0"],
            2,
            "argument --batch: must be a whole number in [1, 2147483647], got '0'",
        ),
        (
            ["MUSIC", "--out", "OUT/l", "--quietest", "nan"],
            2,
            "--quietest: must be a finite number, got 'nan'",
        ),
        (["MUSIC", "--out", ""], 2, "argument --out: must name a file"),
    ],
)
def test_refusals(music, cache, tmp_path, capsys, arguments, status, message):
    def placed(text):
        return text.replace("OUT", str(tmp_path)).replace("MUSIC", str(music))

    assert label(cache, *map(placed, arguments)) == status
    assert placed(message) in capsys.readouterr().err


def test_memory_that_does_not_suffice_to_separate_is_one_line(music, cache, tmp_path, capsys, monkeypatch):
    def exhausted(*_, **__):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(tp.PrimitiveSeparator, "estimate", exhausted)
    assert label(cache, music, "--out", tmp_path / "labels.jsonl") == 1
    assert capsys.readouterr().err.splitlines()[-1] == "error: not enough memory"


def test_labels_of_four_are_those_that_a_training_reads(music, cache, tmp_path, capsys):
    out = tmp_path / "labels.jsonl"
    words = ["--cache", cache, "--device", "cpu", "--out", out]
    assert main(["label", str(music / "0.wav"), *map(str, words), "--preset", "four"]) == 0
    teacher = find_teacher("pcl", "four", torch.device("cpu"), FOUR)
    assert lines(out)[0]["teacher"] == teacher.identity
    config = tp.NetworkConfig("tiny", "unet", ("mask",), layers=1, channels=2, sources=FOUR)
    save_checkpoint(tmp_path / "four.pt", tp.build_network(config))
    words += ["--teacher", tmp_path / "four.pt"]
    assert main(["label", str(music / "0.wav"), *map(str, words)]) == 0
    assert [record["teacher"].split()[0] for record in lines(out)] == ["stems", "network"]
