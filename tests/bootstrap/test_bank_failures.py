"""Bank: songs and cache entries that cannot be used, and arguments out of range."""

import gc
import os
import resource
import weakref

import numpy as np
import pytest
import soundfile
import torch

import torchprim as tp
from tests.support.small_bank import RATE, tone
from torchprim.bootstrap.banks.cache import CacheError
from torchprim.bootstrap.banks.stem_bank import StemBank


def make(folders, tmp_path, bank_class=tp.Bank, **settings):
    return bank_class(folders, RATE, **({"cache": tmp_path / "cache", "progress": False} | settings))


def write(path, audio):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, audio.numpy(), RATE, subtype="FLOAT")
    return path


# --- songs ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("spike", [7e37, 1e30, 1e5])
def test_a_song_with_one_sample_of_a_flipped_bit_is_named_and_left_out(tmp_path, spike):
    """An int16 scale that holds the spike holds nothing else."""
    damaged = tone(3, 300)
    damaged[2 * RATE] = spike
    write(tmp_path / "in" / "spike.wav", damaged)
    write(tmp_path / "in" / "good.wav", tone(3, 300))
    bank = make([tmp_path / "in"], tmp_path)
    assert [os.path.basename(name) for name in bank.names] == ["good.wav"]
    beside = ", far above all sound beside it" if spike <= 1e30 else ""  # beyond it no file is read
    assert bank.skipped == [f"{tmp_path}/in/spike.wav: a sample is {spike:.2g} at 2.000 s{beside}"]


def test_loud_units_and_loud_moments_are_music(tmp_path):
    """Floats in units of int16, a click of ten times full scale, and mostly silence."""
    click, mostly_silent = tone(3, 300), torch.zeros(3 * RATE)
    click[RATE] = 10
    mostly_silent[-RATE:] = tone(1, 300, 1.5)
    songs = {"units": tone(3, 300, 30000.0), "click": click, "silent": mostly_silent}
    for name, audio in songs.items():
        write(tmp_path / "in" / f"{name}.wav", audio)
    bank = make([tmp_path / "in"], tmp_path)
    assert bank.skipped == [] and len(bank.segments) == 3
    for index, name in enumerate(sorted(songs)):
        limit = songs[name].abs().max().item() / 32767
        torch.testing.assert_close(bank.audio([index])[0], songs[name], atol=limit, rtol=0)


def test_songs_without_a_segment_are_named_with_the_reason(tmp_path):
    write(tmp_path / "in" / "a.wav", tone(3, 300))
    write(tmp_path / "in" / "quiet.wav", tone(3, 300, 1e-4))
    write(tmp_path / "in" / "short.wav", tone(0.3, 300))
    bank = make([tmp_path / "in"], tmp_path)
    assert [segment.song for segment in bank.segments] == [0]
    assert bank.skipped == [
        f"{tmp_path}/in/quiet.wav: it is silent, below -70 LUFS, and no segment reaches -40 LUFS",
        f"{tmp_path}/in/short.wav: it is shorter than 0.4 s",
    ]


def test_songs_with_a_silent_stem_are_named(tmp_path, capsys):
    """Near-silence is noise at -90 dBFS: half a step of int16, and some."""
    near_silence = 3e-5 * torch.randn(10 * RATE, generator=torch.Generator().manual_seed(0))
    mostly = near_silence.clone()
    mostly[: 2 * RATE] = tone(2, 300)
    loud = tone(10, 500)
    songs = {
        "a": (loud, loud),
        "b": (torch.zeros(10 * RATE), loud),
        "c": (near_silence, loud),
        "d": (mostly, loud),
        "e": (loud, near_silence),
    }
    for name, stems in songs.items():
        for stem, audio in zip(("vocals", "accompaniment"), stems, strict=True):
            write(tmp_path / "in" / name / f"{stem}.wav", audio)
    for _ in range(2):  # decoded, then from the cache
        bank = make(tmp_path / "in", tmp_path, StemBank, segment_seconds=5.0, hop_seconds=5.0)
        assert [os.path.basename(name) for name in bank.names] == ["a", "d"]
        assert bank.notes == [f"{tmp_path}/in/d: the vocals are silent for 80 % of it"]
        said = [f"{tmp_path}/in/{name}: the vocals are silent" for name in "bc"]
        assert bank.skipped == [*said, f"{tmp_path}/in/e: the accompaniment is silent"]
        assert f"warning: {bank.notes[0]}" in capsys.readouterr().err
        vocals, accompaniment = bank.stems([2])
        torch.testing.assert_close(accompaniment[0], loud[: 5 * RATE], atol=1e-4, rtol=0)
        torch.testing.assert_close(vocals[0], mostly[: 5 * RATE], atol=1e-4, rtol=0)
    with pytest.raises(tp.AudioError, match=r"in/b: no song that can be used; .*: the vocals are silent"):
        make(tmp_path / "in" / "b", tmp_path, StemBank)


