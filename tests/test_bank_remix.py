"""From files to training batches: bank, loudness, labels, store and stream."""

import math
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import soundfile
import torch

import torchprim as tp
from torchprim import json_lines
from torchprim.audio_error import AudioError
from torchprim.labels import Labels
from torchprim.loudness import block_powers, gated_loudness
from torchprim.remix_store import RemixStore, mixed_seed, pack
from torchprim.stems import StemBank

RATE = 8000
GEOMETRY = tp.Geometry(RATE, 256, 64)


def tone(seconds, frequency, level=0.2, rate=RATE):
    t = torch.arange(round(seconds * rate)) / rate
    return level * torch.sin(2 * math.pi * frequency * t)


class Halves(torch.nn.Module):
    """A teacher that calls a fixed share of everything vocals, and counts what it is asked."""

    identity = "halves"

    def __init__(self):
        super().__init__()
        self.asked = 0

    def forward(self, audio, sample_rate, keep_masks=None):
        self.asked += len(audio)
        level = audio.square().mean(-1)
        mask = torch.full((len(audio), GEOMETRY.bins, GEOMETRY.frames(audio.shape[-1])), 0.25)
        return SimpleNamespace(
            vocals=0.25 * audio,
            accompaniment=0.75 * audio,
            mask=mask,
            confidence=level,
            silhouette=level,
            posterior=level,
        )


@pytest.fixture
def music(tmp_path):
    """Five songs: 10 s, 7 s, a short one, a quiet one, and a file that is no sound."""
    folder = tmp_path / "music"
    folder.mkdir()
    songs = {"a": tone(10, 300), "b": tone(7, 500, 0.4), "c": tone(2, 700), "quiet": tone(5, 300, 1e-4)}
    for name, audio in songs.items():
        soundfile.write(folder / f"{name}.wav", audio.numpy(), RATE, subtype="FLOAT")
    (folder / "broken.wav").write_text("this is no sound")
    return folder


@pytest.fixture
def bank(music, tmp_path):
    settings = {"segment_seconds": 4.0, "hop_seconds": 2.0, "cache": tmp_path / "cache", "progress": False}
    return tp.Bank([music], RATE, **settings)


# --- loudness -------------------------------------------------------------------------------------


def test_loudness_of_the_standards_own_tone():
    """BS.1770: a 0 dB sine of 997 Hz in one channel reads -3.01 LUFS; level by level."""
    sine = tone(5, 997, 1.0, 48000)
    assert gated_loudness(block_powers(sine, 48000)) == pytest.approx(-3.01, abs=0.05)
    assert gated_loudness(block_powers(sine / 10, 48000)) == pytest.approx(-23.01, abs=0.05)
    assert gated_loudness(block_powers(torch.zeros(48000), 48000)) == -math.inf


def test_loudness_gates_silence_out():
    sine = tone(5, 997, 0.5, 48000)
    padded = torch.cat([sine, torch.zeros(20 * 48000)])
    alone = gated_loudness(block_powers(sine, 48000))
    assert gated_loudness(block_powers(padded, 48000)) == pytest.approx(alone, abs=0.2)


# --- bank -----------------------------------------------------------------------------------------


def test_segments(bank, music):
    assert [os.path.basename(name) for name in bank.names] == ["a.wav", "b.wav", "c.wav", "quiet.wav"]
    starts = [(s.song, s.start / RATE, s.length / RATE) for s in bank.segments]
    assert starts == [(0, 0, 4), (0, 2, 4), (0, 4, 4), (0, 6, 4), (1, 0, 4), (1, 2, 4), (2, 0, 2)]
    assert len(bank.skipped) == 1
    assert "broken.wav" in bank.skipped[0]
    audio = bank.audio([1, 5])
    torch.testing.assert_close(audio[0], tone(10, 300)[2 * RATE : 6 * RATE], atol=1e-4, rtol=0)
    torch.testing.assert_close(audio[1], tone(7, 500, 0.4)[2 * RATE : 6 * RATE], atol=1e-4, rtol=0)
    assert bank.seconds == 24


def test_samples_above_1_are_kept(tmp_path):
    loud = tone(3, 300, 1.7)
    soundfile.write(tmp_path / "loud.wav", loud.numpy(), RATE, subtype="FLOAT")
    bank = tp.Bank([tmp_path / "loud.wav"], RATE, cache=tmp_path / "cache", progress=False)
    torch.testing.assert_close(bank.audio([0])[0], loud, atol=1e-4, rtol=0)


