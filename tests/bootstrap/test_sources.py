"""Stems, banks and remixes of any number of sources."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

import torchprim as tp
from tests.support.small_bank import GEOMETRY, HalvingTeacher, tone
from tests.support.stem_songs import RATE, write_song
from torchprim.audio.find import demo_song
from torchprim.audio.stems import find_incomplete_songs, find_stem_songs, read_stems
from torchprim.audio.write import save
from torchprim.bootstrap.draws import draw
from torchprim.errors import AudioError
from torchprim.sources import FOUR, TWO, check_sources, class_names

THREE = ("strings", "brass", "rest")
FRAMES = 40
LENGTH = 39 * GEOMETRY.hop_length
SETTINGS = {"batch_size": 6, "frames": FRAMES, "geometry": GEOMETRY, "seed": 3}


def open_bank(root, sources, **settings):
    settings = {"segment_seconds": 2.0, "hop_seconds": 1.0, "cache": root / "cache"} | settings
    return tp.StemBank([root / "songs"], RATE, sources=sources, progress=False, **settings)


@pytest.fixture
def folder(tmp_path):
    """Write three songs of four stems, each stem a tone of its own frequency."""
    for song in range(3):
        for k, name in enumerate(FOUR):
            audio = tone(4, 200 + 400 * k + 100 * song, 0.1 * (1 + k))
            save(tmp_path / "songs" / str(song) / f"{name}.wav", torch.stack([audio, audio / 2]), RATE)
    return tmp_path


# --- names ----------------------------------------------------------------------------------------


def test_two_orders():
    assert class_names(TWO) == ("accompaniment", "vocals") and class_names(FOUR) == FOUR
    assert check_sources(["a-b", "c_1"]) == ("a-b", "c_1")
    for wrong in ("drums", ["one"], ["a", "a"], ["a", "A"], ["a", "../b"], ["a", ""], [1, 2], None):
        with pytest.raises(ValueError, match="sources must be"):
            check_sources(wrong)


# --- stems ----------------------------------------------------------------------------------------


def test_four_stems_of_a_file_and_of_a_folder(tmp_path):
    four, rate = read_stems(demo_song(), FOUR)
    two, _ = read_stems(demo_song())
    assert rate == 44100 and four.shape == (4, *two.shape[1:])
    torch.testing.assert_close(four[:3].sum(0), two[1])
    assert torch.equal(four[3], two[0])
    with pytest.raises(AudioError, match=r"its stems are .*, without strings and brass"):
        read_stems(demo_song(), THREE)
    write_song(tmp_path / "whole", 1, rest=("drums", "bass", "other"))
    write_song(tmp_path / "part", 2, rest=("drums", "accompaniment"))
    assert find_stem_songs([tmp_path], FOUR) == [tmp_path / "part", tmp_path / "whole"]
    assert find_incomplete_songs(tmp_path, FOUR) == {tmp_path / "part": "no bass and no other"}
    assert read_stems(tmp_path / "whole", FOUR)[0].shape == (4, 2, 2 * RATE)
    with pytest.raises(AudioError, match=r"part: no bass\.\* and no other\.\* of sound"):
        read_stems(tmp_path / "part", FOUR)
    with pytest.raises(AudioError, match=r"a folder with strings\.\* or brass\.\* or rest\.\*"):
        find_stem_songs([tmp_path], THREE)


def test_names_are_those_of_files_in_any_case(tmp_path):
    write_song(tmp_path / "song", 1, vocals=None, rest=("STRINGS", "rest"))
    names = ("Strings", "Rest")
    assert find_stem_songs([tmp_path], names) == [tmp_path / "song"]
    assert find_incomplete_songs(tmp_path, names) == {}
    assert read_stems(tmp_path / "song", names)[0].shape == (2, 2, 2 * RATE)


def test_bank_of_four(folder):
    bank = open_bank(folder, FOUR)
    assert bank.sources == FOUR and bank.tracks == 4 and len(bank.names) == 3
    stems = bank.stems([0])
    assert len(stems) == 4 and stems[0].shape == (1, 2 * RATE)
    torch.testing.assert_close(sum(stems), bank.audio([0]))
    for k, stem in enumerate(stems):
        expected = 0.75 * tone(2, 200 + 400 * k, 0.1 * (1 + k), RATE)
        torch.testing.assert_close(stem[0], expected, atol=1e-3, rtol=0)
    vocals, accompaniment = open_bank(folder, TWO).stems([0])  # in the same cache folder
    torch.testing.assert_close(vocals, stems[3], atol=1e-4, rtol=0)
    torch.testing.assert_close(accompaniment, sum(stems[:3]), atol=1e-4, rtol=0)
    again = tp.StemBank.from_cache(
        folder / "cache", sample_rate=RATE, sources=FOUR, segment_seconds=2.0, progress=False
    )
    assert torch.equal(again.stems([0])[1], stems[1])
    assert open_bank(folder, FOUR, channels=2).stems([0])[2].shape == (1, 2, 2 * RATE)


def test_songs_that_lack_a_stem_are_skipped(folder):
    write_song(folder / "songs" / "part", 5, rest=("drums", "other"))
    write_song(folder / "songs" / "silent", 6, rest=("drums", "bass", "other"), bass=torch.zeros(2, 2 * RATE))
    bank = open_bank(folder, FOUR)
    assert len(bank.names) == 3
    reasons = sorted(line.rpartition(": ")[2] for line in bank.skipped)
    assert reasons == ["no bass.* of sound in this folder", "the bass is silent"]


# --- remixes --------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 2])
def test_remixes_of_four(folder, channels):
    bank = open_bank(folder, FOUR, channels=channels)
    stream = tp.RemixStream(bank, None, ratio=(3.0, 3.0), **SETTINGS)
    assert stream.sources == FOUR
    batch = stream.batch(2)
    sound = (LENGTH,) if channels == 1 else (2, LENGTH)
    assert batch.sources.shape == (6, 4, *sound) and batch.mixture.shape == (6, *sound)
    torch.testing.assert_close(batch.mixture, batch.sources.sum(1))
    assert batch.spectra.shape == (6, 4, GEOMETRY.bins, FRAMES)
    assert batch.labels.dtype == torch.uint8
    assert torch.equal(batch.labels.long(), batch.spectra.abs().argmax(1))
    torch.testing.assert_close(batch.magnitude, batch.spectra.sum(1).abs())
    power = 10 * torch.log10(batch.sources.flatten(2).square().sum(-1))
    torch.testing.assert_close(power[:, 1:] - power[:, :1], torch.full((6, 3), 3.0), atol=0.01, rtol=0)
    mixture, sources = batch.pair()
    assert sources.shape == (6, 4, channels, LENGTH) and mixture.shape == (6, channels, LENGTH)
    assert torch.equal(sources.flatten(2), batch.sources.flatten(2))
    again = tp.RemixStream(bank, None, ratio=(3.0, 3.0), **SETTINGS)
    assert torch.equal(again.batch(2).sources, batch.sources)
    for name in ("vocals", "accompaniment"):
        with pytest.raises(AttributeError, match="a batch of 4 sources has `sources`"):
            getattr(batch, name)


def test_each_source_is_of_its_stem_and_the_last_of_another_song(folder):
    bank = open_bank(folder, FOUR)
    batch = tp.RemixStream(bank, None, **SETTINGS | {"batch_size": 40}).batch(0)
    peaks = torch.fft.rfft(batch.sources, n=RATE).abs().argmax(-1)  # Hz
    songs = (peaks - torch.tensor([200, 600, 1000, 1400])) / 100
    assert ((songs - songs.round()).abs() < 0.05).all() and set(songs.round().unique().tolist()) == {0, 1, 2}
    songs = songs.round()
    assert (songs[:, :3] != songs[:, 3:]).all()
    assert (songs[:, 0] != songs[:, 1]).any() and (songs[:, 0] == songs[:, 1]).any()
    coherent = tp.RemixStream(bank, None, coherent=1.0, **SETTINGS).batch(0)
    peaks = torch.fft.rfft(coherent.sources, n=RATE).abs().argmax(-1)
    songs = ((peaks - torch.tensor([200, 600, 1000, 1400])) / 100).round()
    assert (songs == songs[:, :1]).all()
    changed = tp.RemixStream(bank, None, eq=3.0, speed=0.05, **SETTINGS).batch(0)
    assert changed.sources.shape == coherent.sources.shape and changed.mixture.isfinite().all()


def test_draws_of_more_sources_are_uniform():
    songs, starts = np.array([0, 0, 1, 2, 2, 2]), np.full(6, 8)
    draws = draw(tp.RemixSettings(), 1, np.arange(30_000), songs, starts, 4)
    assert draws.slots.shape == draws.starts.shape == (30_000, 4) and draws.ratio.shape == (30_000, 3)
    assert (songs[draws.slots[:, :3]] != songs[draws.slots[:, 3:]]).all()
    last = np.bincount(draws.slots[:, 3], minlength=6)
    assert np.abs(last - 5000).max() < 300
    other = draws.slots[draws.slots[:, 3] == 2]  # the only slot of song 1: the others are of five
    for column in other[:, :3].T:
        assert np.abs(np.bincount(column, minlength=6)[[0, 1, 3, 4, 5]] / len(other) - 0.2).max() < 0.03
    assert np.abs(np.corrcoef(np.concatenate([draws.starts, draws.ratio], 1).T) - np.eye(7)).max() < 0.03


# --- teachers -------------------------------------------------------------------------------------


class Thirds(torch.nn.Module):
    """A teacher of three sources, told by its `sources`, whose masks differ."""

    sources = THREE

    def forward(self, audio, sample_rate, keep_masks=None):
        shares = dict(zip(THREE, (0.2, 0.3, 0.5), strict=True))
        masks = torch.tensor(list(shares.values()))[:, None, None]
        shape = len(audio), 3, GEOMETRY.bins, GEOMETRY.frames(audio.shape[-1])
        stems = {name: share * audio for name, share in shares.items()}
        return SimpleNamespace(stems=stems, mask=masks.expand(shape))


def test_a_teacher_of_three_sources(bank):
    stream = tp.RemixStream(bank, Thirds(), natural=True, ratio=(0.0, 0.0), **SETTINGS)
    batch = stream.batch(0)
    assert stream.sources == THREE and batch.sources.shape == (6, 3, LENGTH)
    level = batch.sources.abs().amax(-1)  # of tones at 0.2 and 0.4
    for k, share in enumerate((0.2, 0.3, 0.5)):
        assert set((level[:, k] / share).mul(100).round().tolist()) <= {20, 40}
    weighted = tp.RemixStream(bank, Thirds(), bin_confidence=True, coherent=1.0, **SETTINGS)
    weights = weighted.batch(0).weights
    plain = tp.RemixStream(bank, Thirds(), coherent=1.0, **SETTINGS).batch(0).weights
    # (K max - 1) / (K - 1) of 1/2 with K = 3
    torch.testing.assert_close(weights, plain * round(255 * 0.25) / 255)
    with pytest.raises(ValueError, match="sources must be two names or more"):
        teacher = Thirds()
        teacher.sources = ["all"]
        tp.RemixStream(bank, teacher, **SETTINGS)


def test_strength_is_that_of_the_loudest_source(folder):
    """Sources that lie apart in frequency: where each is the loudest, the teacher's mask of it counts."""
    bank = open_bank(folder, FOUR)
    strength = torch.tensor([1.0, 0.75, 0.5, 0.25])
    region = ((torch.linspace(0, RATE / 2, GEOMETRY.bins) - 150) / 400).long().clamp(0, 3)

    class Stems(torch.nn.Module):
        sources = FOUR
        calls = 0

        def forward(self, audio, sample_rate, keep_masks):
            stems = dict(zip(FOUR, bank.stems([self.calls]), strict=True))
            frames = GEOMETRY.frames(audio.shape[-1])
            largest = (3 * strength[region] + 1) / 4  # of four masks
            mask = ((1 - largest) / 3).expand(4, -1).scatter(0, region[None], largest[None])
            self.calls += 1
            return SimpleNamespace(stems=stems, mask=mask[None, :, :, None].expand(1, -1, -1, frames))

    settings = SETTINGS | {"coherent": 1.0, "teacher_batch": 1, "slots": 99}
    stream = tp.RemixStream(bank, Stems(), bin_confidence=True, **settings)
    batch, plain = stream.batch(0), tp.RemixStream(bank, None, **settings).batch(0)
    loud = plain.weights > 0.5 * plain.weights.amax(1, keepdim=True)
    loud &= batch.labels == region[None, :, None]
    expected = strength[batch.labels.long()]
    assert set(expected[loud].unique().tolist()) == {1.0, 0.75, 0.5, 0.25}
    torch.testing.assert_close((batch.weights / plain.weights)[loud], expected[loud], atol=5e-3, rtol=0)


