"""`torchprim separate --checkpoint`: a trained network in the command line."""

import dataclasses

import pytest
import torch

import torchprim as tp
from tests.support.separating import lines, separate, tree
from torchprim.audio.load import load_audio
from torchprim.audio.write import save
from torchprim.networks.checkpoint import save_checkpoint
from torchprim.sources import FOUR, TWO

TINY = tp.NetworkConfig("tiny", "unet", ("mask",), tp.Geometry(16000, 256, 64), layers=2, channels=4)


def trained(path, seed, sources=TWO):
    torch.manual_seed(seed)
    save_checkpoint(path, tp.build_network(dataclasses.replace(TINY, sources=sources)))
    return path


@pytest.fixture
def song(tmp_path, generator):
    save(tmp_path / "song.wav", 0.1 * torch.randn(2, 30000, generator=generator), 44100)
    return tmp_path / "song.wav"


def test_a_network_separates_and_is_part_of_what_is_done(tmp_path, song, capsys):
    best, out = trained(tmp_path / "best.pt", 0), tmp_path / "out"
    arguments = (song, "--out", out, "--checkpoint", best)
    assert separate(*arguments) == 0
    audio, rate = load_audio(song)
    stems = {name: load_audio(out / "song" / f"{name}.wav")[0] for name in ("vocals", "accompaniment")}
    torch.testing.assert_close(sum(stems.values()), audio, atol=1e-5, rtol=0)
    wanted = tp.load(best)(audio, rate, channels=True)
    torch.testing.assert_close(stems["vocals"], wanted.vocals, atol=1e-5, rtol=0)
    (record,) = lines(out)
    assert (record["preset"], record["method"]) == ("network", "network")
    assert record["confidence"] == pytest.approx(wanted.confidence.item(), abs=1e-3)
    capsys.readouterr()

    assert separate(*arguments) == 0
    assert "0 separated, 1 done before" in capsys.readouterr().out
    beside = (*arguments, "--with-primitives", "--preset", "companion")
    assert separate(*beside) == 1
    assert "is of preset network, not companion and method network, not" in capsys.readouterr().err
    assert separate(*beside, "--overwrite") == 0
    assert "1 separated, 0 done before" in capsys.readouterr().out
    (record,) = lines(out)
    assert (record["preset"], record["method"]) == ("companion", "pcl + network")
    assert separate(*arguments, "--overwrite") == 0
    assert "1 separated, 0 done before" in capsys.readouterr().out
    trained(best, 1)  # trained on: the same name, other weights
    assert separate(*arguments) == 1
    assert "vocals.wav: is of checkpoint " in capsys.readouterr().err
    assert separate(*arguments, "--overwrite") == 0
    assert "1 separated, 0 done before" in capsys.readouterr().out


def test_a_checkpoint_that_cannot_be_used_is_one_line(tmp_path, song, capsys):
    (tmp_path / "text.pt").write_text("no checkpoint")
    (tmp_path / "zero.pt").symlink_to("/dev/zero")
    network = tp.build_network(TINY)
    torch.nn.init.constant_(network.gain, float("nan"))
    save_checkpoint(tmp_path / "nan.pt", network)
    reasons = {
        "none.pt": "no such file",
        "text.pt": "is not a checkpoint",
        "zero.pt": "not a regular file",
        "nan.pt": "its weights are not finite (gain)",
    }
    for name, reason in reasons.items():
        assert separate(song, "--out", tmp_path / "out", "--checkpoint", tmp_path / name) == 1
        said = capsys.readouterr().err.strip()
        assert said.startswith(f"error: {tmp_path / name}: {reason}") and "\n" not in said


def test_wrong_usage(tmp_path, song, capsys):
    assert separate(song, "--out", tmp_path / "out", "--with-primitives") == 2
    assert "--with-primitives: needs a network" in capsys.readouterr().err
    best = trained(tmp_path / "best.pt", 0)
    assert separate(song, "--out", tmp_path / "out", "--checkpoint", best, "--method", "hpss") == 2
    assert "--method: hpss is one cue" in capsys.readouterr().err


@pytest.mark.parametrize("sources", [FOUR, ("strings", "brass", "winds")])
def test_a_network_writes_its_own_stems(tmp_path, song, capsys, sources):
    best, out = trained(tmp_path / "best.pt", 0, sources), tmp_path / "out"
    arguments = (song, "--out", out, "--checkpoint", best, "--name", "{song}-{stem}")
    assert separate(*arguments, "--only", sources[1]) == 0
    assert tree(out) == ["separations.jsonl", f"song-{sources[1]}.wav"]
    assert separate(*arguments, *(("--stems", 4) if sources == FOUR else ())) == 0
    assert tree(out) == ["separations.jsonl", *sorted(f"song-{name}.wav" for name in sources)]
    audio, rate = load_audio(song)
    stems = {name: load_audio(out / f"song-{name}.wav")[0] for name in sources}
    torch.testing.assert_close(sum(stems.values()), audio, atol=1e-5, rtol=0)
    wanted = tp.load(best)(audio, rate, channels=True)
    for name in sources:
        torch.testing.assert_close(stems[name], wanted.stems[name], atol=1e-5, rtol=0)
    (record,) = lines(out)
    assert (record["preset"], record["method"]) == ("network", "network")
    assert list(record["stems"]) == list(sources)
    capsys.readouterr()
    assert separate(*arguments) == 0
    assert "0 separated, 1 done before" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("sources", "words", "said"),
    [
        (
            FOUR,
            ["--stems", 2],
            "argument --stems: 2 is vocals, accompaniment, and the network of --checkpoint ",
        ),
        (TWO, ["--stems", 4], "argument --stems: 4 is drums, bass, other, vocals, and the network of "),
        (("a", "b", "c"), ["--stems", 4], "--checkpoint is of a, b, c"),
        (FOUR, ["--only", "accompaniment"], "is of drums, bass, other, vocals, got 'accompaniment'"),
        (FOUR, ["--with-primitives"], "argument --with-primitives: the ensemble is of vocals, accompaniment"),
    ],
)
def test_options_that_contradict_the_network(tmp_path, song, capsys, sources, words, said):
    best = trained(tmp_path / "best.pt", 0, sources)
    assert separate(song, "--out", tmp_path / "out", "--checkpoint", best, *words) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
