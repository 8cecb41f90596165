"""Files that hold more than one sound, or one behind a tag, or a header that was never finished."""

import struct

import numpy as np
import pytest
import torch

from tests.support.sound_files import cut, encode, noise, write
from torchprim.audio.decode import _soundfile
from torchprim.audio.load import load_audio, read
from torchprim.audio.parts import find_parts
from torchprim.errors import AudioError, AudioWarning

PLAIN = ["wav", "flac", "aiff", "ogg", "au", "caf", "w64"]


def join(target, *paths):
    """Join files as `cat` does; return the path."""
    target.write_bytes(b"".join(path.read_bytes() for path in paths))
    return target


@pytest.mark.parametrize("kind", ["wav", "flac", "aiff", "ogg", "opus", "m4a"])
def test_files_that_were_joined_are_decoded_to_the_last(tmp_path, kind):
    codecs = {"opus": "libopus", "m4a": "aac"}
    paths = []
    for seed, frames in enumerate([48000, 24000, 36000]):
        path, audio = tmp_path / f"{seed}.{kind}", noise(frames, seed=seed)
        if kind in codecs:
            paths.append(encode(path, audio, 48000, codecs[kind]))
        else:
            paths.append(write(path, audio, 48000))
    alone = [read(path).audio for path in paths]
    audio, rate, notes = read(join(tmp_path / f"all.{kind}", *paths))
    assert (rate, notes) == (48000, ())
    assert torch.equal(audio, torch.cat(alone, 1))


@pytest.mark.parametrize(("rate", "channels"), [(22050, 2), (44100, 1)])
@pytest.mark.parametrize("kind", ["ogg", "wav"])
def test_a_part_of_another_rate_or_channels_is_noted(tmp_path, kind, rate, channels):
    first = write(tmp_path / f"a.{kind}", noise(44100))
    second = write(tmp_path / f"b.{kind}", noise(44100, channels), rate)
    path = join(tmp_path / f"x.{kind}", first, second)
    with pytest.warns(AudioWarning, match=r"only the first 1\.00 s could be decoded: there rate or channels"):
        audio, _ = load_audio(path)
    assert torch.equal(audio, load_audio(first)[0])


def test_a_part_that_cannot_be_decoded_leaves_those_before_it(tmp_path):
    first = write(tmp_path / "a.ogg", noise(44100))
    damaged = tmp_path / "b.ogg"
    damaged.write_bytes(first.read_bytes()[:28] + bytes(2000))
    audio, _, notes = read(join(tmp_path / "x.ogg", first, damaged))
    assert torch.equal(audio, load_audio(first)[0])
    assert len(notes) == 1 and notes[0].startswith("only the first 1.00 s could be decoded: there cannot be")


