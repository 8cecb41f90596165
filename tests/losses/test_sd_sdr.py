"""The SD-SDR loss against the metric of the masked stems; silence; gradients."""

import pytest
import torch

import torchprim as tp
from torchprim.losses.masking import phase_sensitive
from torchprim.losses.sd_sdr import sd_sdr_loss
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


def test_it_is_chosen_by_its_name(generator):
    vocals, accompaniment = torch.rand(2, 1, 33, 20, generator=generator)
    mask = torch.rand(1, 33, 20, generator=generator)
    given = (vocals > accompaniment, torch.ones_like(mask), vocals + accompaniment, vocals, accompaniment)
    chosen = training_loss(NetworkOutput(mask=mask), *given, masking="sd-sdr")
    assert chosen.total == sd_sdr_loss(mask, *given[2:])
    assert find_recipe("small").masking == "sd-sdr"


def test_shapes_that_do_not_fit(generator):
    mask = torch.rand(1, 33, 20, generator=generator)
    with pytest.raises(ValueError, match="vocals has shape"):
        sd_sdr_loss(mask, mask, mask[..., 1:], mask)