def test_four_stems_of_primitives_teach(bank, tmp_path):
    teacher = tp.StemSeparator(geometry=GEOMETRY).eval()
    labels = tp.label(bank, teacher, tmp_path / "labels.jsonl", progress=False)
    assert labels.confidence.isfinite().all()
    stream = tp.RemixStream(bank, teacher, labels=labels, bin_confidence=True, **SETTINGS)
    batch = stream.batch(1)
    assert batch.sources.shape == (6, 4, LENGTH) and batch.weights.isfinite().all()
    mixture, sources = next(iter(stream.dataset()))
    torch.testing.assert_close(mixture, sources.sum(1))


def test_two_sources_of_a_teacher_are_as_ever(bank):
    batch = tp.RemixStream(bank, HalvingTeacher(), natural=True, ratio=(0.0, 0.0), **SETTINGS).batch(0)
    levels = batch.sources.abs().amax(-1) / torch.tensor([0.75, 0.25])  # of tones at 0.2 and 0.4
    assert set(levels.mul(100).round().flatten().tolist()) <= {20, 40}
    assert torch.equal(batch.sources, torch.stack([batch.accompaniment, batch.vocals], 1))
    assert torch.equal(batch.pair()[1][:, :, 0], torch.stack([batch.vocals, batch.accompaniment], 1))
    assert batch.labels.dtype == torch.bool


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"stems": {"strings": 1}}, "must give each in the dict `stems` of its result, not 'brass'"),
        ({"stems": None}, "must give each in the dict `stems` of its result, not 'strings'"),
        ({"length": 100}, r"a teacher's strings must be as the audio that it is given, \(4, 32000\) on cpu"),
        (
            {"dtype": torch.int32},
            "strings must be real and floating point, got dtype torch.int32",
        ),
        ({"value": float("nan")}, "a teacher's strings must be finite"),
        ({"frames": 7}, r"bin_confidence needs a teacher's mask of shape \(4, 3, 129, 501\), got"),
        ({"frames": None}, "bin_confidence needs a teacher's mask"),
    ],
    ids=str,
)
def test_what_a_teacher_gives_is_checked(bank, change, message):
    class Teacher(torch.nn.Module):
        sources = THREE

        def forward(self, audio, sample_rate, keep_masks=None):
            stem = change.get("value", 0.1) * audio[:, : change.get("length")]
            stems = dict.fromkeys(THREE, stem.to(change.get("dtype", torch.float32)))
            if "stems" in change:
                stems = change["stems"] or {}
            frames = change.get("frames", GEOMETRY.frames(audio.shape[-1]))
            mask = None if frames is None else torch.full((len(audio), 3, GEOMETRY.bins, frames), 1 / 3)
            return SimpleNamespace(stems=stems, mask=mask)

    stream = tp.RemixStream(bank, Teacher(), bin_confidence=True, **SETTINGS)
    with pytest.raises(ValueError, match=message):
        stream.batch(0)


def test_half_precision_of_a_teacher_becomes_float32(bank):
    class Half(torch.nn.Module):
        def forward(self, audio, sample_rate):
            return SimpleNamespace(vocals=audio.half() / 2, accompaniment=audio.half() / 2)

    assert tp.RemixStream(bank, Half(), **SETTINGS).batch(0).sources.dtype == torch.float32
