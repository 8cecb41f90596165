"""Separation by a network: clustering from anchors, heads, ensemble with the primitives, loading."""

import dataclasses
import math

import pytest
import torch

import torchprim as tp
from torchprim.errors import CheckpointError
from torchprim.networks.checkpoint import save_checkpoint
from torchprim.networks.heads import NetworkOutput
from torchprim.separators import base as separation

GRID = tp.Geometry(16000, 256, 64)
TINY = tp.NetworkConfig(
    "tiny", geometry=GRID, layers=1, hidden=6, dimensions=4, heads=("embedding", "mask"), beta=12.0
)


def anchored(kind="blstm", **changes):
    torch.manual_seed(0)
    config = dataclasses.replace(TINY, kind=kind, **changes)
    network = tp.build_network(config).eval().requires_grad_(False)
    anchors = torch.nn.functional.normalize(torch.rand(2, 4) + torch.eye(2, 4), dim=-1)
    return network, anchors


class Oracle(torch.nn.Module):
    """Network that embeds the upper half of the band as vocals, with noise."""

    def __init__(self, heads=("embedding",), noise=0.1, shift=0.0):
        super().__init__()
        self.config = dataclasses.replace(TINY, heads=heads, dimensions=3)
        self.noise, self.shift = torch.nn.Parameter(torch.tensor(noise)), shift

    def forward(self, magnitude, frames=None):
        batch, bins, count = magnitude.shape
        vocals = (torch.arange(bins) > bins // 2).float()[:, None].expand(batch, bins, count)
        generator = torch.Generator().manual_seed(1)
        rows = torch.stack([1 - vocals, vocals, torch.full_like(vocals, self.shift)], -1)
        rows = rows + self.noise * torch.rand(bins, count, 3, generator=generator)
        embedding = torch.nn.functional.normalize(rows, dim=-1)
        mask = vocals * 0.8 if "mask" in self.config.heads else None
        return NetworkOutput(embedding if "embedding" in self.config.heads else None, mask)


# ---- the separator


def test_centres_are_found_in_the_order_of_the_anchors_without_ground_truth(generator):
    """The song's clusters are shifted from the anchors: k-means follows, and keeps their order."""
    network = Oracle(noise=0.05, shift=0.5)
    anchors = torch.nn.functional.normalize(torch.tensor([[1.0, 0.2, 0.0], [0.2, 1.0, 0.0]]), dim=-1)
    song = torch.randn(16000, generator=generator)
    for order in (1, -1):
        stems = tp.NetworkSeparator(network, anchors if order == 1 else anchors.flip(0))(song, 16000)
        high, low = stems.mask[70:].mean(), stems.mask[:60].mean()
        assert (high - low) * order > 0.8
        assert stems.silhouette > 0.8 and stems.posterior > 0.9
    blurred = tp.NetworkSeparator(Oracle(noise=3.0), anchors)(song, 16000)
    assert blurred.confidence < 0.5 * stems.confidence


@pytest.mark.parametrize("kind", ["blstm", "unet"])
@pytest.mark.parametrize("use", ["auto", "embedding", "mask", "both"])
def test_shapes_masks_batch_and_reproducibility(kind, use, generator):
    separator = tp.NetworkSeparator(*anchored(kind), use=use)
    batch = 0.1 * torch.randn(2, 12345, generator=generator)
    stems = separator(batch, 22050)
    grid = (2, GRID.bins, GRID.frames(math.ceil(12345 * 16000 / 22050)))
    assert stems.mask.shape == grid
    wanted = {"auto": ["mask"], "mask": ["mask"], "embedding": ["embedding"], "both": ["embedding", "mask"]}
    assert list(stems.masks) == wanted[use]
    torch.testing.assert_close(stems.mask, sum(stems.masks.values()) / len(stems.masks))
    assert ((stems.mask >= 0) & (stems.mask <= 1)).all()
    torch.testing.assert_close(stems.vocals + stems.accompaniment, batch, atol=1e-5, rtol=0)
    torch.testing.assert_close(stems.silhouette * stems.posterior, stems.confidence)
    for i in range(2):  # batch equals loop
        alone = separator(batch[i], 22050)
        torch.testing.assert_close(alone.vocals, stems.vocals[i], atol=1e-5, rtol=0)
        torch.testing.assert_close(alone.confidence, stems.confidence[i], atol=1e-3, rtol=0)
    assert torch.equal(separator(batch, 22050).confidence, stems.confidence)  # reproducible
    stereo = separator(batch, 22050, channels=True)
    assert stereo.vocals.shape == batch.shape and stereo.confidence.shape == ()
    double = separator(batch.reshape(2, 1, 1, -1).double(), 22050)
    assert double.vocals.dtype == torch.float64 and double.confidence.shape == (2, 1, 1)


def test_confidence_is_the_measure_of_its_own_clustering(generator):
    network, anchors = anchored(heads=("mask",))[0], None
    song = torch.randn(9000, generator=generator)
    stems = tp.NetworkSeparator(network, anchors)(song, 16000)
    magnitude = tp.stft(song - song.mean(), GRID).abs()
    wanted = tp.confidence_measure([stems.mask], magnitude, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(stems.confidence, wanted.confidence)


def test_confidence_with_centres(generator):
    """Explicit centres 0 and 1 equal the default, other centres the definition."""
    embedding = torch.rand(2, 20, 30, 3, generator=generator)
    magnitude = torch.rand(2, 20, 30, generator=generator)
    corners = torch.stack([torch.zeros(3), torch.ones(3)])
    given, usual = (
        tp.confidence_measure(embedding, magnitude, n_points=None, centres=centres, share=0.2)
        for centres in (corners, None)
    )
    for one, other in zip(given, usual, strict=True):
        torch.testing.assert_close(one, other)
    centres = torch.rand(2, 2, 3, generator=generator)
    got = tp.posterior_strength(embedding, magnitude, beta=4.0, centres=centres, share=0.2)
    for i in range(2):
        points = embedding[i].flatten(0, 1)[magnitude[i].flatten().topk(120).indices]
        distances = torch.stack([(points - c).norm(dim=-1) for c in centres[i]])
        strongest = torch.softmax(-4 * distances, 0).amax(0)
        torch.testing.assert_close(got[i], (2 * strongest - 1).mean())
    with pytest.raises(ValueError, match=r"shape \(..., K, 3\) with K at least 2, got \(1, 3\)"):
        tp.silhouette(embedding, magnitude, centres=torch.rand(1, 3))


@pytest.mark.parametrize("use", ["embedding", "mask", "both"])
def test_silence_constants_and_a_few_samples(use, generator):
    separator = tp.NetworkSeparator(*anchored(), use=use)
    for song in (torch.zeros(2, 3000), torch.full((2, 3000), 0.3)):
        stems = separator(song, 44100)
        assert not stems.mask.any() and not stems.vocals.any()
        assert not stems.confidence.any()
    for samples in (1, 2, 10, 63, 64, 65):
        stems = separator(torch.randn(2, samples, generator=generator), 44100)
        assert stems.vocals.shape == (2, samples)
        assert torch.isfinite(stems.vocals).all() and torch.isfinite(stems.confidence).all()


def test_long_audio_is_separated_in_pieces(monkeypatch, generator):
    monkeypatch.setattr(separation, "PIECE_SECONDS", 1.0)
    monkeypatch.setattr(separation, "OVERLAP_SECONDS", 0.2)
    song, seen = torch.randn(40000, generator=generator), []
    stems = tp.NetworkSeparator(*anchored())(
        song, 16000, keep_masks=True, progress=lambda *done: seen.append(done)
    )
    assert len(seen) > 2 and seen[-1] == (len(seen), len(seen))
    assert stems.mask.shape == (GRID.bins, GRID.frames(40000))
    torch.testing.assert_close(stems.vocals + stems.accompaniment, song, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("heads", "anchors", "arguments", "message"),
    [
        (("mask",), None, {"use": "embedding"}, "use='embedding' needs .* no embedding head"),
        (("embedding",), None, {}, "use='embedding' needs an embedding with anchors; .* no anchors"),
        (("embedding",), torch.zeros(2, 4), {"use": "both"}, "use='both' needs a mask head"),
        (("mask",), None, {"use": "best"}, "use must be one of auto, embedding, mask, both, got 'best'"),
        (("mask",), torch.zeros(2, 9), {}, r"anchors must have shape \(2, 4\), got \(2, 9\)"),
        (("mask",), None, {"beta": -1.0}, "beta must be positive, got -1.0"),
        (("mask",), None, {"n_points": 1}, "n_points must be a whole number at least 2"),
        (("mask",), None, {"spatial": -1.0}, "spatial must be finite and not negative, got -1.0"),
    ],
)
def test_bad_settings(heads, anchors, arguments, message):
    with pytest.raises(ValueError, match=message):
        tp.NetworkSeparator(anchored(heads=heads)[0], anchors, **arguments)


# ---- ensemble with the primitives


def test_the_network_is_one_more_cue_in_equation_1(generator):
    """On the preset's grid, which is not the network's."""
    song = torch.randn(20000, generator=generator)
    network = tp.NetworkSeparator(anchored(heads=("mask",))[0])
    for preset in ("best", "companion"):
        separator = network.with_primitives(preset, 3.0)
        stems = separator(song, 44100)
        weights = separator.preset.weights
        assert list(stems.masks) == [*weights, "network"]
        wanted = tp.soft_assignment(
            list(stems.masks.values()), [*weights.values(), 3.0], separator.preset.beta
        )
        torch.testing.assert_close(stems.mask, wanted)
        assert stems.mask.shape[-2] == separator.preset.geometry.bins
        assert stems.confidence.isfinite()


def test_same_grid_needs_no_interpolation(generator):
    network = tp.NetworkSeparator(
        tp.build_network(dataclasses.replace(tp.NETWORKS["unet"], channels=2)).eval()
    )
    song = torch.randn(20000, generator=generator)
    with torch.inference_mode():
        ensemble = network.with_primitives()(song, 44100)
        assert torch.equal(ensemble.masks["network"], network(song, 44100).mask)
        assert network.with_primitives().weight == 1.0  # an eighth of the primitives


def test_bad_ensembles():
    network = tp.NetworkSeparator(anchored(heads=("mask",))[0])
    with pytest.raises(ValueError, match="weight must be positive, got 0"):
        network.with_primitives(weight=0)
    with pytest.raises(ValueError, match="unknown preset 'bst'"):
        network.with_primitives("bst")
    with pytest.raises(ValueError, match="a preset has no field 'betta'"):
        network.with_primitives(betta=1.0)


def test_the_spatial_cue_refines_a_network_and_an_ensemble_once(generator):
    stereo = torch.randn(2, 9000, generator=generator).cumsum(0)
    separators = []
    for strength in (0.0, 2.0):
        network = tp.NetworkSeparator(*anchored(), spatial=strength)
        separators.append((network, network.with_primitives(spatial=strength)))
    for plain, refined in zip(*separators, strict=True):
        geometry = plain.geometry
        with torch.no_grad():
            before, after = (x(stereo, geometry.sample_rate, channels=True) for x in (plain, refined))
        spectrum = tp.stft(stereo - stereo.mean(-1, keepdim=True), geometry)
        want = tp.spatial(spectrum, before.mask, sample_rate=geometry.sample_rate)
        torch.testing.assert_close(after.mask, want, atol=1e-4, rtol=0)
        assert not torch.equal(before.mask, after.mask)


# ---- files


def test_load(tmp_path, generator):
    network, anchors = anchored()
    save_checkpoint(tmp_path / "best.pt", network, anchors)
    song = torch.randn(9000, generator=generator)
    for use in ("embedding", "mask"):
        loaded = tp.load(tmp_path / "best.pt", use=use)
        saved = tp.NetworkSeparator(network, anchors, use=use)
        assert torch.equal(loaded(song, 16000).vocals, saved(song, 16000).vocals)
        assert loaded.identity == saved.identity
        assert not any(p.requires_grad for p in loaded.parameters()) and not loaded.training


def test_identity_depends_on_weights_and_settings():
    network, anchors = anchored()
    settings = ({}, {"use": "both"}, {"beta": 3.0}, {"n_points": None}, {"spatial": 0.0})
    identities = {tp.NetworkSeparator(network, anchors, **kwargs).identity for kwargs in settings}
    identities.add(tp.NetworkSeparator(network, anchors + 0.1).identity)
    identities.add(tp.NetworkSeparator(tp.build_network(TINY), anchors).identity)
    separator = tp.NetworkSeparator(network, anchors)
    identities |= {separator.with_primitives(*args).identity for args in ((), ("paper",), ("best", 3.0))}
    assert len(identities) == 10
    assert tp.NetworkSeparator(network, anchors).identity == separator.identity


def test_errors_of_load_name_the_file(tmp_path):
    with pytest.raises(CheckpointError, match=r"none\.pt: there is no such file"):
        tp.load(tmp_path / "none.pt")
    save_checkpoint(tmp_path / "a.pt", anchored(heads=("embedding",))[0])
    with pytest.raises(CheckpointError, match=r"a\.pt: use='embedding' needs .*no anchors"):
        tp.load(tmp_path / "a.pt")
