"""Training of four sources, and of others by name: from music, from true stems, on and on."""

import json

import pytest
import soundfile
import torch

import torchprim as tp
from tests.support.page_reader import Page
from tests.support.separating import separate, tree
from tests.support.training_runs import RATE, TINY, curve, options_of, song, steps, train, write_music
from torchprim.cli.train.options import network_config
from torchprim.sources import FOUR

THREE = ("strings", "brass", "rest")


@pytest.fixture(scope="module")
def music(tmp_path_factory):
    return write_music(tmp_path_factory.mktemp("music"), 4)


def write_parts(folder, names, count=4):
    """Write songs of stems: a voice, clicks, tones that lie elsewhere."""
    for number in range(count):
        voice, clicks = song(number)
        t = torch.arange(len(voice)) / RATE
        low, high = (0.2 * torch.sin(6.283 * f * (1 + 0.1 * number) * t) for f in (60, 900))
        (folder / str(number)).mkdir(parents=True)
        for name, audio in zip(names, (clicks, low, high, voice), strict=False):
            soundfile.write(folder / str(number) / f"{name}.wav", audio.numpy(), RATE)
    return folder


@pytest.fixture(scope="module")
def run(music, tmp_path_factory):
    """A run of four sources, from music and true stems; both heads."""
    folder = tmp_path_factory.mktemp("run")
    stems = write_parts(folder / "stems", FOUR)
    words = ["--audio", music, "--stems", stems, "--cache", folder / "cache", "--validation", "0.3"]
    out = folder / "RUN"
    assert train([*words, *TINY, *steps(8), "--sources", "four", "--out", out]) == 0
    return out


def test_a_run_of_four(run):
    checkpoint = tp.load(run / "best.pt")
    assert checkpoint.sources == FOUR and checkpoint.config.sources == FOUR
    assert checkpoint.anchors.shape == (4, checkpoint.config.dimensions)
    records = [record for record in curve(run) if "validation" in record]
    for name in FOUR:
        assert {f"sd_sdr_{name}", f"teacher_sd_sdr_{name}"} <= set(records[-1])
    assert json.loads((run / "settings.json").read_text())["sources"] == ",".join(FOUR)
    teachers = {json.loads(line)["teacher"] for line in (run / "labels.jsonl").read_text().splitlines()}
    assert len(teachers) == 1 and teachers.pop().startswith("stems four ")
    example = sorted(path.name for path in next((run / "examples").iterdir()).iterdir())
    of_each = [f"{name}_{what}.wav" for name in FOUR for what in ("target", "estimate")]
    assert example == sorted(["example.png", "mixture.wav", *of_each])


def test_the_page_of_a_run_of_four(run):
    page = Page((run / "report.html").read_text(encoding="utf-8"))
    players = [player["aria-label"] for player in page.all("audio")]
    names = [name.capitalize() for name in FOUR]
    assert players == [f"{name}, {whose}" for whose in ("true", "teacher", "network") for name in names]
    radios = [radio for radio in page.all("input") if radio["type"] == "radio"]
    assert len(radios) == 13 and radios[0]["data-gains"] == " ".join("1" * 4 + "0" * 8)
    assert [radio.get("aria-keyshortcuts") for radio in radios] == [*map(str, range(1, 10)), *[None] * 4]
    said = "".join(page.text)
    for words in (
        *(f"{name}, {whose}." for name in names for whose in ("teacher", "network")),  # masks
        *(f"teacher: {name} (dB)" for name in FOUR),
        "--sources drums,bass,other,vocals --methods mixture,null,pcl,irm,",
    ):
        assert words in said, words


def test_a_run_of_four_goes_on_and_separates(run, tmp_path, capsys):
    assert train(["--resume", run, "--steps", "10"]) == 0
    steps_logged = [record["step"] for record in curve(run) if "loss" in record]
    assert steps_logged == list(range(1, 11))
    path = tmp_path / "song.wav"
    soundfile.write(path, sum(song(9)).numpy(), RATE, subtype="FLOAT")
    assert separate(path, "--checkpoint", run / "best.pt", "--out", tmp_path / "out") == 0
    assert tree(tmp_path / "out") == ["separations.jsonl", *(f"song/{name}.wav" for name in sorted(FOUR))]


