"""Networks with the primitives' masks as input: initial mask, shared cues, bad arguments; bands."""

import dataclasses

import pytest
import torch

import torchprim as tp
from torchprim.bootstrap.batch import make_batch
from torchprim.networks.bands import Bands
from torchprim.networks.checkpoint import read_checkpoint, save_checkpoint
from torchprim.networks.config import NETWORKS, NetworkConfig
from torchprim.networks.run import run_network
from torchprim.networks.unet import UNet
from torchprim.training.recipes import find_recipe
from torchprim.training.trainer import Trainer


@pytest.fixture(scope="module")
def mixture(voice, drum_loop):
    return tp.Mixture((voice + drum_loop)[None, :88200], 44100)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    return tp.build_network("small").eval()


def test_a_fresh_network_is_nearly_the_ensemble(network, mixture):
    with torch.inference_mode():
        ensemble, _ = tp.PrimitiveSeparator("best").masks(mixture)
        mask = tp.NetworkSeparator(network).estimate(mixture).mask
    assert (mask - ensemble).abs().max() < 0.2
    assert (mask - ensemble).abs().mean() < 0.03
    assert not torch.equal(mask, ensemble)


def test_the_correction_keeps_the_energy_of_the_vocals(mixture):
    torch.manual_seed(0)
    network = tp.build_network("small").eval()
    with torch.inference_mode():
        network.mask_gain.fill_(3.0)  # far from the ensemble, and towards one source
        network.mask_offset.fill_(-2.0)
        ensemble, _ = tp.PrimitiveSeparator("best").masks(mixture)
        mask = tp.NetworkSeparator(network).estimate(mixture).mask
    power = mixture.magnitude().square()
    assert (mask - ensemble).abs().mean() > 0.05
    torch.testing.assert_close((power * mask).sum(), (power * ensemble).sum(), rtol=1e-2, atol=0)


def test_context_sees_the_whole_excerpt():
    """What the last frame holds reaches the first one, further away than the convolutions see."""
    torch.manual_seed(0)
    magnitude = torch.rand(1, 1025, 600)
    magnitude[:, 500:, -1] = 0
    changed = magnitude.clone()
    changed[..., -1] = magnitude[..., -1].flip(-1)  # the level, which all features are relative to, stays
    for context in (True, False):
        network = UNet(NetworkConfig("x", "unet", ("mask",), layers=1, context=context)).eval()
        network.down_norm[0] = torch.nn.Identity()  # statistics of all frames, too
        with torch.inference_mode():
            masks = network(magnitude).mask, network(changed).mask
        difference = (masks[0] - masks[1])[..., 0].abs().max()
        assert (difference > 1e-6) == context


def test_a_checkpoint_from_before_the_context(tmp_path):
    """Version 0.1 knew no such setting: its networks have none."""
    network = tp.build_network(dataclasses.replace(NETWORKS["small"], context=False))
    save_checkpoint(tmp_path / "old.pt", network)
    content = torch.load(tmp_path / "old.pt")
    del content["config"]["context"]
    torch.save(content, tmp_path / "old.pt")
    assert read_checkpoint(tmp_path / "old.pt").config.context is False


def test_cues_are_those_of_the_preset(network, mixture):
    with torch.inference_mode():
        cues = network.cue_masks(mixture)
        wanted = tp.PrimitiveSeparator("best").cue_masks(mixture)
    assert torch.equal(cues, torch.stack(list(wanted.values()), -3))


def test_an_ensemble_computes_a_shared_cue_once(network, monkeypatch):
    calls = []
    forward = type(network.cues["melody"].primitive).forward

    def counted(self, *arguments):
        calls.append(self)
        return forward(self, *arguments)

    monkeypatch.setattr(type(network.cues["melody"].primitive), "forward", counted)
    audio = torch.randn(44100, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        tp.NetworkSeparator(network).with_primitives("best")(audio, 44100)
        assert len(calls) == 1
        # Another preset's melody has other settings.
        tp.NetworkSeparator(network).with_primitives("paper")(audio, 44100)
    assert len(calls) == 3


def test_a_wrong_number_of_cues_is_refused(network, mixture):
    magnitude = mixture.magnitude()
    with pytest.raises(ValueError, match="sees 5 cues, got 0"):
        network(magnitude)
    with pytest.raises(ValueError, match="sees 0 cues, got 5"):
        tp.build_network("unet")(magnitude, cues=network.cue_masks(mixture))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cues": "best"}, "cues are for a unet"),
        ({"cues": "beast", "kind": "unet"}, "unknown preset 'beast'"),
        ({"cues": "companion", "kind": "unet"}, "geometry must be that of the preset"),
    ],
)
def test_bad_cue_settings(change, message):
    with pytest.raises(ValueError, match=message):
        NetworkConfig(**change)


def test_any_module_runs_without_cues(mixture):
    class Halving(torch.nn.Module):
        def forward(self, magnitude, frames=None):
            return magnitude * 0.5

    magnitude = mixture.magnitude()
    assert torch.equal(run_network(Halving(), magnitude, mixture), magnitude * 0.5)


def test_it_learns_to_correct_the_ensemble(voice, drum_loop):
    recipe = find_recipe("small")
    torch.manual_seed(0)
    trainer = Trainer(tp.build_network("small").train(), recipe)
    batch = make_batch(voice[None, 44100:132300], drum_loop[None, :88200], NETWORKS["small"].geometry)
    before = trainer.validate([batch])
    for step in range(8):
        trainer.step(batch, step)
    assert trainer.validate([batch]) < before - 0.003  # 0.3 dB


@pytest.mark.parametrize(("fine", "coarse"), [(256, 8), (100, 7), (1025, 8), (2000, 3)])
def test_bands(fine, coarse):
    bands = Bands(1025, fine, coarse)
    level = torch.rand(1025, 3).double()
    rows, masks = bands.reduce(level), bands.average(level)
    assert rows.shape == masks.shape == (bands.rows, 3)
    low = min(fine, 1025)
    assert torch.equal(rows[:low], level[:low]) and torch.equal(masks[:low], level[:low])
    for row in range(low, bands.rows):
        group = level[low + (row - low) * coarse :][:coarse]
        torch.testing.assert_close(masks[row], group.mean(0))
        padded = torch.cat([group, group.new_zeros(coarse - len(group), 3)])
        torch.testing.assert_close(rows[row], padded.square().mean(0).sqrt())
    expanded = bands.expand(rows, 0)
    assert expanded.shape == level.shape and torch.equal(bands.average(expanded)[:low], level[:low])


def test_silent_bands_have_a_gradient_of_zero():
    magnitude = torch.zeros(1025, 2, requires_grad=True)
    Bands(1025, 256, 8).reduce(magnitude).sum().backward()
    assert magnitude.grad[256:].abs().max() == 0 and magnitude.grad[:256].min() == 1