def test_batches_hold_one_length(bank):
    batches = list(bank.batches(4))
    assert batches == [[0, 1, 2, 3], [4, 5], [6]]
    with pytest.raises(ValueError, match="indices must name segments of one length"):
        bank.audio([0, 6])


def test_second_start_decodes_nothing(bank, music, tmp_path, monkeypatch):
    def refuse(*_):
        raise AssertionError("decoded again")

    monkeypatch.setattr(tp.Bank, "_decode", refuse)
    settings = {"segment_seconds": 4.0, "hop_seconds": 2.0, "progress": False}
    (music / "broken.wav").unlink()
    again = tp.Bank([music], RATE, cache=tmp_path / "cache", **settings)
    assert again.segments == bank.segments
    del settings["progress"]
    carried = tp.Bank.from_cache(tmp_path / "cache", sample_rate=RATE, **settings)
    assert carried.segments == bank.segments
    assert torch.equal(carried.audio([0, 1]), bank.audio([0, 1]))
    # A file that changed is decoded again.
    monkeypatch.undo()
    soundfile.write(music / "a.wav", tone(4, 300).numpy(), RATE)
    changed = tp.Bank([music], RATE, cache=tmp_path / "cache", **settings, progress=False)
    assert [s.song for s in changed.segments] == [0, 1, 1, 2]


def test_a_torn_cache_file_is_made_anew(bank, music, tmp_path):
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
def test_nothing_to_use(make, message, tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "x.txt").write_text("no sound")
    with pytest.raises(AudioError, match=message):
        make(tmp_path)


def test_bad_settings(music):
    for change, message in (
        ({"residence": "disk"}, "residence must be one of"),
        ({"segment_seconds": 0.0}, "segment_seconds must be positive, got 0.0"),
        ({"hop_seconds": -1.0}, "hop_seconds must be positive"),
    ):
        with pytest.raises(ValueError, match=message):
            tp.Bank([music], RATE, **change)


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


# --- labels ---------------------------------------------------------------------------------------


def test_labels_are_kept_and_gone_on_with(bank, tmp_path):
    path, teacher = tmp_path / "labels.jsonl", Halves()
    labels = tp.label(bank, teacher, path, progress=False)
    assert teacher.asked == 7
    lines = path.read_text().splitlines()
    assert len(lines) == 7
    path.write_text("\n".join(lines[:3]) + "\n" + lines[3][:20])  # killed while writing the fourth
    again = tp.label(bank, teacher, path, progress=False)
    assert teacher.asked == 7 + 7  # the first batch lacks a line: it is made as a whole
    assert torch.equal(again.confidence, labels.confidence)
    assert len(list(json_lines.read(path))) == 7
    teacher.identity = "another"
    tp.label(bank, teacher, path, progress=False)
    assert teacher.asked == 14 + 7


def test_labels_of_two_ranks(bank, tmp_path):
    path, teacher = tmp_path / "labels.jsonl", Halves()
    first = tp.label(bank, teacher, path, rank=0, world=2, progress=False)
    assert torch.isnan(first.confidence).nonzero().flatten().tolist() == [4, 5]
    second = tp.label(bank, teacher, path, rank=1, world=2, progress=False)
    assert not torch.isnan(second.confidence).any()
    whole = tp.label(bank, teacher, path, progress=False)
    assert torch.equal(whole.confidence, second.confidence)
    assert teacher.asked == 7


def test_trusted_segments():
    confidence = torch.tensor([0.5, 0.1, math.nan, 0.4, 0.2, 0.3])
    labels = Labels(confidence, confidence, confidence)
    assert labels.trusted(0.0, 1.0) == [0, 1, 3, 4, 5]
    assert labels.trusted(0.4) == [0, 3, 5]
    quartiles = [labels.trusted(q / 4, (q + 1) / 4, [0, 1, 3, 4]) for q in range(4)]
    assert quartiles == [[1], [4], [3], [0]]
    with pytest.raises(ValueError, match="quantiles must satisfy"):
        labels.trusted(0.5, 0.5)


# --- store ----------------------------------------------------------------------------------------


def test_store_is_a_function_of_the_step():
    def estimate(indices):
        return [pack(i, torch.full((4,), i / 100), torch.zeros(4)) for i in indices]

    def held(step, store):
        return [e.segment for e in store.at(step)]

    def fresh():
        return RemixStore(range(10), 4, 3, (7, 0), estimate)

    walking = fresh()
    content = [held(step, walking) for step in range(60)]
    assert [held(step, fresh()) for step in (0, 1, 17, 59)] == [content[i] for i in (0, 1, 17, 59)]
    assert content[0] == content[2] != content[3]  # one renewal every three steps
    assert sum(a != b for a, b in zip(content[2], content[3], strict=True)) == 1
    assert {s for c in content for s in c} == set(range(10))  # everything gets its turn
    whole = RemixStore(range(10), 99, 3, (7, 0), estimate)
    assert held(0, whole) == held(50, whole) == list(range(10))


