"""Audio files among files and folders, and songs with stems."""

import os

import numpy as np
import pytest

from tests.support.sound_files import noise, write
from torchprim.audio.find import SEPARATIONS, OwnOutput, find_audio, find_files
from torchprim.audio.stems import find_incomplete_songs, find_stem_songs, read_stems
from torchprim.cli.separate.records import NAME
from torchprim.errors import AudioError
from torchprim.files import append_json_lines


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_find_audio_lists_audio_files_in_order(tmp_path):
    for name in (
        "b.WAV",
        "a.mp3",
        "sub/c.stem.mp4",
        "sub/._c.mp3",
        ".hidden/d.wav",
        "cover.jpg",
        "sub/e.opus",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "sub" / "loop").symlink_to(tmp_path)
    found = [str(path.relative_to(tmp_path)) for path in find_audio(tmp_path)]
    assert found == ["a.mp3", "b.WAV", "sub/c.stem.mp4", "sub/e.opus"]
    with pytest.raises(AudioError, match=r"nowhere: No such file"):
        find_audio(tmp_path / "nowhere")
    problems = []
    assert find_audio(tmp_path / "nowhere", problems.append) == []
    assert [str(problem) for problem in problems] == [f"{tmp_path / 'nowhere'}: No such file or directory"]


def test_files_and_folders_are_expanded_in_the_order_given(tmp_path, monkeypatch):
    touch(tmp_path, "music/b.wav", "music/sub/a.mp3", "music/notes.txt", "other/notes.txt")
    music = tmp_path / "music"
    found = find_files([music / "notes.txt", music / "b.wav", music])
    assert found == [
        (music / "notes.txt", None),
        (music / "b.wav", None),
        (music / "sub" / "a.mp3", music),
    ]
    # A relative path and an absolute one are two names of one file.
    monkeypatch.chdir(music)
    assert find_files(["b.wav", "../music/b.wav", music / "b.wav"]) == find_files(["b.wav"])
    left = find_files([music], exclude=lambda file: file.path.name == "b.wav")
    assert [file.path.name for file in left] == ["a.mp3"]


def test_paths_without_an_audio_file_are_reported_or_raised(tmp_path):
    touch(tmp_path, "music/a.wav", "other/notes.txt")
    long = "x" * 5000
    problems = []
    given = [tmp_path / "nowhere", "", tmp_path / "other", long, "a\0b", tmp_path / "music"]
    assert [file.path.name for file in find_files(given, problems.append)] == ["a.wav"]
    assert [str(problem) for problem in problems] == [
        f"{tmp_path / 'nowhere'}: no such file or folder",
        "'': no such file or folder",
        f"{tmp_path / 'other'}: no audio file in this folder",
        f"{long}: {os.strerror(36)}",
        "a\\x00b: no such file or folder",
    ]
    assert find_files([tmp_path / "other"]) == []
    for path in ("nowhere", long):
        with pytest.raises(AudioError, match=path):
            find_files([path])


def test_songs_with_stems_and_what_others_lack(tmp_path):
    touch(tmp_path, "whole/vocals.wav", "whole/accompaniment.wav", "one.stem.mp4")
    touch(tmp_path, *(f"musdb/{name}.wav" for name in ("vocals", "drums", "bass", "other")))
    touch(tmp_path, "two/vocals.wav", "two/mixture.wav", "three/vocals.flac", "three/drums.flac")
    touch(tmp_path, "four/accompaniment.wav", "four/mixture.wav", "five/song.wav")
    songs = [path.name for path in find_stem_songs([tmp_path])]
    assert songs == ["one.stem.mp4", "musdb", "three", "two", "whole"]
    assert find_incomplete_songs(tmp_path) == {
        tmp_path / "four": "stems, but no vocals",
        tmp_path / "three": "no bass and no other",
    }
    assert find_incomplete_songs(tmp_path / "one.stem.mp4") == {}


