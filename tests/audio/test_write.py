"""Writing of audio files: bit-exact float WAV, one gain for FLAC, all files or none."""

import errno
import io
import math
import os
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from tests.support.sound_files import noise
from torchprim import files
from torchprim.audio.encode import Encoder
from torchprim.audio.load import load_audio
from torchprim.audio.write import open_stems, save, save_stems
from torchprim.errors import AudioError


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (44100, 2), (192000, 6)])
@pytest.mark.parametrize("frames", [1, 10, (1 << 18) + 1])
def test_a_float_wav_keeps_every_bit(tmp_path, rate, channels, frames):
    audio = torch.from_numpy(noise(frames, channels, level=3.0))
    assert save(tmp_path / "new" / "x.wav", audio, rate) == 1
    got, got_rate = load_audio(tmp_path / "new" / "x.wav")
    assert torch.equal(got, audio) and got_rate == rate
    assert os.listdir(tmp_path / "new") == ["x.wav"]


def test_flac_has_24_bits_and_one_gain_for_all(tmp_path):
    audio = torch.from_numpy(noise(5000, level=0.1))
    assert save(tmp_path / "x.flac", audio, 44100) == 1
    assert (load_audio(tmp_path / "x.flac")[0] - audio).abs().max() < 2**-22
    loud = 20 * audio
    gain = save_stems({tmp_path / "a.flac": loud, tmp_path / "b.flac": -audio}, 44100)
    assert gain == 1 / loud.abs().max().item()
    assert (load_audio(tmp_path / "a.flac")[0] - gain * loud).abs().max() < 2**-22
    assert (load_audio(tmp_path / "b.flac")[0] + gain * audio).abs().max() < 2**-22
    assert load_audio(tmp_path / "a.flac")[0].abs().max() <= 1


@pytest.mark.parametrize(("rate", "channels"), [(44100, 2), (22050, 1), (8000, 2)])
def test_mp3_has_the_length_of_what_was_written_and_one_gain(tmp_path, rate, channels):
    audio = 10 * torch.from_numpy(noise(30_011, channels))
    peak = audio.abs().max().item()
    gain = save_stems({tmp_path / "a.mp3": audio, tmp_path / "b.mp3": audio / 2}, rate)
    assert gain == 1 / peak < 1
    for name, factor in (("a", 1), ("b", 0.5)):
        got, got_rate = load_audio(tmp_path / f"{name}.mp3")
        assert (got.shape, got_rate) == (audio.shape, rate)
        assert (got - factor * gain * audio).square().mean() < 0.01 * (factor * gain * audio).square().mean()


def test_mp3_has_the_bitrate_asked_for(tmp_path):
    paths = [tmp_path / "a.mp3", tmp_path / "b.mp3"]
    for bitrate in (64, 128, 320):
        with open_stems(paths, 44100, 2, 44100, tmp_path, bitrate) as stems:
            stems.write(*2 * [torch.from_numpy(noise(44100))])
        with av.open(str(paths[0])) as container:
            assert container.streams.audio[0].bit_rate == 1000 * bitrate


@pytest.mark.parametrize(("rate", "channels"), [(96000, 2), (44100, 6), (10000, 1)])
def test_what_mp3_does_not_have_is_refused_by_name(tmp_path, rate, channels):
    message = f"x.mp3: an MP3 has 8 to 48 kHz and at most 2 channels, not {rate} Hz and {channels} channel"
    with pytest.raises(AudioError, match=message):
        save(tmp_path / "x.mp3", torch.zeros(channels, 100), rate)
    assert os.listdir(tmp_path) == []


def test_other_layouts_and_precisions_are_written(tmp_path):
    audio = torch.randn(2, 50, 2).transpose(1, 2)[0].to(torch.float64).requires_grad_()
    save(tmp_path / "x.wav", audio, 8000)
    assert torch.equal(load_audio(tmp_path / "x.wav")[0], audio.detach().float())
    save(tmp_path / "x.wav", torch.full((7,), 0.5, dtype=torch.float16), 8000)
    assert torch.equal(load_audio(tmp_path / "x.wav")[0], torch.full((1, 7), 0.5))


