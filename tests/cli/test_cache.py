"""`torchprim cache`: what it counts, and that it removes nothing but decoded songs."""

import re

import pytest

import torchprim as tp
from tests.support.sound_files import noise, write
from torchprim.bootstrap.banks.cache import default_folder
from torchprim.cli.main import main


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The user's cache folder, with two decoded songs, and with files that are none."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    (tmp_path / "music").mkdir()
    for name in ("a", "b"):
        write(tmp_path / "music" / f"{name}.wav", noise(22050))
    tp.Bank(tmp_path / "music", 44100, progress=False)
    folder = default_folder()
    for name in ("mine.npz", "0" * 32 + ".npz.bak", ".x.npz.99999999.part"):
        (folder / name).write_text("x")
    return folder


def test_decoded_songs_are_counted_and_cleared(folder, capsys):
    songs = [path for path in folder.iterdir() if re.fullmatch(r"[0-9a-f]{32}\.npz", path.name)]
    size = sum(path.stat().st_size for path in songs)
    assert len(songs) == 2 and 2 * 44100 < size < 1e6
    for _ in range(2):
        assert main(["cache"]) == 0
        assert capsys.readouterr().out == f"2 decoded songs cached, {size / 1e6:.1f} MB: {folder}\n"
    assert main(["cache", "--clear"]) == 0
    assert capsys.readouterr().out == f"2 decoded songs removed, {size / 1e6:.1f} MB: {folder}\n"
    assert sorted(path.name for path in folder.iterdir()) == ["0" * 32 + ".npz.bak", "mine.npz"]
    assert main(["cache", "--cache", str(folder)]) == 0
    assert capsys.readouterr().out == f"0 decoded songs cached, 0.0 MB: {folder}\n"


def test_another_folder_is_looked_at(folder, tmp_path, capsys):
    assert main(["cache", "--cache", str(tmp_path / "none"), "--clear"]) == 0
    assert capsys.readouterr().out == f"0 decoded songs removed, 0.0 MB: {tmp_path / 'none'}\n"
    assert main(["cache", "--cache", str(folder / "mine.npz")]) == 1
    assert "Not a directory" in capsys.readouterr().err
    assert main(["cache", "--cache", ""]) == 2