def test_a_cut_link_is_noted_and_damaged_pages_are_passed_over(tmp_path):
    whole = write(tmp_path / "a.ogg", noise(88200))
    part = cut(whole, tmp_path / "part.ogg", 0.5)
    assert read(join(tmp_path / "x.ogg", whole, part)).notes == ("truncated: its last page is missing",)
    content = bytearray(whole.read_bytes())
    second = content.find(b"OggS", len(content) // 2)
    content[second] = 0
    (tmp_path / "y.ogg").write_bytes(content + b"TAG" + bytes(125))  # and an ID3v1 tag behind
    assert read(tmp_path / "y.ogg").audio.shape[1] > 44100
    (only,) = find_parts(tmp_path / "y.ogg")
    assert (only.start, only.stop, only.note) == (0, len(content) + 128, "")


@pytest.mark.parametrize("kind", PLAIN)
def test_a_tag_before_the_sound_is_passed_over(tmp_path, kind):
    path = write(tmp_path / f"x.{kind}", noise(30000))
    tags = b"ID3\x04\0\0\0\0\x01\x05" + bytes(133) + b"ID3\x04\0\x10\0\0\0\x02" + bytes(12)  # with a footer
    (tmp_path / f"tagged.{kind}").write_bytes(tags + path.read_bytes())
    audio, rate, notes = read(tmp_path / f"tagged.{kind}")
    assert torch.equal(audio, read(path).audio) and (rate, notes) == (44100, ())


@pytest.mark.parametrize("riff", [None, 0, 8, 36])
@pytest.mark.parametrize("missing", [None, "soundfile"])
def test_a_wav_whose_recorder_died_is_read_to_its_end(tmp_path, monkeypatch, riff, missing):
    audio = noise(30000)
    path = write(tmp_path / "x.wav", audio, subtype="FLOAT")
    content = bytearray(path.read_bytes())
    start = content.find(b"data")
    content[start + 4 : start + 8] = bytes(4)
    if riff is not None:
        content[4:8] = struct.pack("<I", riff)
    path.write_bytes(content)
    if missing:
        monkeypatch.setitem(__import__("sys").modules, missing, None)
    got, _, notes = read(path)
    assert np.array_equal(got.numpy(), audio)
    assert notes == ("its header states no length: read to the end of the file",)


def test_a_wav_without_a_sample_stays_one(tmp_path):
    path = write(tmp_path / "x.wav", noise(0))
    path.write_bytes(path.read_bytes() + b"LIST" + struct.pack("<I", 6) + b"INFO??")
    with pytest.raises(AudioError, match="holds 0 samples"):
        read(path)


@pytest.mark.parametrize("kind", ["au", "caf", "w64", "rf64", "mka", "ac3", "wv"])
def test_a_cut_file_of_a_rarer_format_is_noted(tmp_path, kind):
    codecs = {"mka": "aac", "ac3": "ac3", "wv": "wavpack"}
    path = tmp_path / f"x.{kind}"
    if kind in codecs:
        encode(path, noise(96000), 48000, codecs[kind])
    else:
        write(path, noise(96000), 48000, format=kind)
    assert read(path).notes == ()
    audio, _, notes = read(cut(path, tmp_path / f"cut.{kind}", 0.5))
    assert len(notes) == 1 and notes[0].startswith("truncated")
    assert 40000 < audio.shape[1] < 60000


@pytest.mark.parametrize("channels", [1, 2])
def test_64_bit_integers_are_read(tmp_path, channels):
    audio = noise(5000, channels)
    values = np.round(audio.T.astype(np.float64) * 2**63).astype("<i8").tobytes()
    form = struct.pack("<IHHIIHH", 16, 1, channels, 44100, 44100 * 8 * channels, 8 * channels, 64)
    path = tmp_path / "x.wav"
    body = b"WAVEfmt " + form + b"data" + struct.pack("<I", len(values)) + values
    path.write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)
    got, rate, notes = read(path)
    assert np.array_equal(got.numpy(), audio) and (rate, notes) == (44100, ())


@pytest.mark.parametrize("kind", ["caf", "w64", "wav", "ogg"])
def test_a_damaged_header_is_an_error_or_a_file(tmp_path, kind):
    """No exception of a decoder, or of Python's, passes: one byte damaged at each place of the header."""
    content = write(tmp_path / f"x.{kind}", noise(3000)).read_bytes()
    path, refused = tmp_path / f"bad.{kind}", 0
    for offset in range(140):
        for value in (0xFF, 0x40, 0x80):
            path.write_bytes(content[:offset] + bytes([value]) + content[offset + 1 :])
            try:
                assert read(path).audio.isfinite().all()
            except AudioError as error:
                assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
                refused += 1
    assert refused > 20


@pytest.mark.parametrize("error", [RuntimeError("boom"), MemoryError(), IndexError()])
def test_whatever_a_decoder_raises_names_the_file(tmp_path, monkeypatch, error):
    def fail(*args):
        raise error

    path = write(tmp_path / "x.wav", noise(100))
    for name in ("_soundfile", "_av"):
        monkeypatch.setattr(f"torchprim.audio.decode.{name}", fail)
    with pytest.raises(AudioError, match=r"x\.wav: .*(boom|not enough memory|IndexError)"):
        read(path)


def test_many_channels_take_memory_for_what_they_hold(tmp_path):
    (part,) = find_parts(write(tmp_path / "x.wav", np.zeros((1024, 1))))
    samples, _ = _soundfile(part, 0)
    assert sum(block.nbytes for block in samples._blocks) <= 16 << 20
    assert samples.join().shape == (1024, 1)
