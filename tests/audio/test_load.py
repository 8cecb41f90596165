"""Decoding of audio files: all formats at their own rate and length, errors in one line."""

import os
import pickle
import sys
import warnings

import numpy as np
import pytest
import torch

import torchprim as tp
from tests.support.sound_files import bad_files, cut, encode, noise, write
from torchprim.audio.decode import _av, _soundfile
from torchprim.audio.find import demo_song
from torchprim.audio.load import load_audio, load_stems, read
from torchprim.audio.parts import find_parts
from torchprim.audio.write import save
from torchprim.errors import AudioError, AudioWarning


def snr(reference, estimate):
    return 10 * np.log10(np.sum(reference**2) / np.sum((reference - estimate) ** 2))


PLAIN = [
    ("x.wav", "PCM_U8", 44100, 2, 1 / 128),
    ("x.wav", "PCM_16", 8000, 1, 2**-15),
    ("x.wav", "PCM_24", 192000, 2, 2**-23),
    ("x.wav", "PCM_32", 48000, 6, 2**-24),
    ("x.wav", "FLOAT", 22050, 3, 0),
    ("x.wav", "DOUBLE", 96000, 2, 0),
    ("x.flac", "PCM_16", 44100, 1, 2**-15),
    ("x.flac", "PCM_24", 192000, 6, 2**-23),
    ("x.aiff", "PCM_24", 44100, 2, 2**-23),
    ("x.caf", "FLOAT", 44100, 2, 0),
    ("x.w64", "PCM_16", 44100, 2, 2**-15),
    ("x.au", "PCM_16", 11025, 1, 2**-15),
]


@pytest.mark.parametrize(("name", "subtype", "rate", "channels", "step"), PLAIN)
@pytest.mark.parametrize("frames", [1, 10, 4099])
def test_plain_formats_are_read_to_the_sample_by_both_decoders(
    tmp_path, name, subtype, rate, channels, step, frames
):
    audio = noise(frames, channels)
    path = write(tmp_path / name, audio, rate, subtype)
    got, got_rate, notes = read(path)
    assert got_rate == rate and got.dtype == torch.float32 and got.is_contiguous()
    assert notes == ()
    assert got.shape == (channels, frames)
    assert np.abs(got.numpy() - audio).max() <= step
    (part,) = find_parts(path)
    for decoder in (_soundfile, _av):
        samples, note = decoder(part, 0)
        assert not note and samples.sample_rate == rate
        assert np.array_equal(samples.join(), got.numpy())


@pytest.mark.parametrize("frames", [(1 << 20) - 1, 1 << 20, (1 << 20) + 3])
def test_blocks_join_without_a_seam(tmp_path, frames):
    audio = np.arange(frames, dtype=np.float32)[None] / (1 << 21)
    got, _ = load_audio(write(tmp_path / "x.wav", audio, 44100, "FLOAT"))
    assert np.array_equal(got.numpy(), audio)


LOSSY = [
    ("x.mp3", "libmp3lame", 44100, 1),
    ("x.mp3", "libmp3lame", 44100, 2),
    ("x.opus", "libopus", 48000, 2),
    ("x.ogg", "libopus", 48000, 1),
]


@pytest.mark.parametrize(("name", "codec", "rate", "channels"), LOSSY)
def test_lossy_formats_keep_length_and_place(tmp_path, name, codec, rate, channels):
    audio = noise(2 * rate + 123, channels)
    path = encode(tmp_path / name, audio, rate, codec, "mono" if channels == 1 else "stereo")
    got, got_rate, notes = read(path)
    assert (got_rate, notes, got.shape) == (rate, (), audio.shape)
    assert snr(audio, got.numpy()) > 12
    assert torch.equal(read(path).audio, got)


def test_vorbis_is_read_alike_by_both_decoders(tmp_path):
    audio = noise(3 * 44100 + 7)
    path = write(tmp_path / "x.ogg", audio)
    got, rate, notes = read(path)
    assert (rate, notes, got.shape) == (44100, (), audio.shape)
    assert snr(audio, got.numpy()) > 12
    (part,) = find_parts(path)
    assert np.abs(_av(part, 0)[0].join() - got.numpy()).max() < 1e-5


