"""`torchprim separate`: usage, stems, records, and output folders."""

import os
import subprocess
import sys
from pathlib import Path, PurePath

import pytest
import torch

import torchprim as tp
from tests.support.separating import both, lines, separate, tree
from tests.support.sound_files import encode, noise, write
from torchprim.audio.load import load_audio
from torchprim.cli.main import COMMANDS, main
from torchprim.cli.option_types import PRESETS
from torchprim.cli.separate import command
from torchprim.cli.separate.inputs import InputFile, name_folders

ROOT = Path(__file__).parents[2]


# The command line itself


def test_help_comes_without_torch():
    code = (
        "import sys; from torchprim.cli.main import COMMANDS, main; "
        "names = set(COMMANDS) - {'train', 'evaluate'}; "  # which show what torch has to be loaded for
        "assert main(['--help']) == 0 and all(main([name, '--help']) == 0 for name in names); "
        "assert not {'torch', 'numpy', 'av', 'soundfile', 'tqdm'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert all(name in done.stdout for name in COMMANDS) and "FILE_OR_FOLDER" in done.stdout


def test_the_package_runs_as_a_module():
    done = subprocess.run(
        [sys.executable, "-m", "torchprim", "--version"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == f"torchprim {tp.__version__}"


def test_choices_are_those_of_the_separator():
    from torchprim.separators.primitive import METHODS

    assert set(PRESETS) == set(tp.PRESETS)
    assert command.METHODS == METHODS


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["nothing"],
        ["separate"],
        ["separate", "x.wav", "--out", ""],
        ["separate", "x.wav", "--out", "o", "--preset", "worst"],
        ["separate", "x.wav", "--out", "o", "--method", "luck"],
        ["separate", "x.wav", "--out", "o", "--format", "mp4"],
        ["separate", "x.wav", "--out", "o", "--bitrate", "128"],
        ["separate", "x.wav", "--out", "o", "--format", "mp3", "--bitrate", "63"],
        ["separate", "x.wav", "--out", "o", "--audio-track", "0"],
        ["separate", "x.wav", "--out", "o", "--only", "drums"],
        ["separate", "x.wav", "--out", "o", "--nothing"],
        ["pitch", "x.wav", "--out", "o", "--nothing"],
        ["evaluate", "compare", "--stems", "x", "--out", "o", "--nothing"],
        ["train", "--audio", "x", "--out", "o", "--nothing"],
        ["separate", "x.wav", "--out", "o", "--device", "cuda"],
    ],
)
def test_wrong_usage_has_status_2(arguments, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    usage, *_, error = capsys.readouterr().err.splitlines()
    known = [word for word in arguments[:2] if word in (*COMMANDS, "compare")]
    assert usage.startswith(f"usage: {' '.join(['torchprim', *known])} ") and "error: " in error
    assert not list(tmp_path.iterdir())


# What it writes


@pytest.mark.parametrize(
    ("rate", "channels", "frames", "subtype"),
    [
        (44100, 2, 50021, "PCM_16"),
        (44100, 1, 10, "PCM_24"),
        (192000, 2, 10, "FLOAT"),
        (8000, 1, 8001, "PCM_U8"),
        (192000, 2, 100003, "FLOAT"),
        (48000, 6, 48000, "PCM_24"),
    ],
)
def test_stems_are_like_their_input_and_add_up_to_it(tmp_path, rate, channels, frames, subtype):
    path = write(tmp_path / "song.wav", noise(frames, channels), rate, subtype)
    assert separate(path, "--out", tmp_path / "out", "--device", "cpu") == 0
    mixture, _ = load_audio(path)
    stems = [load_audio(tmp_path / "out" / "song" / f"{name}.wav") for name in ("vocals", "accompaniment")]
    for stem, stem_rate in stems:
        assert stem_rate == rate and stem.shape == mixture.shape
    assert (stems[0][0] + stems[1][0] - mixture).abs().max() < 1e-5
    (record,) = lines(tmp_path / "out")
    assert record["path"] == str(path) and record["seconds"] == frames / rate
    assert (record["preset"], record["method"], record["version"]) == ("best", "pcl", tp.__version__)
    assert record["confidence"] == pytest.approx(record["silhouette"] * record["posterior"], rel=1e-5)


@pytest.mark.parametrize("value", [0.0, 0.5])
def test_silence_and_constants_are_separated_with_confidence_0(tmp_path, value):
    path = write(tmp_path / "flat.wav", torch.full((2, 44100), value))
    assert separate(path, "--out", tmp_path / "out") == 0
    assert lines(tmp_path / "out")[0]["confidence"] == 0
    stems = [load_audio(tmp_path / "out" / "flat" / f"{name}.wav")[0] for name in ("vocals", "accompaniment")]
    assert torch.allclose(stems[0] + stems[1], torch.full((2, 44100), value), atol=1e-5)


def test_settings_reach_the_separator_and_results_repeat(tmp_path):
    path = write(tmp_path / "song.wav", noise(44100))
    for out in ("a", "b"):
        assert separate(path, "--out", tmp_path / out, "--preset", "paper", "--method", "hpss") == 0
    (first,), (second,) = lines(tmp_path / "a"), lines(tmp_path / "b")
    assert first == second and (first["preset"], first["method"]) == ("paper", "hpss")
    vocals = [load_audio(tmp_path / out / "song" / "vocals.wav")[0] for out in ("a", "b")]
    expected = tp.PrimitiveSeparator("paper", "hpss")(*load_audio(path), channels=True)
    assert torch.equal(vocals[0], vocals[1]) and torch.allclose(vocals[0], expected.vocals, atol=1e-6)
    assert first["confidence"] == pytest.approx(expected.confidence.item(), rel=1e-5)


def test_flac_has_one_gain_for_both_stems(tmp_path, halves, capsys):
    quiet = write(tmp_path / "quiet.wav", noise(5000), 44100, "FLOAT")
    loud = write(tmp_path / "loud.wav", noise(5000, level=3), 44100, "FLOAT")
    assert separate(quiet, loud, "--out", tmp_path / "out", "--format", "flac") == 0
    output = capsys.readouterr().out.splitlines()
    records = lines(tmp_path / "out")
    assert records[0]["gain"] == 1 and "on both stems" not in output[0]
    gain = records[1]["gain"]
    assert gain == 1 / (load_audio(loud)[0].abs().max().item() / 2) < 1
    assert f"gain {gain:.4f} on both stems" in output[1]
    for name in ("vocals", "accompaniment"):
        stem, _ = load_audio(tmp_path / "out" / "loud" / f"{name}.flac")
        assert (stem - gain * load_audio(loud)[0] / 2).abs().max() < 2**-22


def test_every_format_and_name_is_taken(tmp_path, halves):
    music = tmp_path / "music"
    music.mkdir()
    audio = noise(9000)
    names = ["with space.wav", 'it\'s "quoted".flac', "日本語 Ünïcode ☃.ogg", "-dash.wav", "a:b.wav"]
    for name in names:
        write(music / name, audio)
    for name in (b"\xff.wav", b"..wav"):
        os.rename(write(music / "x.wav", audio), os.path.join(os.fsencode(music), name))
    encode(music / "m.mp3", audio, 44100, "libmp3lame")
    encode(music / "m4a.m4a", audio, 44100, "aac")
    encode(music / "o.opus", audio, 48000, "libopus")
    encode(music / "Stems.stem.mp4", [audio] * 5, 44100, "aac")
    assert separate(music, "--out", tmp_path / "out") == 0
    titles = [os.path.splitext(name)[0] for name in names] + ["m", "m4a", "o", "Stems", "\udcff"]
    assert tree(tmp_path / "out") == both(*titles)  # "..wav" is a hidden file
    assert separate(music / "..wav", "--out", tmp_path / "out") == 0
    assert tree(tmp_path / "out") == both(*titles, "..wav")


# Where it writes


def test_paths_below_a_folder_are_kept_and_equal_names_get_their_extension(tmp_path, halves):
    for name in ("a.wav", "a.flac", "b.wav", "sub/a.wav", "sub/deep/c.ogg"):
        (tmp_path / "music" / name).parent.mkdir(parents=True, exist_ok=True)
        write(tmp_path / "music" / name, noise(100))
    assert separate(tmp_path / "music", tmp_path / "music" / "b.wav", "--out", tmp_path / "out") == 0
    assert tree(tmp_path / "out") == both("a.wav", "a.flac", "b", "sub/a", "sub/deep/c")
    assert halves.songs == 5


def test_folders_for_stems_never_collide(tmp_path):
    def song(name, parent=""):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
        return InputFile(path, PurePath(parent))

    def names(songs, known=None):
        return [str(folder) for folder in name_folders(songs, known or {})]

    assert names([song("x/a.wav"), song("y/a.wav"), song("z/A.wav")]) == ["a.wav", "a.wav-2", "A.wav-3"]
    assert names([song("a.stem.mp4"), song("a.mp3"), song("b.stem.mp4")]) == ["a.stem.mp4", "a.mp3", "b"]
    # A folder of an earlier run belongs to its song, as long as that is there.
    known = {str(tmp_path / "x/a.wav"): {"output": "a"}, str(tmp_path / "gone.wav"): {"output": "b"}}
    assert names([song("y/a.wav"), song("b.wav")], known) == ["a.wav", "b"]
    assert names([song("x/a.wav"), song("y/a.wav")], known) == ["a", "a.wav"]
    assert names([song("...wav")]) == ["...wav"]
    # Nor with a file that is written.
    assert names([song("separations.jsonl.wav"), song("vocals.wav.wav")]) == [
        "separations.jsonl.wav",
        "vocals.wav.wav",
    ]
    assert names([song("vocals.wav"), song("vocals.ogg")]) == ["vocals.wav-2", "vocals.ogg"]
    assert names([song("Accompaniment.FLAC.mp3")]) == ["Accompaniment.FLAC.mp3"]


def test_a_song_with_the_name_of_the_records_or_of_a_stem_is_separated(tmp_path, halves):
    names = ("a.wav", "a/vocals.wav.wav", "separations.jsonl.wav")
    for name in names:
        (tmp_path / "music" / name).parent.mkdir(parents=True, exist_ok=True)
        write(tmp_path / "music" / name, noise(100))
    for _ in range(2):
        assert separate(tmp_path / "music", "--out", tmp_path / "out") == 0
    assert tree(tmp_path / "out") == both("a", *names[1:]) and halves.songs == 3


def test_an_output_folder_inside_the_music_is_no_music(tmp_path, halves, capsys):
    music = tmp_path / "music"
    music.mkdir()
    write(music / "a.wav", noise(100))
    for out in (music / "stems", music / "stems", music, music):
        assert separate(music, "--out", out) == 0
    assert halves.songs == 2  # once into each of the two
    expected = [*both("a"), "a.wav", *(f"stems/{name}" for name in both("a"))]
    assert tree(music) == sorted(expected)
    assert "4 stems of an earlier run are not separated again" in capsys.readouterr().out
    # But a song that happens to have such a name is a song, before and after.
    write(music / "vocals.wav", noise(100))
    assert separate(music / "vocals.wav", "--out", tmp_path / "other") == 0
    assert separate(music / "vocals.wav", "--out", tmp_path / "other", "--overwrite") == 0
    assert halves.songs == 4
