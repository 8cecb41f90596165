"""Separation by a network of K sources: stems, masks, confidence, long recordings, loading, refusals."""

import copy
import dataclasses

import pytest
import torch

import torchprim as tp
from torchprim.networks.checkpoint import save_checkpoint
from torchprim.networks.heads import NetworkOutput
from torchprim.separators import base
from torchprim.sources import FOUR, TWO, class_names

GRID = tp.Geometry(16000, 256, 64)
THREE = ("strings", "brass", "winds")
TINY = tp.NetworkConfig(
    "tiny", geometry=GRID, layers=1, hidden=6, channels=4, dimensions=4, heads=("embedding", "mask")
)


def anchored(sources=FOUR, kind="blstm", **changes):
    torch.manual_seed(0)
    config = dataclasses.replace(TINY, kind=kind, sources=sources, **changes)
    network = tp.build_network(config).eval().requires_grad_(False)
    return network, torch.nn.functional.normalize(torch.rand(len(sources), 4) + torch.eye(4)[: len(sources)])


class Bands(torch.nn.Module):
    """Network whose class k is band k of as many as there are sources, in embedding and mask."""

    def __init__(self, sources, heads, hard=0.94):
        super().__init__()
        self.config = dataclasses.replace(TINY, sources=sources, heads=heads, dimensions=len(sources))
        self.hard = torch.nn.Parameter(torch.tensor(hard))

    def forward(self, magnitude, frames=None):
        count, (batch, bins, n) = len(self.config.sources), magnitude.shape
        band = torch.arange(bins) * count // bins
        rows = torch.nn.functional.one_hot(band, count) * self.hard + (1 - self.hard) / count
        masks = rows.T[None, :, :, None].expand(batch, count, bins, n)
        embedding = torch.nn.functional.normalize(masks.movedim(1, -1), dim=-1)
        if count == 2:
            masks = masks[:, 1]
        heads = self.config.heads
        return NetworkOutput(embedding if "embedding" in heads else None, masks if "mask" in heads else None)


@pytest.mark.parametrize("sources", [FOUR, THREE, ("brass", "strings")])
@pytest.mark.parametrize("use", ["embedding", "mask", "both"])
def test_each_stem_is_that_of_its_own_class(sources, use, generator):
    separator = tp.NetworkStemSeparator(
        Bands(sources, ("embedding", "mask")), torch.eye(len(sources)), use=use, beta=20.0
    )
    song = torch.randn(16000, generator=generator)
    song = song - song.mean()
    result = separator(song, 16000)
    assert isinstance(result, tp.StemSeparation) and tuple(result.stems) == separator.sources == sources
    torch.testing.assert_close(sum(result.stems.values()), song, atol=1e-5, rtol=0)
    torch.testing.assert_close(result.mask.sum(0), torch.ones(GRID.bins, GRID.frames(16000)))
    for name, stem in result.stems.items():
        k = class_names(sources).index(name)
        power = tp.stft(stem, GRID).abs().square().sum(-1)
        band = torch.arange(GRID.bins) * len(sources) // GRID.bins
        assert power[band == k].sum() > 0.9 * power.sum()
    assert result.silhouette > 0.9 and result.posterior > 0.9