def test_store_estimates_the_same_segments_together():
    """Wherever one begins: so a resumed run repeats the last bits, too."""

    def asked(steps):
        groups = set()

        def estimate(indices):
            groups.add(tuple(indices))
            return [pack(i, torch.zeros(4), torch.zeros(4)) for i in indices]

        store = RemixStore(range(11), 5, 2, (7, 0), estimate, 3)
        for step in steps:
            store.at(step)
        return groups

    walked = asked(range(40))
    assert {len(group) for group in walked} == {3}
    for begin in range(0, 40, 5):
        assert asked(range(begin, 40)) <= walked


def test_seeds_are_unrelated():
    seeds = {mixed_seed(a, b) for a in range(30) for b in range(30)}
    assert len(seeds) == 900
    assert all(0 <= seed < 2**63 for seed in seeds)


# --- stream ---------------------------------------------------------------------------------------


def stream(bank, teacher=None, **changes):
    settings = {"batch_size": 6, "frames": 50, "seed": 3, "geometry": GEOMETRY, "slots": 4, "every": 2}
    return tp.RemixStream(bank, teacher or Halves(), **(settings | changes))


def test_what_a_batch_holds(bank):
    batch = stream(bank).batch(0)
    assert batch.mixture.shape == (6, 49 * 64)
    assert batch.magnitude.shape == batch.labels.shape == batch.weights.shape == (6, 129, 50)
    torch.testing.assert_close(batch.mixture, batch.vocals + batch.accompaniment)
    torch.testing.assert_close(batch.magnitude, tp.stft(batch.mixture, GEOMETRY).abs(), atol=1e-3, rtol=0)
    vocals, accompaniment = (tp.stft(x, GEOMETRY).abs() for x in (batch.vocals, batch.accompaniment))
    assert (batch.labels == (vocals > accompaniment)).float().mean() > 0.999
    mean = batch.magnitude.mean((1, 2), keepdim=True)
    torch.testing.assert_close(batch.weights, (batch.magnitude / mean).sqrt())


def test_ratio_and_incoherence(bank):
    """Vocals of one tone over another song's; levels as drawn, in the range and not all the same."""
    batch = stream(bank, ratio=(3.0, 9.0), batch_size=32).batch(0)
    ratio = 10 * torch.log10(batch.vocals.square().mean(-1) / batch.accompaniment.square().mean(-1))
    assert ratio.min() > 3 - 1e-3
    assert ratio.max() < 9 + 1e-3
    assert ratio.max() - ratio.min() > 2
    loudest = [tp.stft(x, GEOMETRY).abs().mean(-1).argmax(-1) for x in (batch.vocals, batch.accompaniment)]
    assert (loudest[0] != loudest[1]).all()  # another song, another pitch


def test_coherent_pairs_and_natural_levels(bank):
    batch = stream(bank, coherent=1.0, natural=True, ratio=(0.0, 0.0)).batch(0)
    torch.testing.assert_close(batch.vocals * 3, batch.accompaniment, atol=1e-3, rtol=0)


def test_same_seed_same_batches_wherever_one_begins(bank):
    walking = stream(bank, eq=3.0, speed=0.05, coherent=0.3)
    batches = [b for b, _ in zip(walking, range(9), strict=False)]
    resumed = stream(bank, eq=3.0, speed=0.05, coherent=0.3)
    resumed.step = 7
    assert torch.equal(next(iter(resumed)).mixture, batches[7].mixture)
    assert torch.equal(resumed.batch(2).mixture, batches[2].mixture)  # backwards, too
    assert not torch.equal(batches[7].mixture, batches[6].mixture)
    assert not torch.equal(stream(bank, seed=4).batch(0).mixture, stream(bank).batch(0).mixture)


def test_ranks_have_their_own_part(bank):
    stores = [stream(bank, rank=r, world=2, coherent=1.0, slots=99).store.segments for r in range(2)]
    assert not set(stores[0]) & set(stores[1])
    assert sorted(stores[0] + stores[1]) == list(range(7))
    batches = [stream(bank, rank=r, world=2, coherent=1.0).batch(0).mixture for r in range(2)]
    assert not torch.equal(*batches)


def test_pool_draws_the_same_remixes_again(bank):
    pooled = stream(bank, pool=3, ratio=(-5.0, 5.0))
    seen = {tuple(row[:50].tolist()) for step in range(10) for row in pooled.batch(step).mixture}
    assert len(seen) == 3


