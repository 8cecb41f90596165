"""Bank of songs: decoding, cache, segments, loudness, true stems."""

import math
import os

import pytest
import soundfile
import torch

import torchprim as tp
from tests.support.small_bank import RATE, tone
from torchprim.audio.loudness import block_powers, gated_loudness
from torchprim.bootstrap.banks.stem_bank import StemBank
from torchprim.errors import AudioError

# --- loudness -------------------------------------------------------------------------------------


def test_loudness_of_the_reference_tone():
    """BS.1770: a sine of 997 Hz at 0 dBFS in one channel has -3.01 LUFS; 20 dB less, 20 LU less."""
    sine = tone(5, 997, 1.0, 48000)
    assert gated_loudness(block_powers(sine, 48000)) == pytest.approx(-3.01, abs=0.05)
    assert gated_loudness(block_powers(sine / 10, 48000)) == pytest.approx(-23.01, abs=0.05)
    assert gated_loudness(block_powers(torch.zeros(48000), 48000)) == -math.inf


def test_loudness_is_gated():
    sine = tone(5, 997, 0.5, 48000)
    padded = torch.cat([sine, torch.zeros(20 * 48000)])
    alone = gated_loudness(block_powers(sine, 48000))
    assert gated_loudness(block_powers(padded, 48000)) == pytest.approx(alone, abs=0.2)


# --- bank -----------------------------------------------------------------------------------------


def test_segments(bank, music):
    assert [os.path.basename(name) for name in bank.names] == ["a.wav", "b.wav", "c.wav", "quiet.wav"]
    starts = [(s.song, s.start / RATE, s.length / RATE) for s in bank.segments]
    assert starts == [(0, 0, 4), (0, 2, 4), (0, 4, 4), (0, 6, 4), (1, 0, 4), (1, 2, 4), (2, 0, 2)]
    broken, quiet = bank.skipped
    assert broken.startswith(f"{music / 'broken.wav'}: cannot be decoded as sound")
    assert quiet == f"{music / 'quiet.wav'}: it is silent, below -70 LUFS, and no segment reaches -40 LUFS"
    audio = bank.audio([1, 5])
    torch.testing.assert_close(audio[0], tone(10, 300)[2 * RATE : 6 * RATE], atol=1e-4, rtol=0)
    torch.testing.assert_close(audio[1], tone(7, 500, 0.4)[2 * RATE : 6 * RATE], atol=1e-4, rtol=0)
    assert bank.seconds == 24


def test_samples_above_1_are_not_clipped(tmp_path):
    loud = tone(3, 300, 1.7)
    soundfile.write(tmp_path / "loud.wav", loud.numpy(), RATE, subtype="FLOAT")
    bank = tp.Bank([tmp_path / "loud.wav"], RATE, cache=tmp_path / "cache", progress=False)
    torch.testing.assert_close(bank.audio([0])[0], loud, atol=1e-4, rtol=0)


def test_songs_that_give_no_segment_or_not_all_are_named(tmp_path, capsys):
    left = tone(5, 300)
    tracks = {"inverted": [left, -left], "soft": [0.01 * left], "whole": [left]}
    paths = [tmp_path / f"{name}.wav" for name in (*tracks, "cut", "spike")]
    for path, channels in zip(paths, tracks.values(), strict=False):
        soundfile.write(path, torch.stack(channels).T.numpy(), RATE, subtype="FLOAT")
    content = bytearray(paths[2].read_bytes())
    paths[3].write_bytes(content[:100_000])
    content[-1] = 0x7E  # the exponent of the last sample
    paths[4].write_bytes(content)
    bank = tp.Bank(paths, RATE, cache=tmp_path / "cache", progress=False)
    torch.testing.assert_close(bank.audio([0])[0], left, atol=1e-4, rtol=0)
    assert [segment.song for segment in bank.segments] == [0, 2, 3]
    spike, soft = bank.skipped
    assert spike.startswith(f"{paths[4]}: a sample is ") and "at 5.000 s" in spike
    assert soft == f"{paths[1]}: it has -57.8 LUFS, and no segment reaches -40 LUFS"
    assert [note.split(",")[0].split(": ")[:2] for note in bank.notes] == [
        [str(paths[0]), "its channels cancel"],
        [str(paths[3]), "truncated"],
    ]
    said = capsys.readouterr().err
    assert all(line in said for line in (*bank.skipped, *bank.notes))


def test_stems_with_an_inverted_channel_are_mixed_alike(tmp_path):
    vocals, rest = tone(2, 300), tone(2, 700, 0.3)
    for name, audio in {"vocals": [vocals, -vocals], "accompaniment": [0.9 * rest, -rest]}.items():
        soundfile.write(tmp_path / f"{name}.wav", torch.stack(audio).T.numpy(), RATE, subtype="FLOAT")
    with pytest.warns(tp.audio.AudioWarning, match="its channels cancel"):
        bank = StemBank([tmp_path], RATE, cache=tmp_path / "cache", progress=False)
    torch.testing.assert_close(torch.cat(bank.stems([0])), torch.stack([-vocals, -rest]), atol=1e-4, rtol=0)


def test_batches_have_one_length(bank):
    batches = list(bank.batches(4))
    assert batches == [[0, 1, 2, 3], [4, 5], [6]]
    with pytest.raises(ValueError, match="indices must name segments of one length"):
        bank.audio([0, 6])