@pytest.mark.parametrize(("name", "codec"), [("x.m4a", "aac"), ("x.mp4", "aac"), ("x.aac", "aac")])
def test_aac_comes_with_the_delay_that_its_decoder_gives(tmp_path, name, codec):
    audio = noise(2 * 44100)
    got, rate, notes = read(encode(tmp_path / name, audio, 44100, codec))
    assert rate == 44100 and notes == ()
    assert 0 <= got.shape[1] - audio.shape[1] <= 3 * 1024
    assert snr(audio[:, :-1024], got.numpy()[:, 1024 : audio.shape[1]]) > 12


def test_alac_and_six_channels(tmp_path):
    audio = noise(5000)
    got, _ = load_audio(encode(tmp_path / "x.m4a", audio, 44100, "alac"))
    assert got.shape == audio.shape and np.abs(got.numpy() - audio).max() < 2**-15
    six = noise(48000, 6)
    got, rate = load_audio(encode(tmp_path / "six.m4a", six, 48000, "aac", "5.1", bit_rate=384000))
    assert rate == 48000 and got.shape[0] == 6


def test_load_resamples_on_request(tmp_path):
    path = write(tmp_path / "x.wav", noise(48000), 48000)
    audio, rate = load_audio(path, 16000)
    assert rate == 16000 and audio.shape == (2, 16000)
    assert torch.equal(audio, tp.resample(load_audio(path)[0], 48000, 16000))
    for function in (load_audio, load_stems):
        with pytest.raises(ValueError, match=r"sample_rate must be positive, got -1"):
            function(path, -1)
        with pytest.raises(ValueError, match=r"sample_rate must lie in \[1000, 1e\+06\] Hz, got 1e-09"):
            function(path, 1e-9)
        for wrong in (None, b"x.wav", 3, [path]):
            with pytest.raises(TypeError, match=r"path must be a str or an os.PathLike\[str\], got "):
                function(wrong)


# Stems


def test_the_mixture_of_a_stem_file_is_the_sum_of_its_stems(tmp_path):
    stems = [noise(30000, seed=seed) for seed in range(4)]
    wrong = 0.4 * sum(stems)  # a mixture stream is mastered by itself
    path = encode(tmp_path / "Song.STEM.mp4", [wrong, *stems], 44100, "aac")
    parts, rate = load_stems(path)
    assert list(parts) == ["drums", "bass", "other", "vocals"] and rate == 44100
    mixture, _ = load_audio(path)
    assert torch.equal(mixture, parts["drums"] + parts["bass"] + parts["other"] + parts["vocals"])
    for name, stem in zip(parts, stems, strict=True):
        assert snr(stem[:, :-1024], parts[name].numpy()[:, 1024:30000]) > 12
    resampled, rate = load_stems(path, 22050)
    assert rate == 22050 and resampled["bass"].shape[1] == -(-parts["bass"].shape[1] // 2)


def test_the_demo_song_is_found_without_importing_stempeg():
    mixture, rate = load_audio(demo_song())
    stems, _ = load_stems(demo_song())
    assert mixture.shape == (2, 268288) and rate == 44100
    assert torch.equal(mixture, sum(stems.values()))
    assert "stempeg" not in sys.modules


def test_a_stem_file_with_another_number_of_streams_is_refused(tmp_path):
    path = encode(tmp_path / "x.stem.mp4", [noise(9000)] * 3, 44100, "aac")
    for function in (load_audio, load_stems):
        with pytest.raises(AudioError, match=r"x\.stem\.mp4: a file of stems has 5 .* has 3"):
            function(path)


# Bad files


def test_bad_files_are_named_in_one_line(tmp_path, capfd):
    for case, (path, reason) in bad_files(tmp_path).items():
        with pytest.raises(AudioError) as caught:
            load_audio(path)
        text = str(caught.value)
        assert reason in text, case
        assert "\n" not in text and path.name.replace("\0", "\\x00") in text, case
        assert str(pickle.loads(pickle.dumps(caught.value))) == text
    assert capfd.readouterr() == ("", "")  # decoders write nothing by themselves


def test_an_error_is_one_line_whatever_the_name():
    assert str(AudioError("a\nb\t☃.wav", "two\n lines")) == "a\\nb\\t☃.wav: two lines"
    assert str(AudioError(os.fsdecode(b"\xff.wav"), "x")) == "\\udcff.wav: x"


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "aiff", "mp3", "m4a", "opus"])
def test_a_truncated_file_is_read_as_far_as_it_decodes(tmp_path, kind):
    path, audio = tmp_path / f"whole.{kind}", noise(4 * 48000)
    if kind in ("wav", "flac", "ogg", "aiff"):
        write(path, audio, 48000)
    else:
        codec = {"mp3": "libmp3lame", "m4a": "aac", "opus": "libopus"}[kind]
        encode(path, audio, 48000, codec, options={"movflags": "faststart"} if kind == "m4a" else None)
    whole = read(path)
    assert whole.notes == ()
    part_path = cut(path, tmp_path / f"part.{kind}", 0.6)
    with pytest.warns(AudioWarning, match=rf"part\.{kind}: truncated") as caught:
        part, _ = load_audio(part_path)
    assert len(caught) == 1
    length = part.shape[1]
    assert 0.4 * 4 * 48000 < length < 0.75 * 4 * 48000
    sound = length - 4096  # the end may fade out
    assert torch.allclose(part[:, :sound], whole.audio[:, :sound], atol=1e-4)


