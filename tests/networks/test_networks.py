"""Networks: shapes, invariance to level and batch, dtypes, gradients; configurations; input features."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import torchprim as tp
from torchprim.networks.features import log_features, mel_filter_bank, root_mean_square

GRID = tp.Geometry(8000, 64, 16)  # 33 bins
BOTH = ("embedding", "mask")
TINY = {
    "blstm": tp.NetworkConfig("tiny", geometry=GRID, layers=2, hidden=6, dimensions=4, heads=BOTH),
    "mel": tp.NetworkConfig("tiny", geometry=GRID, layers=1, hidden=6, dimensions=4, heads=BOTH, mel=20),
    "projected": tp.NetworkConfig(
        "tiny", geometry=GRID, layers=1, hidden=6, dimensions=4, heads=BOTH, projection=9
    ),
    "unet": tp.NetworkConfig("tiny", "unet", geometry=GRID, layers=3, channels=4, dimensions=4, heads=BOTH),
}


def network(kind, seed=0):
    torch.manual_seed(seed)
    return tp.build_network(TINY[kind]).eval()


def spectrogram(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) ** 3


@pytest.mark.parametrize("kind", TINY)
@given(frames=st.integers(1, 40), batch=st.integers(1, 3))
@settings(max_examples=12, deadline=None)
def test_any_number_of_frames(kind, frames, batch):
    with torch.inference_mode():
        embedding, mask = network(kind)(spectrogram(batch, 33, frames))
    assert embedding.shape == (batch, 33, frames, 4)
    assert mask.shape == (batch, 33, frames)
    assert ((mask > 0) & (mask < 1)).all()
    assert (embedding > 0).all()
    torch.testing.assert_close(embedding.norm(dim=-1), torch.ones(batch, 33, frames))


@pytest.mark.parametrize("kind", TINY)
def test_batch_equals_loop_at_any_level(kind):
    net, batch = network(kind), spectrogram(3, 33, 21)
    with torch.inference_mode():
        together = net(batch)
        for i, gain in enumerate((1.0, 2.0**-20, 1000.0)):
            alone = net(batch[i : i + 1] * gain)
            for one, batched in zip(alone, together, strict=True):
                torch.testing.assert_close(one[0], batched[i], atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", TINY)
def test_silence_is_finite(kind):
    quiet = torch.zeros(2, 33, 5, requires_grad=True)
    net = network(kind)
    output = net(quiet)
    sum(x.sum() for x in output).backward()
    for value in (*output, quiet.grad, *(p.grad for p in net.parameters())):
        assert torch.isfinite(value).all()


@pytest.mark.parametrize("kind", TINY)
def test_chosen_frames_equal_those_of_all(kind):
    net, batch = network(kind), spectrogram(2, 33, 21)
    frames = torch.tensor([0, 3, 20])
    with torch.inference_mode():
        chosen, all_frames = net(batch, frames), net(batch)
    torch.testing.assert_close(chosen.embedding, all_frames.embedding[:, :, frames])
    torch.testing.assert_close(chosen.mask, all_frames.mask)


@pytest.mark.parametrize("kind", TINY)
def test_output_is_float32_under_autocast_and_float64_in_float64(kind):
    net, batch = network(kind), spectrogram(2, 33, 9)
    with torch.autocast("cpu", torch.bfloat16):
        reduced = net(batch)
    full = net(batch)
    for low, high in zip(reduced, full, strict=True):
        assert low.dtype == torch.float32
        torch.testing.assert_close(low, high, atol=0.05, rtol=0)
    # The norm is computed in float32.
    torch.testing.assert_close(reduced.embedding.norm(dim=-1), torch.ones(2, 33, 9))
    assert all(x.dtype == torch.float64 for x in network(kind).double()(batch.double()))


@pytest.mark.parametrize("kind", TINY)
def test_all_parameters_receive_gradients(kind):
    net = network(kind).train()
    embedding, mask = net(spectrogram(2, 33, 16))
    (embedding[..., 0].sum() + mask.square().sum()).backward()
    for name, parameter in net.named_parameters():
        assert parameter.grad is not None and parameter.grad.any(), name


def test_a_single_head():
    for head in BOTH:
        for kind in ("blstm", "unet"):
            net = tp.build_network(dataclasses.replace(TINY[kind], heads=(head,)))
            output = net(spectrogram(1, 33, 4))
            assert (output.embedding is None) == (head == "mask")
            assert (output.mask is None) == (head == "embedding")
            assert not any(
                name.startswith({"mask": "embedding", "embedding": "mask"}[head])
                for name, _ in net.named_parameters()
            )


def test_named_configurations_are_the_papers():
    paper = tp.NETWORKS["paper"]
    assert (paper.kind, paper.layers, paper.dropout, paper.dimensions, paper.heads) == (
        "blstm", 4, 0.3, 20, ("embedding",),
    )  # fmt: skip
    assert paper.geometry == tp.Geometry(44100, 2048, 512)
    net = tp.build_network(dataclasses.replace(paper, hidden=8))
    assert net.recurrent.num_layers == 4 and net.recurrent.bidirectional and net.recurrent.dropout == 0.3
    assert tp.NETWORKS["chimera"].mel == 300 and tp.NETWORKS["chimera"].heads == BOTH
    assert tp.NETWORKS["unet"].kind == "unet" and "mask" in tp.NETWORKS["unet"].heads


@pytest.mark.parametrize("name", tp.NETWORKS)
def test_configurations_survive_a_round_trip(name):
    import json

    config = tp.NETWORKS[name]
    assert config.name == name
    plain = json.loads(json.dumps(config.to_dict()))
    assert tp.NetworkConfig.from_dict(plain) == config
    with pytest.raises(ValueError, match=r"other fields: hidden$"):
        tp.NetworkConfig.from_dict({k: v for k, v in plain.items() if k != "hidden"})
    with pytest.raises(ValueError, match=r"other fields: depth$"):
        tp.NetworkConfig.from_dict({**plain, "depth": 3})
    with pytest.raises(ValueError, match="cannot be read"):
        tp.NetworkConfig.from_dict({**plain, "geometry": {"rate": 3}})
    with pytest.raises(ValueError, match="other fields"):
        tp.NetworkConfig.from_dict(None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "gru"}, "kind must be one of blstm, unet, got 'gru'"),
        ({"heads": ()}, "heads must be one or both"),
        ({"heads": ("masks",)}, "heads must be one or both"),
        ({"heads": "mask"}, "heads must be one or both"),
        ({"layers": 0}, "layers must be a whole number at least 1, got 0"),
        ({"hidden": 2.5}, "hidden must be a whole number"),
        ({"dimensions": 1}, "dimensions must be a whole number at least 2, got 1"),
        ({"dropout": 1.0}, r"dropout must lie in \[0, 1\), got 1.0"),
        ({"mel": -1}, "mel must be a whole number at least 0"),
        ({"beta": 0.0}, "beta must be positive"),
    ],
)
def test_bad_settings(change, message):
    with pytest.raises(ValueError, match=message):
        tp.NetworkConfig(**change)


def test_unknown_network():
    with pytest.raises(ValueError, match="unknown network 'big'; there are paper, small, chimera, unet"):
        tp.build_network("big")


def test_features_of_real_music_are_standardised():
    from torchprim.audio.find import demo_song
    from torchprim.audio.load import load_audio

    song, rate = load_audio(demo_song())
    x = log_features(tp.stft(song.mean(0)).abs())
    assert rate == 44100 and abs(x.mean()) < 0.7 and 0.7 < x.std() < 1.4


def test_root_mean_square_neither_underflows_nor_overflows():
    for gain in (1e-30, 1.0, 1e25):
        a = spectrogram(33, 8) * gain
        torch.testing.assert_close(
            root_mean_square(a).double(), a.double().square().mean().sqrt().reshape(1, 1), rtol=1e-5, atol=0
        )


@pytest.mark.parametrize(("bands", "bins", "rate"), [(300, 1025, 44100), (20, 33, 8000), (64, 257, 16000)])
def test_mel_filter_bank(bands, bins, rate):
    bank = mel_filter_bank(bands, bins, rate)
    torch.testing.assert_close(bank.sum(1), torch.ones(bands))
    assert (bank >= 0).all()
    assert (bank.sum(0)[1:-1] > 0).all()  # 0 Hz and Nyquist lie on the edges
    centroids = bank @ torch.arange(bins, dtype=torch.float32)
    assert (centroids.diff() > -1e-4).all()


def test_mel_filter_bank_equals_torchaudio_where_bands_are_wide():
    """HTK filters, which torchaudio does not normalise."""
    functional = pytest.importorskip("torchaudio.functional")
    wanted = functional.melscale_fbanks(1025, 0.0, 22050.0, 64, 44100, norm=None, mel_scale="htk").T
    got = mel_filter_bank(64, 1025, 44100)
    wanted = wanted / wanted.sum(1, keepdim=True)
    torch.testing.assert_close(got[20:], wanted[20:], atol=1e-4, rtol=0)


@pytest.mark.parametrize("kind", ["blstm", "unet"])
@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((1, 65, 4), torch.float32, r"magnitude must have shape \(B, 33, N\), got \(1, 65, 4\)"),
        ((1, 1, 33, 4), torch.float32, r"magnitude must have shape \(B, 33, N\), got \(1, 1, 33, 4\)"),
        ((33, 4), torch.float32, r"magnitude must have shape \(B, F, N\), got \(33, 4\)"),
        ((1, 33, 0), torch.float32, r"magnitude must not be empty, got shape \(1, 33, 0\)"),
        ((0, 33, 4), torch.float32, r"magnitude must not be empty, got shape \(0, 33, 4\)"),
        ((1, 33, 4), torch.float64, r"magnitude must be of the weights' torch.float32, got torch.float64"),
        (
            (1, 33, 4),
            torch.complex64,
            r"magnitude must be real and floating point, got dtype torch.complex64",
        ),
    ],
)
def test_spectra_that_are_not_the_network_s(kind, shape, dtype, message):
    geometry = tp.Geometry(8000, 64, 16)
    config = tp.NetworkConfig("tiny", kind, ("mask",), geometry, layers=1, hidden=4, channels=4)
    with pytest.raises(ValueError, match=f"^{message}$"):
        tp.build_network(config)(torch.zeros(shape, dtype=dtype))


@pytest.mark.parametrize("kind", ["blstm", "unet"])
def test_networks_in_double_precision(kind):
    config = tp.NetworkConfig("tiny", kind, ("mask",), tp.Geometry(8000, 64, 16), layers=1, hidden=4)
    network, magnitude = tp.build_network(config).double().eval(), torch.rand(1, 33, 4, dtype=torch.float64)
    assert network(magnitude).mask.dtype == torch.float64
    with pytest.raises(ValueError, match=r"must be of the weights' torch.float64, got torch.float32"):
        network(magnitude.float())