def test_what_cannot_be_written_is_refused(tmp_path):
    audio = torch.zeros(2, 10)
    with pytest.raises(ValueError, match=r"path must end in .wav, .flac or .mp3, got '.*x\.ogg'"):
        save(tmp_path / "x.ogg", audio, 8000)
    with pytest.raises(ValueError, match="must be finite"):
        save(tmp_path / "x.wav", audio / 0, 8000)
    with pytest.raises(ValueError, match=r"\(C, T\)"):
        save(tmp_path / "x.wav", audio[None], 8000)
    with pytest.raises(ValueError, match="sample_rate must be positive, got 0"):
        save(tmp_path / "x.wav", audio, 0)
    with pytest.raises(AudioError, match=r"x\.flac: cannot be written as FLAC PCM_24"):
        save(tmp_path / "x.flac", torch.zeros(9, 10), 44100)  # FLAC has at most 8 channels
    (tmp_path / "file").touch()
    with pytest.raises(AudioError, match=r"x\.wav: cannot be written: "):
        save(tmp_path / "file" / "x.wav", audio, 8000)
    assert sorted(os.listdir(tmp_path)) == ["file"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"audio": torch.zeros(0, 10)}, "audio must have 1 to 1024 channels, got 0"),
        ({"audio": torch.zeros(2000, 10)}, "audio must have 1 to 1024 channels, got 2000"),
        ({"audio": torch.zeros(2, 10, device="meta")}, "audio must be a dense tensor .* on the meta device"),
        (
            {"audio": torch.zeros(2, 10).to_sparse()},
            "audio must be a dense .* of layout torch.sparse_coo",
        ),
        (
            {"audio": torch.full((2, 10), 1e300, dtype=torch.float64)},
            r"must lie within ±1e\+30.* 1e\+300",
        ),
        ({"audio": [0.0, 1.0]}, r"audio must be a tensor, got \[0.0, 1.0\]"),
        ({"sample_rate": 2**31}, "sample_rate must lie in .* Hz, got 2147483648"),
        ({"sample_rate": 0.4}, "sample_rate must lie in .* Hz, got 0.4"),
        ({"sample_rate": 44100.5}, "sample_rate must be a whole number of Hz, got 44100.5"),
        ({"sample_rate": math.nan}, "sample_rate must be positive, got nan"),
        ({"sample_rate": torch.tensor(8000)}, r"sample_rate must be a number in Hz, got tensor\(8000\)"),
        ({"sample_rate": True}, "sample_rate must be a number in Hz, got True"),
        ({"path": "x.ogg"}, "path must end in .wav, .flac or .mp3, got 'x.ogg'"),
    ],
)
def test_each_argument_is_named_with_its_value(tmp_path, monkeypatch, change, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=message):
        save(**{"path": "x.wav", "audio": torch.zeros(2, 10), "sample_rate": 8000} | change)
    assert os.listdir() == []


@pytest.mark.parametrize("path", [None, b"x.wav", 3])
def test_a_path_is_a_text_or_pathlike(path):
    with pytest.raises(TypeError, match=r"path must be a str or an os.PathLike\[str\], got "):
        save(path, torch.zeros(2, 10), 8000)


def test_a_rate_may_be_a_whole_number_of_any_type(tmp_path):
    for rate in (44100.0, np.int64(44100), np.float32(44100)):
        save(tmp_path / "x.wav", torch.zeros(2, 10), rate)
        assert load_audio(tmp_path / "x.wav")[1] == 44100


@pytest.mark.parametrize("suffix", ["wav", "flac"])
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full")
def test_a_full_disk_is_named_by_the_encoder(suffix):
    for frames in (10, 1 << 19):
        with (
            open("/dev/full", "wb", buffering=0) as full,
            pytest.raises(AudioError) as caught,
            Encoder(Path(f"x.{suffix}"), full, 44100, 2, frames) as encoder,
        ):
            encoder.write(torch.randn(2, frames) / 9)
        assert str(caught.value) == f"x.{suffix}: cannot be written: No space left on device"


@pytest.mark.parametrize("suffix", ["wav", "flac"])
@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()])
def test_a_broken_off_write_leaves_the_old_files(tmp_path, monkeypatch, suffix, error, capfd):
    old, new = torch.zeros(2, 20), torch.from_numpy(noise(1 << 19))
    paths = [tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"]
    save_stems(dict.fromkeys(paths, new), 8000)
    room = paths[0].stat().st_size * 3 // 2
    save_stems(dict.fromkeys(paths, old), 8000)
    before = [path.read_bytes() for path in paths]

    class Full(io.FileIO):
        def write(self, data):
            nonlocal room
            room -= len(data)
            if room < 0:  # in the middle of the second file
                raise error
            return super().write(data)

    monkeypatch.setattr(files, "open", Full, raising=False)
    with pytest.raises(AudioError if isinstance(error, OSError) else KeyboardInterrupt) as caught:
        save_stems(dict.fromkeys(paths, new), 8000)
    if isinstance(error, OSError):
        assert str(caught.value).endswith(f"b.{suffix}: cannot be written: No space left on device")
    assert [path.read_bytes() for path in paths] == before
    assert sorted(os.listdir(tmp_path)) == [path.name for path in paths]
    assert capfd.readouterr().err == ""  # no exception was printed from inside a callback


def test_left_overs_of_killed_processes_are_removed(tmp_path):
    path, audio = tmp_path / "x[1].wav", torch.zeros(2, 3)
    for number in (os.getpid(), os.getppid(), 4194399):  # the last above the largest a process can have
        for token in ("", ".0123abcd"):
            (tmp_path / f".x[1].wav.{number}{token}.part").touch()
    save(path, audio, 8000)
    assert os.listdir(tmp_path) == [path.name]
    with pytest.raises(ZeroDivisionError), files.replaced(path):  # one that is being written stays
        save(path, audio, 8000)
        assert len(os.listdir(tmp_path)) == 2
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == [path.name] and torch.equal(load_audio(path)[0], audio)