def test_a_damaged_middle_is_skipped_with_a_note(tmp_path):
    path = write(tmp_path / "x.flac", noise(8 * 44100))
    content = bytearray(path.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 3000] = bytes(3000)
    path.write_bytes(content)
    audio, _, notes = read(path)
    assert len(notes) == 1 and "damaged" in notes[0]
    assert 7 * 44100 < audio.shape[1] < 8 * 44100


def test_a_wav_from_a_pipe_is_no_truncated_one(tmp_path):
    path = write(tmp_path / "x.wav", noise(3000))
    content = bytearray(path.read_bytes())
    content[4:8] = content[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(content)
    audio, _, notes = read(path)
    assert audio.shape == (2, 3000) and notes == ()


@pytest.mark.parametrize(
    "name", [b"a:b.wav", b'it\'s "1" & 2.wav', "日本語 ☃.wav".encode(), b"\xff\xfe.wav", b"two\nlines.wav"]
)
@pytest.mark.parametrize("suffix", [b"", b".mp3"])
def test_any_name_can_be_read(tmp_path, name, suffix):
    audio = noise(3000)
    source = write(tmp_path / "x.mp3", audio) if suffix else write(tmp_path / "x.wav", audio)
    target = os.path.join(os.fsencode(tmp_path), name + suffix)
    os.rename(source, target)
    assert load_audio(os.fsdecode(target))[0].shape == (2, 3000)


# Libraries


@pytest.mark.parametrize("missing", ["av", "soundfile"])
def test_plain_files_need_only_one_library(tmp_path, monkeypatch, missing):
    paths = [write(tmp_path / f"x.{kind}", noise(44100)) for kind in ("wav", "flac", "ogg", "mp3")]
    monkeypatch.setitem(sys.modules, missing, None)
    for path in paths:
        assert load_audio(path)[0].shape == (2, 44100)


def test_missing_libraries_are_named(tmp_path, monkeypatch):
    path = encode(tmp_path / "x.m4a", noise(3000), 44100, "aac")
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(AudioError, match=r"x\.m4a: .*PyAV \(pip install av\)"):
        load_audio(path)
    with pytest.raises(AudioError, match=r"stem\.mp4: decoding it needs PyAV: pip install av"):
        load_audio(demo_song())
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(AudioError, match=r"soundfile \(pip install soundfile\)"):
        load_audio(path)
    with pytest.raises(ImportError, match="pip install soundfile"):
        save(tmp_path / "y.wav", torch.zeros(2, 3), 8000)
    monkeypatch.setattr("torchprim.audio.find.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install stempeg"):
        demo_song()


def test_reading_warns_of_nothing_else(tmp_path):
    path = write(tmp_path / "x.wav", noise(100))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_audio(path)