@pytest.mark.parametrize("kind", ["blstm", "unet"])
@pytest.mark.parametrize("use", ["auto", "embedding", "mask", "both"])
def test_shapes_batches_and_channels(kind, use, generator):
    separator = tp.NetworkStemSeparator(*anchored(FOUR, kind), use=use)
    batch = 0.1 * torch.randn(2, 12345, generator=generator)
    result = separator(batch, 22050)
    wanted = {"auto": ["mask"], "mask": ["mask"], "embedding": ["embedding"], "both": ["embedding", "mask"]}
    assert list(result.masks) == wanted[use] and result.mask.shape[:3] == (2, 4, GRID.bins)
    torch.testing.assert_close(result.mask, sum(result.masks.values()) / len(result.masks))
    torch.testing.assert_close(result.mask.sum(1), torch.ones_like(result.mask[:, 0]))
    torch.testing.assert_close(sum(result.stems.values()), batch, atol=1e-5, rtol=0)
    for i in range(2):  # batch equals loop
        alone = separator(batch[i], 22050)
        for name in FOUR:
            torch.testing.assert_close(alone.stems[name], result.stems[name][i], atol=1e-5, rtol=0)
        torch.testing.assert_close(alone.confidence, result.confidence[i], atol=1e-3, rtol=0)
    stereo = separator(batch, 22050, channels=True)
    assert stereo.stems["bass"].shape == batch.shape and stereo.confidence.shape == ()
    torch.testing.assert_close(sum(stereo.stems.values()), batch, atol=1e-5, rtol=0)
    double = separator(batch.reshape(2, 1, 1, -1).double(), 22050)
    assert double.stems["bass"].dtype == torch.float64 and double.confidence.shape == (2, 1, 1)
    none = separator(torch.empty(0, 6000), 22050)
    assert none.mask.shape[:2] == (0, 4) and none.confidence.shape == (0,)


def test_a_network_with_cues_starts_at_the_ensemble(generator):
    torch.manual_seed(0)
    network = tp.build_network(dataclasses.replace(tp.NETWORKS["small"], sources=FOUR, cues="four")).eval()
    song = torch.randn(2, 30000, generator=generator).cumsum(-1) / 50
    with torch.inference_mode():
        result = tp.NetworkStemSeparator(network)(song, 44100, channels=True)
        expected = tp.StemSeparator()(song, 44100, channels=True)
    assert (result.mask - expected.mask).abs().mean() < 0.03
    torch.testing.assert_close(sum(result.stems.values()), song, atol=1e-4, rtol=0)


def test_the_confidence_of_masks_is_that_of_an_embedding_with_unit_centres(generator):
    song = torch.randn(9000, generator=generator)
    song = song - song.mean()
    result = tp.NetworkStemSeparator(anchored(heads=("mask",))[0])(song, 16000)
    points = result.mask.movedim(0, -1)
    wanted = tp.confidence_measure(
        points,
        tp.stft(song, GRID).abs(),
        [0.5] * 4,
        centres=torch.eye(4),
        generator=torch.Generator().manual_seed(0),
    )
    for name in ("confidence", "silhouette", "posterior"):
        torch.testing.assert_close(getattr(result, name), getattr(wanted, name), atol=1e-5, rtol=1e-4)


def test_for_two_masks_that_embedding_is_one_mask(generator):
    """Weights of 1/2 make the distance of two masks that of one: the paper's measure for K = 2."""
    mask, magnitude = torch.rand(65, 40, generator=generator), torch.rand(65, 40, generator=generator)
    one, two = (
        tp.confidence_measure(masks, magnitude, weights, n_points=None, centres=centres)
        for masks, weights, centres in (
            ([mask], None, None),
            ([1 - mask, mask], [0.5, 0.5], torch.eye(2)),
        )
    )
    torch.testing.assert_close(torch.stack(one), torch.stack(two))


@pytest.mark.parametrize("sources", [FOUR, THREE])
def test_long_recordings_in_pieces_and_stretches(sources, monkeypatch, generator):
    monkeypatch.setattr(base, "PIECE_SECONDS", 1.0)
    monkeypatch.setattr(base, "OVERLAP_SECONDS", 0.2)
    song = torch.randn(2, 40000, generator=generator)
    separator = tp.NetworkStemSeparator(*anchored(sources))
    whole = separator(song, 16000, channels=True, keep_masks=True)
    assert whole.mask.shape == (len(sources), GRID.bins, GRID.frames(40000))
    torch.testing.assert_close(sum(whole.stems.values()), song, atol=1e-5, rtol=0)
    parts = list(separator.stream(lambda a, b: song[:, a:b], 40000, 16000, channels=True))
    assert len(parts) > 2 and parts[0].mask is None
    for name in sources:
        joined = torch.cat([part.stems[name] for part in parts], -1)
        torch.testing.assert_close(joined, whole.stems[name], atol=1e-5, rtol=0)
    torch.testing.assert_close(parts[-1].confidence, whole.confidence)


