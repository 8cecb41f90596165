"""Long recordings, decoded into a spool, and stems written in stretches, as `read` and `save_stems` do."""

import errno
import os

import numpy as np
import pytest
import torch

from tests.support.sound_files import bad_files, cut, encode, noise, write
from torchprim.audio import spool
from torchprim.audio.load import read, record
from torchprim.audio.spool import Spool
from torchprim.audio.write import open_stems, save_stems
from torchprim.errors import AudioError


@pytest.fixture(params=[True, False], ids=["on disk", "in memory"])
def on_disk(request, monkeypatch):
    """Both places of the samples, of songs of any length."""
    monkeypatch.setattr(spool, "MEMORY", 1000 if request.param else 1 << 25)
    return request.param


def test_samples_are_read_and_written_anywhere(tmp_path, on_disk):
    audio = torch.randn(3, 9000)
    samples = Spool(3, tmp_path)
    for start in (0, 4000, 8000):
        samples.write(start, audio[:, start : start + 4000].numpy())
    samples.write(500, -audio[:, 500:700])
    audio[:, 500:700] *= -1
    assert (samples.length, samples.nbytes, samples.on_disk) == (9000, 4 * 3 * 9000, on_disk)
    assert torch.equal(samples.read(0, 9000), audio) and torch.equal(
        samples.read(123, 124), audio[:, 123:124]
    )
    assert samples.read(7, 7).shape == (3, 0)
    with pytest.raises(EOFError):
        samples.read(8999, 9001)
    shorter = Spool(3, tmp_path)
    shorter.write(0, audio[:, :800])
    samples.add(shorter)
    assert torch.equal(torch.cat(list(samples), 1), 2 * audio[:, :800])
    assert os.listdir(tmp_path) == []  # its file has no name: nothing is left when a run is killed


def test_a_recording_is_what_read_gives(tmp_path, on_disk):
    audio = noise(30000)
    paths = [
        write(tmp_path / "a.wav", audio, 44100, "DOUBLE"),
        write(tmp_path / "a.flac", audio[:1]),
        encode(tmp_path / "a.mp3", audio, 44100, "libmp3lame"),
        encode(tmp_path / "a.stem.mp4", [noise(20000, seed=i) for i in range(5)], 44100, "aac"),
        cut(write(tmp_path / "whole.wav", audio), tmp_path / "cut.wav"),
        write(tmp_path / "inverted.wav", np.stack([audio[0], -audio[0]])),
    ]
    for name, rate in (("same", 44100), ("changed", 22050)):  # files one behind the other
        other = write(tmp_path / "other.flac", audio[:1] / 2, rate)
        paths.append(tmp_path / f"{name}.flac")
        paths[-1].write_bytes((tmp_path / "a.flac").read_bytes() + other.read_bytes())
    for path in paths:
        expected = read(path)
        samples, rate, notes = record(path, tmp_path)
        assert (rate, notes) == expected[1:] and torch.equal(samples.read(0, samples.length), expected.audio)


def test_bad_files_have_the_errors_of_read(tmp_path, on_disk, capfd):
    for path, reason in bad_files(tmp_path).values():
        with pytest.raises(AudioError) as caught:
            record(path, tmp_path)
        assert reason.lower() in str(caught.value).lower()


@pytest.mark.parametrize("level", [0.1, 3.0])
@pytest.mark.parametrize("suffix", ["wav", "flac"])
def test_stems_in_stretches_are_the_files_of_save_stems(tmp_path, on_disk, suffix, level):
    stems = [torch.from_numpy(noise(30000, seed=seed, level=level)) for seed in (0, 1)]
    whole, parts = ([tmp_path / folder / f"{i}.{suffix}" for i in (0, 1)] for folder in ("whole", "parts"))
    gain = save_stems(dict(zip(whole, stems, strict=True)), 44100)
    with open_stems(parts, 44100, 2, 30000, tmp_path) as writer:
        for start in (0, 7, 20000):
            stop = {0: 7, 7: 20000}.get(start, 30000)
            writer.write(*(stem[:, start:stop] for stem in stems))
        assert not any(path.exists() for path in parts)
    assert writer.gain == gain and (gain < 1) == (suffix == "flac" and level > 1)
    for one, other in zip(whole, parts, strict=True):
        assert torch.equal(read(one).audio, read(other).audio)


def test_a_broken_off_stretch_leaves_the_old_files_and_its_own_error(tmp_path):
    paths = [tmp_path / "a.wav", tmp_path / "b.wav"]
    save_stems(dict.fromkeys(paths, torch.ones(2, 9)), 8000)
    before = [path.read_bytes() for path in paths]
    for error in (OSError(errno.EIO, "of the block"), ZeroDivisionError(), KeyboardInterrupt()):
        with pytest.raises(type(error)) as caught, open_stems(paths, 8000, 2, 9, tmp_path) as writer:
            writer.write(torch.zeros(2, 5), torch.zeros(2, 5))
            raise error
        assert caught.value is error
    assert [path.read_bytes() for path in paths] == before and len(os.listdir(tmp_path)) == 2
    with pytest.raises(ValueError, match="path must end in"), open_stems(["a.ogg"], 8000, 1, 1, tmp_path):
        pass
    (tmp_path / "file").touch()
    with (
        pytest.raises(AudioError, match=r"c\.wav: cannot be written: "),
        open_stems([tmp_path / "file" / "c.wav"], 8000, 1, 1, tmp_path),
    ):
        pass


def test_a_full_disk_under_the_spool_is_named(tmp_path, monkeypatch):
    def refuse(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    path = write(tmp_path / "a.wav", noise(1000))
    monkeypatch.setattr("tempfile.SpooledTemporaryFile.write", refuse)
    with pytest.raises(AudioError) as caught:
        record(path, tmp_path)
    assert str(caught.value) == f"{tmp_path}: cannot be written: No space left on device"


def test_many_channels_and_types_keep_their_samples(tmp_path):
    samples = Spool(2, tmp_path)
    for values in (np.ones((2, 3), np.float64), np.asfortranarray(np.ones((2, 3), np.float32))):
        samples.write(samples.length, values)
    samples.write(samples.length, torch.ones(3, 2).T)
    assert torch.equal(samples.read(0, 9), torch.ones(2, 9))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1e31])
def test_a_bad_sample_in_a_later_part_has_its_time(tmp_path, on_disk, bad):
    parts = [noise(22050), noise(22050)]
    parts[1][1, 11025] = bad
    joined = tmp_path / "joined.wav"
    joined.write_bytes(
        b"".join(write(tmp_path / "x.wav", part, 44100, "FLOAT").read_bytes() for part in parts)
    )
    errors = []
    for decode in (read, lambda path: record(path, tmp_path)):
        with pytest.raises(AudioError, match=r"a sample is .* at 0\.750 s") as caught:
            decode(joined)
        errors.append(str(caught.value))
    assert errors[0] == errors[1]


def test_stems_that_are_not_finite_are_refused(tmp_path):
    for suffix in ("wav", "flac"):
        paths = [tmp_path / f"a.{suffix}"]
        with pytest.raises(ValueError, match="must be finite"), open_stems(paths, 8, 1, 2, tmp_path) as stems:
            stems.write(torch.tensor([[0.0, torch.inf]]))
    assert os.listdir(tmp_path) == []
