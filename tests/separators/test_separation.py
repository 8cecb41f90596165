"""A separation saves itself, has one line, and plays in a notebook; `tp.separate` of a file."""

import base64
import copy
import io
import json
import pickle
import re

import pytest
import torch

import torchprim as tp
from torchprim.audio.find import OwnOutput, find_files
from torchprim.sources import FOUR, TWO

RATE = 22050


@pytest.fixture(scope="module")
def song(tmp_path_factory):
    generator = torch.Generator().manual_seed(0)
    path = tmp_path_factory.mktemp("music") / "one song.wav"
    tp.save(path, torch.randn(2, RATE, generator=generator) / 10, RATE)
    return path


@pytest.fixture(scope="module")
def separator():
    return tp.PrimitiveSeparator(method="hpss")


def test_a_file_in_one_line(song, separator, tmp_path):
    stems = tp.separate(str(song), separator=separator)
    audio, rate = tp.load_audio(song)
    assert stems.sample_rate == rate == RATE
    torch.testing.assert_close(stems.vocals, separator(audio, rate, channels=True).vocals)
    assert not list(tmp_path.iterdir())
    for format in ("wav", "flac"):
        tp.separate(song, out=tmp_path / "out", separator=separator, format=format)
        for name in TWO:
            written, rate = tp.load_audio(tmp_path / "out" / "one song" / f"{name}.{format}")
            torch.testing.assert_close(written, getattr(stems, name), atol=1e-6, rtol=0)
            assert rate == RATE
    records = [json.loads(line) for line in (tmp_path / "out" / "separations.jsonl").read_text().splitlines()]
    assert [(r["path"], r["output"], r["format"]) for r in records] == [
        (str(song), "one song", format) for format in ("wav", "flac")
    ]
    own = OwnOutput()
    assert not list(find_files([tmp_path], exclude=own)) and own.count == 4  # no music to learn from


def test_a_file_to_the_stems_of_a_separator(song, tmp_path):
    result = tp.separate(song, out=tmp_path / "out", separator=tp.StemSeparator())
    assert isinstance(result, tp.StemSeparation) and list(result.stems) == list(FOUR)
    audio, rate = tp.load_audio(song)
    for name, stem in tp.StemSeparator()(audio, rate, channels=True).stems.items():
        torch.testing.assert_close(result.stems[name], stem)
        written, _ = tp.load_audio(tmp_path / "out" / "one song" / f"{name}.wav")
        torch.testing.assert_close(written, stem, atol=1e-6, rtol=0)
    own = OwnOutput()
    assert not list(find_files([tmp_path], exclude=own)) and own.count == 4  # no music to learn from


def test_errors_of_a_file(song, separator, tmp_path):
    with pytest.raises(tp.AudioError, match=r"nothing\.wav: No such file"):
        tp.separate(tmp_path / "nothing.wav")
    with pytest.raises(ValueError, match=r"^format must be 'wav' or 'flac', got 'ogg'$"):
        tp.separate(song, tmp_path, format="ogg")
    (tmp_path / "file").touch()
    with pytest.raises(tp.AudioError, match=r"file.*: cannot be written"):
        tp.separate(song, tmp_path / "file", separator=separator)


def test_one_line_and_players(song, separator):
    stems = tp.separate(song, separator=separator)
    line = repr(stems)
    assert re.fullmatch(
        r"Separation\(vocals and accompaniment \(2, 22050\), 1.00 s at 22050 Hz on cpu, "
        r"confidence -?\d\.\d{3}, masks of hpss\)",
        line,
    )
    page = stems._repr_html_()
    sounds = re.findall(r'src="data:audio/mpeg;base64,([^"]+)"', page)
    assert len(sounds) == 2 and len(page) < 40_000
    soundfile = pytest.importorskip("soundfile")
    played, rate = soundfile.read(io.BytesIO(base64.b64decode(sounds[0])))
    assert rate == 24000 and 24000 <= len(played) < 28000
    level = stems.vocals.mean(0).square().mean().sqrt().item()
    assert (played**2).mean() ** 0.5 == pytest.approx(level, rel=0.3)


def test_a_batch_is_described_and_not_saved(separator, tmp_path):
    stems = separator(torch.randn(3, RATE), RATE)
    assert "confidence of shape (3,)" in repr(stems) and "<audio" not in stems._repr_html_()
    with pytest.raises(
        ValueError, match=r"save takes the stems of one recording, got a batch of shape \(3,\)"
    ):
        stems.save(tmp_path)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_it_copies(separator, copied):
    stems = separator(torch.randn(RATE), RATE)
    again = copied(stems)
    assert torch.equal(again.vocals, stems.vocals) and again.sample_rate == RATE
