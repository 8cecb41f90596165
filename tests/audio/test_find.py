"""Audio files among files and folders, and songs with stems."""

import os

import pytest

from torchprim.audio.find import find_audio, find_files
from torchprim.audio.stems import find_incomplete_songs, find_stem_songs
from torchprim.errors import AudioError


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