def test_a_truncated_song_is_noted_also_from_the_cache(tmp_path):
    path = write(tmp_path / "in" / "a.wav", tone(3, 300))
    path.write_bytes(path.read_bytes()[: 4 * RATE])
    notes = make([tmp_path / "in"], tmp_path).notes
    assert len(notes) == 1 and "a.wav: truncated" in notes[0]
    assert make([tmp_path / "in"], tmp_path).notes == notes


def test_songs_that_failed_for_want_of_memory_are_tried_again_alone(tmp_path, monkeypatch):
    for name in "abc":
        write(tmp_path / "in" / f"{name}.wav", tone(3, 300))
    decode, failed = tp.Bank._decode, []

    def scarce(bank, path):
        if path.name not in failed or path.name == "c.wav":
            failed.append(path.name)
            raise MemoryError
        return decode(bank, path)

    monkeypatch.setattr(tp.Bank, "_decode", scarce)
    bank = make([tmp_path / "in"], tmp_path)
    assert len(bank.names) == 2
    assert bank.skipped == [f"{tmp_path}/in/c.wav: not enough memory"]


def test_what_a_song_that_failed_held_is_freed_at_once(tmp_path, monkeypatch):
    """Frames of the traceback hold the samples: gigabytes of a long song, for as long as the bank decodes."""
    write(tmp_path / "in" / "a.wav", tone(3, 300))
    write(tmp_path / "in" / "b.wav", tone(3, 300))
    held = []

    def decode(bank, path):
        if path.name == "b.wav":
            samples = np.zeros(10)
            held.append(weakref.ref(samples))
            try:
                raise MemoryError
            except MemoryError as error:
                raise tp.AudioError(path, "not enough memory to decode it") from error
        return original(bank, path)

    original = tp.Bank._decode
    monkeypatch.setattr(tp.Bank, "_decode", decode)
    freed = []
    monkeypatch.setattr(tp.Bank, "_skip", lambda *_: freed.extend(reference() is None for reference in held))
    gc.disable()
    try:
        make([tmp_path / "in"], tmp_path)
    finally:
        gc.enable()
    assert freed == [True, True]  # tried again, alone


def test_links_to_a_song_are_songs_of_their_own_names(tmp_path):
    write(tmp_path / "in" / "a.wav", tone(3, 300))
    for number in range(7):
        (tmp_path / "in" / f"link{number}.wav").symlink_to("a.wav")
    expected = sorted(str(path) for path in (tmp_path / "in").iterdir())
    for _ in range(2):  # decoded by several threads, then from the cache
        bank = make([tmp_path / "in"], tmp_path, threads=8)
        assert (bank.names, bank.skipped) == (expected, [])
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_names_are_those_given_now(tmp_path, monkeypatch):
    write(tmp_path / "in" / "a.wav", tone(3, 300))
    monkeypatch.chdir(tmp_path)
    assert make(["in"], tmp_path).names == ["in/a.wav"]
    assert make([tmp_path / "in"], tmp_path).names == [f"{tmp_path}/in/a.wav"]


# --- cache ----------------------------------------------------------------------------------------


def damage(path, place):
    """Flip a bit at a share of a file."""
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("place", [0.5, *np.linspace(0, 0.999, 12)])
def test_a_damaged_cache_file_is_decoded_anew(bank, music, tmp_path, place):
    for path in (tmp_path / "cache").glob("*.npz"):
        damage(path, place)
    again = make([music], tmp_path, segment_seconds=4.0, hop_seconds=2.0)
    assert again.segments == bank.segments and again.skipped == bank.skipped
    assert torch.equal(again.audio(range(6)), bank.audio(range(6)))
    from_cache = tp.Bank.from_cache(tmp_path / "cache", sample_rate=RATE, progress=False)
    assert len(from_cache.names) == 4 and not any("cache file" in line for line in from_cache.skipped)