def test_a_file_of_sound_is_the_stem_whatever_lies_beside_it(tmp_path):
    """Lyrics, a project of an editor, an MP3 of the same; names in capitals."""
    vocals, rest = noise(4000), noise(4000, seed=1)
    write(tmp_path / "Vocals.WAV", vocals, subtype="FLOAT")
    write(tmp_path / "ACCOMPANIMENT.wav", rest, subtype="FLOAT")
    touch(
        tmp_path,
        "vocals.xml",
        "vocals.txt",
        "accompaniment.json",
        "vocals.mp3",
        "._vocals.wav",
        "mixture.doc",
    )
    touch(tmp_path, "lyrics/vocals.txt", "lyrics/mixture.txt")
    assert find_stem_songs([tmp_path]) == [tmp_path]
    assert find_incomplete_songs(tmp_path) == {}
    read, _ = read_stems(tmp_path)
    assert np.array_equal(read[0].numpy(), vocals) and np.array_equal(read[1].numpy(), rest)
    (tmp_path / "Vocals.WAV").unlink()
    (tmp_path / "vocals.mp3").unlink()
    assert find_incomplete_songs(tmp_path) == {tmp_path: "stems, but no vocals"}
    with pytest.raises(AudioError, match=r"no vocals\.\* of sound in this folder"):
        read_stems(tmp_path)


# --- own output -----------------------------------------------------------------------------------


def separated(folder, *inputs):
    """Write the records of `torchprim separate` to a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    append_json_lines(folder / NAME, [{"path": str(path), "output": path.stem} for path in inputs])


def test_what_torchprim_wrote_is_left_out(tmp_path):
    assert SEPARATIONS == NAME
    music = tmp_path / "music"
    touch(music, "a.wav", "b/vocals.wav", "examples/mixture.wav", "examples/0000001/mixture.wav")
    songs = [music / "a.wav", music / "b" / "vocals.wav", *sorted(music.glob("examples/**/*.wav"))]
    separated(music / "out" / "x", music / "a.wav")
    touch(music, "out/x/a/vocals.wav", "out/x/a/accompaniment.flac", "out/x/killed/vocals.wav")
    touch(music, *(f"run/examples/0000100/{n}.wav" for n in ("mixture", "vocals_target", "vocals_estimate")))
    touch(music, "run/log.jsonl", "run/examples/0000100/example.png")
    touch(
        music, *(f"demo/{name}" for name in ("mixture.wav", "vocals.wav", "accompaniment.wav", "report.html"))
    )
    own = OwnOutput()
    assert sorted(file.path for file in find_files([music], exclude=own)) == sorted(songs)
    assert own.count == 9
    # Given themselves, they are wanted.
    given = [
        music / "out/x/a/vocals.wav",
        music / "run/examples/0000100/mixture.wav",
        music / "demo/mixture.wav",
    ]
    assert [file.path for file in find_files(given, exclude=OwnOutput())] == given
    # Below the output folder of this run they are not.
    assert find_files(given[:1], exclude=OwnOutput(music / "out")) == []


def test_inputs_of_separate_and_songs_with_other_stems_are_music(tmp_path):
    """Also where the output lies in the music folder itself."""
    separated(tmp_path, tmp_path / "song" / "vocals.wav")
    touch(tmp_path, "song/vocals.wav", "song/vocals/vocals.wav", "song/vocals/accompaniment.wav")
    touch(tmp_path, *(f"musdb/{name}.wav" for name in ("vocals", "drums", "bass", "other")))
    found = [str(file.path.relative_to(tmp_path)) for file in find_files([tmp_path], exclude=OwnOutput())]
    assert found == [
        *(f"musdb/{name}.wav" for name in ("bass", "drums", "other", "vocals")),
        "song/vocals.wav",
    ]


def test_estimates_are_no_true_stems(tmp_path):
    separated(tmp_path / "out", tmp_path / "a.wav")
    touch(
        tmp_path, "out/a/vocals.wav", "out/a/accompaniment.wav", "true/vocals.wav", "true/accompaniment.wav"
    )
    touch(tmp_path, "demo/mixture.wav", "demo/vocals.wav", "demo/accompaniment.wav", "demo/report.html")
    assert find_stem_songs([tmp_path]) == [tmp_path / "true"]
    assert find_incomplete_songs(tmp_path) == {}
    with pytest.raises(AudioError, match=r"no song with stems .*; 2 files that torchprim wrote are left out"):
        find_stem_songs([tmp_path / "out"])