def test_the_rest_takes_what_masks_cannot_give():
    assert tp.NetworkStemSeparator(*anchored(FOUR)).rest == "other"
    assert tp.NetworkStemSeparator(*anchored(THREE)).rest == "winds"
    constant = torch.full((2, 3000), 0.3)
    for rest in THREE:
        result = tp.NetworkStemSeparator(*anchored(THREE), rest=rest)(constant, 44100)
        for name, stem in result.stems.items():
            assert torch.equal(stem, constant if name == rest else torch.zeros_like(constant))
        assert not result.confidence.any()


def test_load_returns_the_separator_of_the_sources(tmp_path, generator):
    song, path = torch.randn(9000, generator=generator), tmp_path / "best.pt"
    for sources in (FOUR, THREE, TWO[::-1]):
        network, anchors = anchored(sources)
        save_checkpoint(path, network, anchors)
        loaded, saved = tp.load(path, use="both"), tp.NetworkStemSeparator(network, anchors, use="both")
        assert isinstance(loaded, tp.NetworkStemSeparator) and loaded.sources == sources
        assert loaded.identity == saved.identity and not loaded.training
        for one, other in zip(
            loaded(song, 16000).stems.values(), saved(song, 16000).stems.values(), strict=True
        ):
            assert torch.equal(one, other)
        assert tp.load(path, rest=sources[0]).rest == sources[0]
        with pytest.raises(tp.CheckpointError, match=r"best\.pt: spatial is no setting of a network of"):
            tp.load(path, spatial=1.0)
        with pytest.raises(tp.CheckpointError, match=r"best\.pt: rest must be one of"):
            tp.load(path, rest="noise")
    save_checkpoint(path, *anchored(TWO))
    assert isinstance(tp.load(path), tp.NetworkSeparator) and tp.load(path).sources == TWO
    with pytest.raises(tp.CheckpointError, match="rest is no setting of a network of vocals, accompaniment"):
        tp.load(path, rest="vocals")


def test_identity_depends_on_weights_settings_sources_and_rest():
    network, anchors = anchored(FOUR)
    renamed = copy.deepcopy(network)
    renamed.config = dataclasses.replace(network.config, sources=FOUR[::-1])
    separators = [
        tp.NetworkStemSeparator(network, anchors),
        tp.NetworkStemSeparator(network, anchors, rest="bass"),
        tp.NetworkStemSeparator(network, anchors, use="both"),
        tp.NetworkStemSeparator(network, anchors + 0.1),
        tp.NetworkStemSeparator(renamed, anchors),
    ]
    assert len({separator.identity for separator in separators}) == 5
    assert tp.NetworkStemSeparator(network, anchors).identity == separators[0].identity


def test_networks_of_other_sources_are_refused():
    two, four = anchored(TWO), anchored(FOUR)
    with pytest.raises(ValueError, match="and the network of drums, bass, other, vocals: see NetworkStemSep"):
        tp.NetworkSeparator(*four)
    with pytest.raises(ValueError, match="the network is of vocals and accompaniment: see NetworkSeparator"):
        tp.NetworkStemSeparator(*two)
    stems = tp.NetworkStemSeparator(*four)
    for combine in (stems.with_primitives, lambda: tp.EnsembleSeparator(stems)):
        with pytest.raises(ValueError, match="ensemble is of vocals and accompaniment, the network of drums"):
            combine()
    with pytest.raises(ValueError, match=r"anchors must have shape \(4, 4\), got \(2, 4\)"):
        tp.NetworkStemSeparator(four[0], two[1])
    with pytest.raises(ValueError, match="rest must be one of drums, bass, other, vocals, got 'noise'"):
        tp.NetworkStemSeparator(*four, rest="noise")


def test_every_separator_names_its_sources():
    network = tp.NetworkSeparator(*anchored(TWO))
    for separator in (tp.PrimitiveSeparator(), network, network.with_primitives()):
        assert separator.sources == TWO
    assert tp.StemSeparator().sources == FOUR