def test_a_damaged_cache_file_without_its_song_is_named(bank, tmp_path):
    paths = {name: _entry(tmp_path, name) for name in bank.names}
    damage(paths[bank.names[1]], 0.5)
    from_cache = tp.Bank.from_cache(
        tmp_path / "cache", sample_rate=RATE, segment_seconds=4.0, hop_seconds=2.0, progress=False
    )
    assert from_cache.names == [bank.names[0], *bank.names[2:]]
    assert from_cache.skipped[0].startswith(f"{bank.names[1]}: its cache file {paths[bank.names[1]]} cannot")
    kept = [i for i, segment in enumerate(bank.segments) if segment.song != 1]
    for index, original in enumerate(kept):
        assert torch.equal(from_cache.audio([index]), bank.audio([original]))


def _entry(tmp_path, name):
    (path,) = (p for p in (tmp_path / "cache").glob("*.npz") if str(np.load(p)["name"]) == name)
    return path


def test_a_full_disk_under_the_cache_stops_and_names_it(tmp_path):
    write(tmp_path / "in" / "long.wav", tone(12, 300))
    write(tmp_path / "in" / "short.wav", tone(2, 300))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        with pytest.raises(CacheError, match="cache: cannot hold the decoded songs: File too large"):
            make([tmp_path / "in"], tmp_path, threads=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert not list((tmp_path / "cache").glob(".*"))


def test_what_killed_processes_left_in_the_cache_is_removed(tmp_path):
    write(tmp_path / "in" / "a.wav", tone(3, 300))
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / f".{'0' * 32}.npz.99999999.part").write_bytes(b"x")
    make([tmp_path / "in"], tmp_path)
    assert [path.suffix for path in (tmp_path / "cache").iterdir()] == [".npz"]


# --- arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"residence": "disk"}, "residence must be one of"),
        ({"segment_seconds": 0.0}, "segment_seconds must be positive, got 0.0"),
        ({"segment_seconds": 1e-9}, "segment_seconds must be at least a sample, got 1e-09"),
        ({"hop_seconds": -1.0}, "hop_seconds must be positive"),
        ({"hop_seconds": 1e-9}, "hop_seconds must be at least a sample"),
        ({"sample_rate": 10**9}, r"sample_rate must lie in \[1000, 1e\+06\] Hz, got 1000000000"),
        ({"sample_rate": 1}, r"sample_rate must lie in \[1000, 1e\+06\] Hz, got 1"),
        ({"quietest": float("nan")}, "quietest must be a level in LUFS, got nan"),
        ({"threads": -1}, "threads must be a whole number at least 1, got -1"),
        ({"threads": 0}, "threads must be a whole number at least 1, got 0"),
        ({"device": "toaster"}, "device must be one that torch can use, got 'toaster'"),
        ({"device": "cpu:x"}, "device must be one that torch can use, got 'cpu:x'"),
        ({"cache": ""}, "cache must name a folder, got ''"),
        ({"folders": []}, "folders must name at least one file or folder, got none"),
    ],
)
def test_settings_out_of_range(music, change, message):
    with pytest.raises(ValueError, match=message):
        tp.Bank(**({"folders": [music], "sample_rate": RATE} | change))


@pytest.mark.parametrize("folders", [[1], [None], 5, [b"music"]])
def test_folders_that_are_no_paths(folders):
    with pytest.raises(TypeError, match="folders must be paths, got "):
        tp.Bank(folders)


@pytest.mark.parametrize("bank_class", [tp.Bank, StemBank])
@pytest.mark.parametrize("folders", ["", [""]])
def test_an_empty_path_is_not_the_current_folder(tmp_path, monkeypatch, bank_class, folders):
    for name in ("vocals", "accompaniment"):
        write(tmp_path / "s" / f"{name}.wav", tone(2, 300))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(tp.AudioError, match=r"^'': no such file"):
        make(folders, tmp_path, bank_class)


@pytest.mark.parametrize("index", [999, 7, -1])
def test_indices_of_no_segment(bank, index):
    with pytest.raises(ValueError, match=f"indices must be those of the bank's 7 segments, got {index}"):
        bank.audio([index])
