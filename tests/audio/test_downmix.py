"""Downmix: the mean of the channels to the last bit, and another one where they cancel in it."""

import pytest
import torch

from tests.support.sound_files import noise, write
from torchprim.audio.downmix import cancels, downmix
from torchprim.audio.load import read


@pytest.fixture
def left():
    return torch.randn(20000, generator=torch.Generator().manual_seed(0)) / 9


def independent(channels):
    return torch.randn(channels, 20000, generator=torch.Generator().manual_seed(1)) / 9


@pytest.mark.parametrize("channels", [1, 2, 3, 6, 64])
def test_ordinary_channels_give_their_mean_to_the_last_bit(channels, left):
    for audio in (independent(channels), left.expand(channels, -1), 0.2 * independent(channels) + left):
        assert not cancels(audio)
        assert torch.equal(downmix(audio), audio.mean(-2))
    alone = torch.zeros(channels, 20000)
    alone[-1] = left
    assert not cancels(alone)
    assert not cancels(torch.zeros(channels, 20000)) and not cancels(torch.ones(channels, 20000))


@pytest.mark.parametrize("offset", [0.0, 0.5])
@pytest.mark.parametrize("level", [1e-15, 1.0, 1e15])
def test_the_loudest_channel_is_taken_where_channels_cancel(left, offset, level):
    audio = level * (torch.stack([0.99 * left, -left]) + offset)
    assert cancels(audio)
    assert torch.equal(downmix(audio), audio[1])
    # The vocals of a stereo mix with one channel inverted are in the difference; in the mean are the sides.
    sides = 0.1 * independent(1)[0]
    inverted = torch.stack([left + sides, -(left - sides)])
    assert torch.equal(downmix(inverted), inverted[inverted.std(-1).argmax()])


def test_constants_beside_which_the_sound_is_rounding_decide_nothing(left):
    for audio in (torch.stack([left, left]) + 1e4, independent(2) + 1e4, torch.full((2, 9), 0.1)):
        assert torch.equal(downmix(audio), audio.mean(-2))
    for length in (1, 2):
        few = left[: 2 * length].reshape(2, length).abs()
        assert torch.equal(downmix(few), few.mean(0))


def test_a_batch_is_decided_item_by_item_and_stems_by_their_mixture(left):
    batch = torch.stack([torch.stack([left, -left]), independent(2)]).requires_grad_()
    mono = downmix(batch)
    assert torch.equal(mono, torch.stack([left, batch[1].mean(0)]))
    mono.sum().backward()
    assert torch.equal(batch.grad[0], torch.stack([torch.ones(20000), torch.zeros(20000)]))
    assert torch.equal(batch.grad[1], torch.full((2, 20000), 0.5))
    stems = torch.stack([batch[0], 0.1 * independent(2)]).detach()  # the second alone would give its mean
    assert torch.equal(downmix(stems, like=stems.sum(0)), stems[:, stems.sum(0).std(-1).argmax()])


def test_a_file_with_an_inverted_channel_is_noted(tmp_path):
    audio = noise(20000, 1)
    path = write(tmp_path / "x.wav", [audio[0], -audio[0]])
    assert [note.split(",")[0] for note in read(path).notes] == ["its channels cancel"]
    assert read(write(tmp_path / "y.wav", noise(20000))).notes == ()