def test_a_network_of_four_teaches_the_next(run, music, tmp_path, capsys):
    words = [
        "--audio",
        music,
        "--cache",
        run.parent / "cache",
        *TINY,
        *steps(2),
        "--teacher",
        run / "best.pt",
    ]
    assert train([*words, "--sources", "four", "--out", tmp_path / "second"]) == 0
    assert train([*words, "--out", tmp_path / "two"]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.endswith("best.pt gives drums, bass, other, vocals, and vocals, accompaniment are asked for")
    assert not (tmp_path / "two" / "labels.jsonl").exists()


def test_sources_of_ones_own(tmp_path, capsys):
    """True stems of other names; and a preset of one's own as their teacher."""
    stems = write_parts(tmp_path / "stems", THREE)
    words = ["--cache", tmp_path / "cache", *TINY, *steps(2), "--sources", ",".join(THREE)]
    assert train(["--stems", stems, *words, "--out", tmp_path / "true"]) == 0
    assert tp.load(tmp_path / "true" / "best.pt").sources == THREE
    music = write_music(tmp_path / "music", 3)
    assert train(["--audio", music, *words, "--out", tmp_path / "none"]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert "there is no ensemble of strings, brass, rest but one's own: --teacher-preset names it" in said
    (tmp_path / "mine.py").write_text(
        "import torchprim as tp\n"
        'centres = {"strings": (1, 0), "brass": (1, 1), "rest": (0, 0)}\n'
        'three = tp.StemPreset("three", centres, weights={"hpss": 1.0, "low": 1.0})\n'
    )
    preset = ["--teacher-preset", f"{tmp_path / 'mine.py'}:three"]
    assert train(["--audio", music, *words, *preset, "--out", tmp_path / "mine"]) == 0
    assert tp.load(tmp_path / "mine" / "best.pt").sources == THREE
    assert train(["--audio", music, *words, "--teacher-preset", "four", "--out", tmp_path / "other"]) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert "the teacher four gives drums, bass, other, vocals, and strings, brass, rest are asked for" in said


def test_networks_of_the_sources():
    words = ["--audio", "x", "--out", "y"]
    four = network_config(options_of([*words, "--sources", "four"]))
    assert (four.sources, four.cues, four.layers) == (FOUR, "four", tp.NETWORKS["small"].layers)
    assert network_config(options_of([*words, "--sources", ",".join(THREE)])).cues == ""
    assert network_config(options_of([*words, "--sources", "four", "--preset", "paper"])).cues == ""
    assert network_config(options_of([*words, "--sources", "two"])) == tp.NETWORKS["small"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--sources", "vocals"], "must be two, four, or two names or more"),
        (["--teacher-preset", "beast"], "argument --teacher-preset: must be best, paper"),
    ],
)
def test_wrong_sources(given, said, capsys):
    assert train(["--audio", "x", "--out", "y", *given]) == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_two_sources_of_other_names(tmp_path):
    """The first is class 1: the mask of a network that has learnt is that of the first stem."""
    stems = write_parts(tmp_path / "stems", ("clicks", "hum"))
    words = [
        "--stems",
        stems,
        "--cache",
        tmp_path / "cache",
        *TINY,
        *steps(60, 60),
        "--sources",
        "clicks,hum",
    ]
    assert train([*words, "--heads", "mask", "--balance", "1", "--out", tmp_path / "run"]) == 0
    separator = tp.load(tmp_path / "run" / "best.pt")
    bank = tp.StemBank(
        [stems], cache=tmp_path / "cache", sources=("clicks", "hum"), quietest=-60, progress=False
    )
    clicks, hum = bank.stems([0])
    with torch.inference_mode():
        estimate = separator(clicks + hum, RATE)
    assert tuple(estimate.stems) == ("clicks", "hum")
    for name, true in (("clicks", clicks), ("hum", hum)):
        assert tp.sd_sdr(true, estimate.stems[name]) > tp.sd_sdr(true, clicks + hum) + 3


def test_a_refused_change_is_not_kept(run, tmp_path, capsys):
    """Settings of a run are those of its last start that passed all checks."""
    settings = (run / "settings.json").read_text()
    for change in (["--teacher-preset", "best"], ["--teacher", tmp_path / "none.pt"]):
        assert train(["--resume", run, "--steps", "11", *change]) == 1
        assert "resumed with other settings" not in capsys.readouterr().err
        assert (run / "settings.json").read_text() == settings
    assert train(["--resume", run, "--steps", "11"]) == 0
    assert "resumed with other settings: steps" in capsys.readouterr().err


def test_files_of_presets_are_kept_as_absolute_paths(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for given, kept in (
        ("mine.py:three", f"{tmp_path}/mine.py:three"),
        ("mine.toml", f"{tmp_path}/mine.toml"),
        ("package.module:three", "package.module:three"),
        ("paper", "paper"),
    ):
        assert options_of(["--audio", "x", "--out", "y", "--teacher-preset", given]).teacher_preset == kept
