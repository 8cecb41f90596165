"""The SD-SDR loss against the metric of the masked stems; silence; gradients."""

import pytest
import torch

import torchprim as tp
from torchprim.losses.masking import phase_sensitive
from torchprim.losses.sd_sdr import sd_sdr_loss, stem_sd_sdr_loss
from torchprim.losses.training_loss import training_loss
from torchprim.networks.heads import NetworkOutput
from torchprim.training.recipes import find_recipe


def sources(voice, drum_loop):
    spectra = tp.stft(torch.stack([voice, drum_loop])[None, :, 44100:132300])
    vocals, accompaniment = spectra[:, 0], spectra[:, 1]
    mixture = vocals + accompaniment
    target = phase_sensitive(mixture, vocals)
    return mixture, vocals, (mixture.abs(), target, mixture.abs() - target)


@pytest.mark.parametrize("gain", [0.3, 0.7, 1.0])
def test_it_approximates_the_metric(voice, drum_loop, gain):
    mixture, vocals, targets = sources(voice, drum_loop)
    mask = gain * (0.2 + 0.6 * vocals.abs() / (vocals.abs() + (mixture - vocals).abs()))
    estimate = tp.istft(mixture * mask, length=88200)
    references = (voice[None, 44100:132300], drum_loop[None, 44100:132300])
    rest = sum(references) - estimate
    metric = (tp.sd_sdr(references[0], estimate) + tp.sd_sdr(references[1], rest)) / 2
    # The loss leaves out the error that is out of phase; its floors add up to 20 log10(1 + 0.03 / α).
    assert -100 * sd_sdr_loss(mask, *targets).item() == pytest.approx(metric.item(), abs=1.2)


def test_quieter_vocals_cost_more(generator):
    vocals, accompaniment = torch.rand(2, 1, 33, 20, generator=generator)
    mixture = vocals + accompaniment
    ideal = vocals / mixture
    loss = [sd_sdr_loss(ideal * gain, mixture, vocals, accompaniment).item() for gain in (1.0, 0.8, 0.4)]
    assert loss[0] < loss[1] < loss[2]


def test_silence(generator):
    level = torch.rand(2, 33, 20, generator=generator)
    nothing = torch.zeros_like(level)
    mask = torch.full_like(level, 0.25).requires_grad_()
    loss = sd_sdr_loss(mask, level, nothing, level)
    loss.backward()
    assert loss.isfinite() and mask.grad.isfinite().all() and mask.grad.mean() > 0  # towards silent vocals
    assert sd_sdr_loss(mask, nothing, nothing, nothing) == 0


def test_gradients(generator):
    vocals, accompaniment = torch.rand(2, 2, 3, 4, generator=generator, dtype=torch.float64)
    mask = torch.rand(2, 3, 4, generator=generator, dtype=torch.float64).requires_grad_()
    torch.autograd.gradcheck(lambda m: sd_sdr_loss(m, vocals + accompaniment, vocals, accompaniment), (mask,))


def test_stems_by_the_definition(generator):
    """Of each source 10 log10(|s|² / |s - e|²) + 20 log10 α, but for the floors; two stems are one mask."""
    targets = torch.rand(4, 2, 33, 20, generator=generator, dtype=torch.float64)
    masks = torch.rand(2, 4, 33, 20, generator=generator, dtype=torch.float64).softmax(1)
    mixture = targets.sum(0)
    wanted = 0
    for item in range(2):
        for k in range(4):
            s, e = targets[k, item], masks[item, k] * mixture[item]
            error = (s - e).square().sum() + 1e-4 * mixture[item].square().sum()
            alpha = (s * e).sum() / s.square().sum() + 0.03
            wanted += (10 * torch.log10(s.square().sum() / error) + 20 * torch.log10(alpha)) / 8
    torch.testing.assert_close(-100 * stem_sd_sdr_loss(masks, mixture, targets.unbind(0)), wanted)
    two = targets[:2].unbind(0)
    both = torch.stack([masks[:, 0], 1 - masks[:, 0]], 1)
    one = sd_sdr_loss(masks[:, 0], mixture, *two)
    torch.testing.assert_close(stem_sd_sdr_loss(both, mixture, two), one)


def test_a_silent_stem_counts_as_0(generator):
    targets = torch.rand(3, 1, 9, 7, generator=generator, dtype=torch.float64)
    masks = torch.rand(1, 3, 9, 7, generator=generator, dtype=torch.float64).requires_grad_()
    targets[1] = 0
    mixture = targets.sum(0)
    loss = stem_sd_sdr_loss(masks, mixture, targets.unbind(0))
    alone = stem_sd_sdr_loss(masks[:, ::2], mixture, [targets[0], targets[2]])
    torch.testing.assert_close(3 * loss, 2 * alone)
    torch.autograd.gradcheck(lambda m: stem_sd_sdr_loss(m, mixture, targets.unbind(0)), masks)
    with pytest.raises(ValueError, match="sources must hold one for each mask, 3, got 2"):
        stem_sd_sdr_loss(masks, mixture, [mixture, mixture])


def test_it_is_chosen_by_its_name(generator):
    vocals, accompaniment = torch.rand(2, 1, 33, 20, generator=generator)
    mask = torch.rand(1, 33, 20, generator=generator)
    mixture = vocals + accompaniment
    given = (vocals > accompaniment, torch.ones_like(mask), mixture, (accompaniment, vocals))
    chosen = training_loss(NetworkOutput(mask=mask), *given, masking="sd-sdr")
    assert chosen.total == sd_sdr_loss(mask, mixture, vocals, accompaniment)
    assert find_recipe("small").masking == "sd-sdr"


def test_shapes_that_do_not_fit(generator):
    mask = torch.rand(1, 33, 20, generator=generator)
    with pytest.raises(ValueError, match="vocals has shape"):
        sd_sdr_loss(mask, mask, mask[..., 1:], mask)
