"""Channels: one mask for all, channels that cancel, and the spatial cue of two."""

import pytest
import torch

import torchprim as tp
from torchprim.spectra import mixture as mixture_module


def test_channels_share_one_mask(mix):
    stereo = torch.stack([mix[:60000], 0.5 * mix[1000:61000]])
    stems = tp.PrimitiveSeparator(spatial=0.0)(stereo, 44100, channels=True)
    assert stems.vocals.shape == stereo.shape
    assert stems.confidence.shape == ()
    middle = tp.PrimitiveSeparator()(stereo.mean(0), 44100)
    torch.testing.assert_close(stems.mask, middle.mask, atol=1e-4, rtol=0)
    # Given the mask, separation is linear: the mean of the channels' vocals is the vocals of their mean.
    torch.testing.assert_close(stems.vocals.mean(0), middle.vocals, atol=1e-4, rtol=0)


def test_an_inverted_channel_is_separated_like_any_other(mix):
    """The mean of left and -left is silence: the mask is that of one of them."""
    left = mix[:60000]
    batch = torch.stack([torch.stack([left, -left]), torch.stack([left, left])]).requires_grad_()
    stems = tp.PrimitiveSeparator()(batch, 44100, channels=True)
    alone = tp.PrimitiveSeparator()(left, 44100)
    for item, mask in zip(stems.vocals, stems.mask, strict=True):
        torch.testing.assert_close(mask, alone.mask, atol=1e-4, rtol=0)
        torch.testing.assert_close(item[0], alone.vocals, atol=1e-4, rtol=0)
        torch.testing.assert_close(item[1].abs(), item[0].abs(), atol=1e-5, rtol=0)
    assert alone.vocals.abs().max() > 0.1
    (gradient,) = torch.autograd.grad(stems.vocals[:, 0].square().sum(), batch)
    assert gradient.isfinite().all() and gradient.any()


def test_the_spatial_cue_refines_the_mask_of_two_channels(mix):
    stereo = torch.stack([mix[:60000], 0.5 * mix[1000:61000]])
    separator = tp.PrimitiveSeparator()
    stems, plain = (x(stereo, 44100, channels=True) for x in (separator, tp.PrimitiveSeparator(spatial=0.0)))
    assert (stems.confidence, stems.silhouette) == (plain.confidence, plain.silhouette)
    spectrum = tp.stft(stereo - stereo.mean(-1, keepdim=True))
    torch.testing.assert_close(stems.mask, tp.spatial(spectrum, plain.mask), atol=1e-4, rtol=0)
    assert (stems.mask - plain.mask).abs().max() > 0.1
    batch = separator(torch.stack([stereo, stereo.flip(0)]), 44100, channels=True)
    torch.testing.assert_close(
        batch.vocals, torch.stack([stems.vocals, stems.vocals.flip(0)]), atol=1e-4, rtol=0
    )


@pytest.mark.parametrize("channels", [1, 3, "equal"])
def test_the_spatial_cue_needs_two_different_channels(channels, mix):
    audio = mix[None, :30000].expand(2 if channels == "equal" else channels, -1)
    stems, plain = (tp.PrimitiveSeparator(spatial=s)(audio, 44100, channels=True) for s in (2.0, 0.0))
    assert torch.equal(stems.mask, plain.mask)
    assert torch.equal(
        tp.PrimitiveSeparator()(audio, 44100).mask, tp.PrimitiveSeparator(spatial=0.0)(audio, 44100).mask
    )


def test_the_spatial_cue_belongs_to_the_ensemble(mix):
    stereo = torch.stack([mix[:30000], 0.5 * mix[1000:31000]])
    for separator in (tp.PrimitiveSeparator("best", "hpss"), tp.PrimitiveSeparator("paper")):
        assert separator.spatial == 0
    stems = tp.PrimitiveSeparator("best", "hpss")(stereo, 44100, channels=True)
    assert torch.equal(stems.mask, stems.masks["hpss"])


def test_a_cue_gets_the_channels_and_their_spectrum_is_computed_once(mix, monkeypatch):
    """The stems are made from the spectrum that the cue has read."""
    shapes = []
    transform = mixture_module.stft
    monkeypatch.setattr(
        mixture_module, "stft", lambda x, *args: shapes.append(x.shape) or transform(x, *args)
    )

    def left(mixture):
        spectrum = mixture.channel_spectrum()
        if spectrum is None:
            return torch.zeros_like(mixture.magnitude())
        magnitude = spectrum.abs()
        return magnitude[..., 0, :, :] / magnitude.sum(-3).clamp_min(1e-20)

    preset = tp.Preset("mine", {"left": 1.0}, cues={"left": left}, spatial=0.0)
    stereo = torch.stack([mix[:30000], torch.zeros(30000)])
    stems = tp.PrimitiveSeparator(preset)(stereo, 44100, channels=True)
    assert sorted(shapes) == [(2, 30000), (30000,)]
    assert stems.masks["left"].amax() == 1
    other = tp.PrimitiveSeparator(preset)(stereo.flip(0), 44100, channels=True)
    assert not other.masks["left"].any()
    assert not tp.PrimitiveSeparator(preset)(mix[:30000], 44100).masks["left"].any()
    for piece in tp.PrimitiveSeparator(preset).stream(
        lambda a, b: stereo.repeat(1, 50)[:, a:b], 50 * 30000, 44100, channels=True
    ):  # pieces of a long song
        assert piece.vocals[0].abs().max() > 10 * piece.accompaniment[0].abs().max()