def test_second_bank_is_read_from_the_cache(bank, music, tmp_path, monkeypatch):
    def refuse(*_):
        raise AssertionError("decoded again")

    monkeypatch.setattr(tp.Bank, "_decode", refuse)
    settings = {"segment_seconds": 4.0, "hop_seconds": 2.0, "progress": False}
    (music / "broken.wav").unlink()
    again = tp.Bank([music], RATE, cache=tmp_path / "cache", **settings)
    assert again.segments == bank.segments
    del settings["progress"]
    from_cache = tp.Bank.from_cache(tmp_path / "cache", sample_rate=RATE, **settings)
    assert from_cache.segments == bank.segments
    assert from_cache.names == bank.names
    assert torch.equal(from_cache.audio([0, 1]), bank.audio([0, 1]))
    # A file that changed is decoded again.
    monkeypatch.undo()
    soundfile.write(music / "a.wav", tone(4, 300).numpy(), RATE)
    changed = tp.Bank([music], RATE, cache=tmp_path / "cache", **settings, progress=False)
    assert [s.song for s in changed.segments] == [0, 1, 1, 2]


def test_bank_from_cache_checks_its_settings_and_the_rate(bank, tmp_path):
    with pytest.raises(AudioError, match=f"songs cached at {RATE} Hz, not 16000"):
        tp.Bank.from_cache(tmp_path / "cache", sample_rate=16000)
    with pytest.raises(AudioError, match="no cached songs"):  # of stems
        StemBank.from_cache(tmp_path / "cache", sample_rate=RATE)
    with pytest.raises(ValueError, match="hop_seconds must be positive"):
        tp.Bank.from_cache(tmp_path / "cache", sample_rate=RATE, hop_seconds=0)


def test_a_truncated_cache_file_is_replaced(bank, music, tmp_path):
    for file in (tmp_path / "cache").glob("*.npz"):
        file.write_bytes(file.read_bytes()[:1000])
    settings = {"segment_seconds": 4.0, "hop_seconds": 2.0, "progress": False}
    assert tp.Bank([music], RATE, cache=tmp_path / "cache", **settings).segments == bank.segments


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: tp.Bank([p / "nowhere"], cache=p), "nowhere: no such file or folder"),
        (lambda p: tp.Bank([p / "empty"], cache=p / "c", progress=False), "no song that can be used"),
        (lambda p: tp.Bank.from_cache(p / "empty"), "empty: no cached songs"),
        (lambda p: StemBank([p / "empty"], cache=p / "c"), "no song with stems"),
        (lambda p: tp.Bank([p / "x.txt"], cache=p / "c", progress=False), "x.txt"),
    ],
)
def test_no_usable_song(make, message, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.txt").write_text("no sound")
    with pytest.raises(AudioError, match=message):
        make(tmp_path)


def test_true_stems(tmp_path):
    vocals, rest = tone(5, 300), tone(5, 500, 0.3)
    for name, parts in {
        "one": {"vocals": vocals, "accompaniment": rest},
        "two": {"vocals": vocals, "mixture": vocals + rest},
        "three": {"vocals": vocals, "drums": rest / 2, "bass": rest / 4, "other": rest / 4},
        "without": {"vocals": vocals},
    }.items():
        (tmp_path / name).mkdir()
        for part, audio in parts.items():
            soundfile.write(tmp_path / name / f"{part}.wav", audio.numpy(), RATE, subtype="FLOAT")
    bank = StemBank([tmp_path], RATE, segment_seconds=5.0, cache=tmp_path / "cache", progress=False)
    assert len(bank.segments) == 3
    assert len(bank.skipped) == 1
    assert "neither accompaniment nor mixture" in bank.skipped[0]
    got_vocals, got_rest = bank.stems([0, 1, 2])
    for i in range(3):
        torch.testing.assert_close(got_vocals[i], vocals, atol=1e-4, rtol=0)
        torch.testing.assert_close(got_rest[i], rest, atol=1e-4, rtol=0)
    torch.testing.assert_close(bank.audio([1])[0], vocals + rest, atol=1e-4, rtol=0)
    from_cache = StemBank.from_cache(tmp_path / "cache", sample_rate=RATE)
    assert torch.equal(from_cache.stems([0])[0], got_vocals[:1])


def test_banks_from_cache_have_the_defaults_of_their_class(tmp_path):
    """30 s every 15 s for music, 15 s for stems."""
    for name in ("vocals", "accompaniment"):
        (tmp_path / "song").mkdir(exist_ok=True)
        soundfile.write(tmp_path / "song" / f"{name}.wav", tone(60, 300).numpy(), RATE)
    for bank_class, starts in ((tp.Bank, [0, 15, 30]), (StemBank, [0, 15, 30, 45])):
        made = bank_class([tmp_path / "song"], RATE, cache=tmp_path / bank_class.kind, progress=False)
        from_cache = bank_class.from_cache(tmp_path / bank_class.kind, sample_rate=RATE)
        assert from_cache.segments == made.segments
        assert [s.start / RATE for s in made.segments if s.song == 0] == starts


@pytest.mark.parametrize("form", [str, lambda path: path])
def test_a_single_folder_needs_no_list(form, tmp_path):
    for name in ("vocals", "accompaniment"):
        (tmp_path / "s").mkdir(exist_ok=True)
        soundfile.write(tmp_path / "s" / f"{name}.wav", tone(4, 300).numpy(), RATE, subtype="FLOAT")
    settings = {"sample_rate": RATE, "cache": tmp_path / "c", "progress": False}
    assert len(tp.Bank(form(tmp_path / "s"), **settings).names) == 2
    assert len(StemBank(form(tmp_path), **settings).names) == 1
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(AudioError, match=f"^{empty}: no song that can be used"):
        tp.Bank(form(empty), **settings)