def test_trust(bank):
    labels = tp.label(bank, Halves(), progress=False)
    loudest = stream(bank, labels=labels, quantiles=(0.7, 1.0), coherent=1.0)
    assert {bank.segments[i].song for i in loudest.store.segments} == {1}  # the loud song, here trusted
    assert (loudest.batch(0).confidence >= labels.confidence.quantile(0.7)).all()


def test_bin_confidence_weights(bank):
    plain, weighted = (stream(bank, bin_confidence=b).batch(0).weights for b in (False, True))
    # The teacher's mask is 0.25 everywhere: a posterior strength of a half.
    torch.testing.assert_close(weighted, plain * 0.5, atol=5e-3, rtol=5e-3)


def test_eq_colours_and_keeps_the_sum(bank):
    plain, coloured = (stream(bank, eq=e, ratio=(0.0, 0.0)).batch(0) for e in (0.0, 6.0))
    assert not torch.allclose(plain.vocals, coloured.vocals, atol=1e-3)
    torch.testing.assert_close(coloured.mixture, coloured.vocals + coloured.accompaniment)


def test_true_stems_stream(tmp_path):
    for i in range(3):
        (tmp_path / f"s{i}").mkdir()
        for name, frequency in (("vocals", 300 + 50 * i), ("accompaniment", 1500 + 100 * i)):
            audio = tone(4, frequency).numpy()
            soundfile.write(tmp_path / f"s{i}" / f"{name}.wav", audio, RATE, subtype="FLOAT")
    stems = StemBank([tmp_path], RATE, segment_seconds=4.0, cache=tmp_path / "c", progress=False)
    batch = tp.RemixStream(stems, None, 4, 50, geometry=GEOMETRY).batch(0)
    below = torch.arange(GEOMETRY.bins) * GEOMETRY.bin_width < 900
    loud = batch.magnitude > 0.1 * batch.magnitude.amax()
    assert batch.labels[:, below][loud[:, below]].all()
    assert not batch.labels[:, ~below][loud[:, ~below]].any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"frames": 10_000}, "no trusted segment is as long as 10000 frames"),
        ({"segments": []}, "no segment lies between the quantiles"),
        ({"segments": [0, 1]}, "pairs need two songs, only .*a.wav can be used"),
        ({"world": 50, "rank": 49}, r"fewer trusted segments than processes \(50\)"),
        ({"coherent": 1.5}, r"coherent must lie in \[0, 1\], got 1.5"),
        ({"ratio": (2.0, -2.0)}, "ratio must be two levels in dB"),
        ({"geometry": tp.Geometry()}, "geometry has 44100 Hz, the bank 8000"),
        ({"batch_size": 0}, "batch_size must be a whole number at least 1, got 0"),
        ({"bin_confidence": True, "speed": 0.1}, "bin_confidence needs the excerpts' own time"),
        ({"eq": -1.0}, "eq must not be negative, got -1.0"),
        ({"speed": 2.0}, r"speed must lie in \[0, 0.5\], got 2.0"),
    ],
)
def test_nothing_to_mix(bank, change, message):
    with pytest.raises(ValueError, match=message):
        stream(bank, **change)


def test_label_survives_a_kill(tmp_path):
    """SIGKILL in the middle of labelling; the second run computes the rest, and no line is lost."""
    program = """
import sys, time, torch, torchprim as tp
from tests.test_bank_remix import Halves, RATE, tone
class Slow(Halves):
    def forward(self, *a, **k):
        time.sleep(0.15)
        return super().forward(*a, **k)
import soundfile, pathlib
folder = pathlib.Path(sys.argv[1])
soundfile.write(folder / "a.wav", tone(40, 300).numpy(), RATE)
settings = {"segment_seconds": 2.0, "hop_seconds": 2.0, "cache": folder / "c", "progress": False}
bank = tp.Bank([folder / "a.wav"], RATE, **settings)
teacher = Slow()
tp.label(bank, teacher, folder / "labels.jsonl", batch_size=1, progress=False)
print(teacher.asked)
"""
    command = [sys.executable, "-c", program, str(tmp_path)]
    first = subprocess.Popen(command)
    path = tmp_path / "labels.jsonl"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and (not path.exists() or path.read_bytes().count(b"\n") < 3):
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.wait()
    kept = len(list(json_lines.read(path)))
    assert 3 <= kept < 20
    asked = int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert asked == 20 - kept
    assert len({record["start"] for record in json_lines.read(path)}) == 20
