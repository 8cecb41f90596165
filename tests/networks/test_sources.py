"""Networks of other sources than vocals and accompaniment: settings, mask heads, cues, checkpoints."""

import dataclasses

import pytest
import torch

import torchprim as tp
from torchprim.audio.find import demo_song
from torchprim.networks.checkpoint import read_checkpoint, read_config, save_checkpoint
from torchprim.networks.config import NETWORKS
from torchprim.networks.run import run_network
from torchprim.sources import FOUR, TWO

GRID = tp.Geometry(8000, 64, 16)  # 33 bins
BOTH = ("embedding", "mask")
THREE = ("strings", "brass", "other")
TINY = {
    kind: tp.NetworkConfig(
        "tiny", kind, BOTH, GRID, layers=2, hidden=6, channels=4, dimensions=4, sources=THREE
    )
    for kind in ("blstm", "unet")
}
SMALL = dataclasses.replace(NETWORKS["small"], sources=FOUR, cues="four")


@pytest.fixture(scope="module")
def mixture():
    audio, rate = tp.load_audio(demo_song())
    return tp.Mixture(audio.mean(0, keepdim=True)[:, :88200], rate)


# ---- settings


def test_settings_hold_the_sources_in_both_orders():
    assert tp.NetworkConfig().sources == TWO and tp.NetworkConfig().classes == TWO[::-1]
    config = tp.NetworkConfig(sources=["drums", "bass", "rest"])  # as in a file of JSON
    assert config.sources == config.classes == ("drums", "bass", "rest")
    assert SMALL.classes == FOUR
    for one in (config, SMALL, *NETWORKS.values()):
        assert tp.NetworkConfig.from_dict(one.to_dict()) == one


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sources": ("vocals",)}, "sources must be two names or more"),
        ({"sources": "drums"}, "sources must be two names or more.*got 'drums'"),
        ({"sources": ("a", "../b")}, "sources must be two names or more"),
        (
            {"sources": FOUR},
            r"sources must be those of the preset 'best', \('vocals', 'accompaniment'\), got",
        ),
        ({"cues": "four"}, "sources must be those of the preset 'four', .*got .*'accompaniment'"),
        ({"cues": "four", "sources": FOUR[::-1]}, "sources must be those of the preset 'four'"),
        ({"cues": "four", "sources": FOUR, "geometry": GRID}, "geometry must be that of the preset 'four'"),
        ({"cues": "five", "sources": FOUR}, "unknown preset 'five'; there are .*four"),
    ],
)
def test_bad_sources(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(NETWORKS["small"], **changes)


# ---- mask heads


@pytest.mark.parametrize("kind", TINY)
def test_masks_of_three_sources(kind):
    torch.manual_seed(0)
    network = tp.build_network(TINY[kind]).eval()
    magnitude = torch.rand(2, 33, 21) ** 3
    with torch.inference_mode():
        embedding, masks = network(magnitude)
        alone = network(magnitude[1:] * 1000)
    assert embedding.shape == (2, 33, 21, 4) and masks.shape == (2, 3, 33, 21)
    assert masks.min() > 0 and masks.std(1).min() > 0
    torch.testing.assert_close(masks.sum(1), torch.ones(2, 33, 21))
    torch.testing.assert_close(alone.mask[0], masks[1], atol=1e-5, rtol=0)
    with torch.autocast("cpu", torch.bfloat16):
        assert network(magnitude).mask.dtype == torch.float32


@pytest.mark.parametrize("kind", TINY)
def test_each_mask_has_its_own_weights_and_gradients(kind):
    network = tp.build_network(TINY[kind])
    network(torch.rand(2, 33, 8)).mask[:, 1].square().sum().backward()
    gradient = network.mask_head.weight.grad
    by_source = gradient.unflatten(0, (3, -1)).flatten(1) if kind == "blstm" else gradient.movedim(1, 0)
    assert (by_source.flatten(1).abs().sum(1) > 0).all()


def test_two_sources_have_the_head_that_they_had():
    for kind in TINY:
        for names in (TWO, ("strings", "brass")):
            network = tp.build_network(dataclasses.replace(TINY[kind], sources=names))
            assert network(torch.rand(2, 33, 8)).mask.shape == (2, 33, 8)
            weights = {name: tuple(x.shape) for name, x in network.state_dict().items() if "mask" in name}
            if kind == "blstm":
                assert weights == {"mask_head.weight": (33, 12), "mask_head.bias": (33,)}
            else:
                head = {"mask_head.weight": (4, 1, 5, 5), "mask_head.bias": (1,)}
                assert weights == {"mask_gain": (33, 1), "mask_offset": (33, 1), **head}


# ---- cues


def test_a_fresh_network_is_nearly_the_ensemble_of_four(mixture):
    torch.manual_seed(0)
    network = tp.build_network(SMALL).eval()
    magnitude = mixture.magnitude()
    with torch.inference_mode():
        estimate = tp.StemSeparator().estimate(mixture)
        cues = network.cue_masks(mixture)
        masks = run_network(network, magnitude, mixture).mask
    assert torch.equal(cues, torch.stack(list(estimate.masks.values()), -3))
    assert masks.shape == (1, 4, *magnitude.shape[-2:])
    assert (masks - estimate.mask).abs().max() < 0.2
    assert (masks - estimate.mask).abs().mean() < 0.03
    assert not torch.equal(masks, estimate.mask)


def test_the_correction_keeps_the_energy_of_each_stem(mixture):
    torch.manual_seed(0)
    network = tp.build_network(SMALL).eval()
    power = mixture.magnitude().square().unsqueeze(1)
    with torch.inference_mode():
        network.mask_gain.fill_(3.0)  # far from the ensemble, and towards one source
        network.mask_offset[0] = 4.0
        ensemble = tp.StemSeparator().estimate(mixture).mask
        masks = run_network(network, mixture.magnitude(), mixture).mask
    assert (masks - ensemble).abs().mean() > 0.02
    kept, wanted = ((power * m).sum((-2, -1)) for m in (masks, ensemble))
    torch.testing.assert_close(kept, wanted, rtol=1e-3, atol=0)


def test_silence_is_finite_with_finite_gradients():
    network = tp.build_network(SMALL)
    silence = torch.zeros(2, 1025, 8)
    masks = network(silence, cues=torch.full((2, 5, 1025, 8), 0.5)).mask
    masks[:, 0].sum().backward()
    assert masks.isfinite().all()
    assert all(p.grad.isfinite().all() for p in network.parameters() if p.grad is not None)


# ---- checkpoints


@pytest.mark.parametrize("kind", TINY)
def test_a_checkpoint_keeps_the_sources_and_their_anchors(kind, tmp_path):
    network, path = tp.build_network(TINY[kind]).eval(), tmp_path / "best.pt"
    save_checkpoint(path, network, torch.eye(3, 4))
    read = read_checkpoint(path)
    assert read.config == read_config(path) == TINY[kind]
    assert torch.equal(read.anchors, torch.eye(3, 4))
    magnitude = torch.rand(2, 33, 6)
    assert torch.equal(read.network(magnitude).mask, network(magnitude).mask)
    with pytest.raises(ValueError, match=r"anchors must have shape \(3, 4\), got \(2, 4\)"):
        save_checkpoint(path, network, torch.eye(2, 4))
    content = torch.load(path)
    torch.save({**content, "anchors": torch.eye(2, 4)}, path)
    with pytest.raises(tp.CheckpointError, match=r"its anchors are not of shape \(3, 4\)"):
        read_checkpoint(path)
    torch.save({**content, "config": {**content["config"], "sources": [*THREE, "more"]}}, path)
    with pytest.raises(tp.CheckpointError, match="its weights do not fit its settings"):
        read_checkpoint(path)
    torch.save({**content, "config": {**content["config"], "sources": 3}}, path)
    with pytest.raises(tp.CheckpointError, match=r"sources must be two names or more.*got 3"):
        read_checkpoint(path)


def test_a_checkpoint_of_two_sources_is_what_version_0_2_reads(tmp_path):
    save_checkpoint(tmp_path / "two.pt", tp.build_network(dataclasses.replace(TINY["unet"], sources=TWO)))
    assert "sources" not in torch.load(tmp_path / "two.pt")["config"]
    assert read_config(tmp_path / "two.pt").sources == TWO
