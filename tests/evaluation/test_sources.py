"""`torchprim evaluate compare` of four sources, and of others by name."""

import csv
import dataclasses
import json

import pytest
import torch

import torchprim as tp
from tests.support.stem_songs import RATE, write_song
from torchprim.cli.main import main
from torchprim.evaluation import quartiles, runner
from torchprim.evaluation.methods import find_method
from torchprim.evaluation.songs import Song, find_songs, read_song
from torchprim.metrics.baselines import FOUR_NULLS
from torchprim.networks.checkpoint import save_checkpoint
from torchprim.sources import FOUR

THREE = ("strings", "brass", "rest")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Two songs with all stems, one that lacks the bass, and one whose drums are silent."""
    root = tmp_path_factory.mktemp("stems")
    for number, name in enumerate("ab"):
        write_song(root / name, 10 * number, rest=("drums", "bass", "other"))
    write_song(root / "c", 30, rest=("drums", "other"))
    write_song(root / "d", 40, rest=("drums", "bass", "other"), drums=torch.zeros(2, 2 * RATE))
    return root


def run(root, out, *words):
    return main(["evaluate", "compare", "--stems", str(root), "-o", str(out), "--device", "cpu", *words])


def records(out):
    return [json.loads(line) for line in (out / "scores.jsonl").read_text().splitlines()]


def test_scores_of_four(root, tmp_path, capsys):
    assert run(root, tmp_path, "--sources", "four", "--bss", "torch") == 0
    page, whole = (tmp_path / "compare.md").read_text(), json.loads((tmp_path / "compare.json").read_text())
    assert whole["data"]["left out"] == {"c": "no bass", "d": "the drums are silent"}
    assert list(whole["summary"]) == ["mixture", "null", "irm", "pcl"]
    song = read_song("a", root / "a", sources=FOUR).to_mono()
    assert song.names == FOUR and song.sources.shape == (4, 1, 2 * RATE)
    of_song = {r["method"]: r["scores"]["SD-SDR"] for r in records(tmp_path) if r["song"] == "a"}
    channels = read_song("a", root / "a", sources=FOUR).mixture
    stems = tp.StemSeparator()(channels, RATE, channels=True).stems
    geometry = tp.Geometry(RATE)
    magnitudes = tp.stft(song.sources[:, 0], geometry).abs()
    for k, name in enumerate(FOUR):
        true, mixture = song.sources[k, 0], song.mixture[0]
        assert of_song["mixture"][name] == pytest.approx(tp.sd_sdr(true, mixture).item())
        assert of_song["pcl"][name] == pytest.approx(tp.sd_sdr(true, stems[name].mean(0)).item(), abs=1e-3)
        frequency = torch.linspace(0, RATE / 2, geometry.bins)[:, None]
        band = (frequency >= FOUR_NULLS[name].low) & (frequency < FOUR_NULLS[name].high)
        null = tp.istft(tp.stft(mixture, geometry) * band, geometry, len(mixture))
        assert of_song["null"][name] == pytest.approx(tp.sd_sdr(true, null).item(), abs=1e-3)
        ratio = magnitudes[k] / magnitudes.sum(0)
        ideal = tp.istft(tp.stft(mixture, geometry) * ratio, geometry, len(mixture))
        assert of_song["irm"][name] == pytest.approx(tp.sd_sdr(true, ideal).item(), abs=1e-3)
        assert (tmp_path / f"figure4-{name}.png").stat().st_size > 8000
    values = [sum(r["scores"]["SD-SDR"].values()) / 4 for r in records(tmp_path) if r["method"] == "irm"]
    assert whole["summary"]["irm"]["SD-SDR"]["mean"][0] == pytest.approx(sum(values) / 2)
    assert "| method | drums mean | median | bass mean |" in page and "both" not in page
    assert "BSSEval v4 by torchprim" in page and "drums / bass / other / vocals" in page
    with (tmp_path / "compare.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert float(rows[0]["sd_sdr_drums"]) == pytest.approx(of_song["mixture"]["drums"], abs=1e-4)
    assert {"sd_sdr_mean", "bss_sdr_bass", "sd_sdr_gain_other"} <= set(rows[0])


def test_two_and_four_share_a_folder_and_resume(root, tmp_path, monkeypatch):
    words = ("--methods", "mixture,irm", "--against", "mixture")
    for sources in ("two", "four"):
        assert run(root, tmp_path, "--sources", sources, *words) == 0
    pages = (tmp_path / "compare.md").read_text()
    assert len(records(tmp_path)) == 2 * 3 + 2 * 2  # of two sources d is a song as well

    def refuse(*_, **__):
        raise AssertionError("computed anew")

    monkeypatch.setattr(runner, "closed_form", refuse)
    for sources in ("two", "four"):
        assert run(root, tmp_path, "--sources", sources, *words) == 0
    assert (tmp_path / "compare.md").read_text() == pages


def test_other_sources(tmp_path, capsys):
    for number in range(2):
        folder = tmp_path / "songs" / str(number)
        write_song(folder, 100 * number, vocals=None, rest=THREE)
    words = ("--sources", ",".join(THREE))
    assert run(tmp_path / "songs", tmp_path / "out", *words) == 0
    summary = json.loads((tmp_path / "out" / "compare.json").read_text())["summary"]
    assert list(summary) == ["mixture", "irm"] and list(summary["irm"]["SD-SDR"]) == [*THREE, "mean"]
    config = dataclasses.replace(tp.NETWORKS["unet"], layers=1, channels=2, sources=THREE)
    save_checkpoint(tmp_path / "three.pt", tp.build_network(config))
    assert run(tmp_path / "songs", tmp_path / "out", *words, "--methods", f"irm,{tmp_path / 'three.pt'}") == 0
    methods = {record["method"] for record in records(tmp_path / "out")}
    assert str(tmp_path / "three.pt") in methods
    capsys.readouterr()
    for given, said in (
        ((*words, "--methods", "null"), "not of strings, brass, rest"),
        (
            (*words, "--methods", "pcl"),
            "there is no ensemble of strings, brass, rest but one's own: pcl:",
        ),
        ((*words, "--methods", "pcl", "--preset", "paper"), "argument --preset: is of vocals, accompaniment"),
        (("--sources", "four", "--methods", str(tmp_path / "three.pt")), "separates strings, brass, rest"),
        (("--sources", "four"), "no song with stems"),
    ):
        assert run(tmp_path / "songs", tmp_path / "out", *given) == 1
        (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
        assert said in line


def test_an_ensemble_of_ones_own_is_scored(tmp_path, capsys):
    for number in range(2):
        write_song(tmp_path / "songs" / str(number), 100 * number, vocals=None, rest=THREE)
    (tmp_path / "mine.py").write_text(
        "import torchprim as tp\n"
        'centres = {"strings": (1, 0), "brass": (1, 1), "rest": (0, 0)}\n'
        'three = tp.StemPreset("three", centres, weights={"hpss": 1.0, "low": 1.0})\n'
    )
    name = f"pcl:{tmp_path / 'mine.py'}:three"
    words = ("--sources", ",".join(THREE), "--methods", f"mixture,{name}")
    assert run(tmp_path / "songs", tmp_path / "out", *words) == 0
    assert [record["method"] for record in records(tmp_path / "out")] == ["mixture", name] * 2
    with pytest.raises(ValueError, match="separates strings, brass, rest, not vocals, accompaniment"):
        find_method(name)


def test_quartiles_of_four(root, tmp_path, monkeypatch):
    """With a stand-in for the trainings that saves an untrained network of four."""
    config = dataclasses.replace(tp.NETWORKS["unet"], layers=1, channels=2, sources=FOUR)
    commands = []

    def training(command, env):
        commands.append(command)
        save_checkpoint(f"{command[command.index('--out') + 1]}/last.pt", tp.build_network(config))
        return type("", (), {"returncode": 0})

    monkeypatch.setattr(quartiles.subprocess, "run", training)
    words = ["quartiles", "--audio", root, "--stems", root, "-o", tmp_path, "--sources", "four"]
    words += ["--methods", "mixture,pcl", "--device", "cpu"]
    assert main(["evaluate", *map(str, words)]) == 0
    assert all("--teacher-preset" not in command for command in commands)
    assert all(command[command.index("--sources") + 1] == ",".join(FOUR) for command in commands)
    summary = json.loads((tmp_path / "quartiles.json").read_text())["summary"]
    assert len(summary) == 6 and list(summary["pcl"]["SD-SDR"]) == [*FOUR, "mean"]


def test_methods_of_four():
    assert isinstance(find_method("pcl", sources=FOUR).separator, tp.StemSeparator)
    with pytest.raises(ValueError, match="method 'hpss' separates vocals, accompaniment, not drums"):
        find_method("hpss", sources=FOUR)


def test_songs_of_four(root):
    index = find_songs([root], FOUR)
    assert set(index.songs) == {"a", "b", "d"} and index.problems == {"c": "no bass"}
    two = read_song("a", root / "a")
    four = read_song("a", root / "a", sources=FOUR)
    torch.testing.assert_close(four.mixture, two.mixture)
    assert isinstance(four, Song) and four.seconds == 2
