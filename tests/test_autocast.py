"""Under `torch.autocast` the primitives, the transforms and the ensemble compute in float32 all the same."""

import pytest
import torch

import torchprim as tp
from torchprim.ensemble.kmeans import refine_centres

RATE = 44100


def recording(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)).cumsum(-1).sin()


def separated(audio):
    stems = tp.PrimitiveSeparator("best", n_points=100)(audio, RATE, channels=True)
    return torch.cat([stems.vocals.flatten(), stems.mask.flatten(), stems.confidence[None]])


def centres(audio):
    return refine_centres(audio.reshape(-1, 4), torch.eye(4)[:2])


FUNCTIONS = {
    "hpss": lambda x: tp.hpss(tp.stft(x).abs()),
    "ft2d": lambda x: tp.ft2d(tp.stft(x).abs()).repetition,
    "melody": lambda x: tp.melody(tp.stft(x).abs()),
    "soft melody": lambda x: tp.melody(tp.stft(x).abs(), soft=True),
    "long_hpss": tp.long_hpss,
    "repet_sim": lambda x: tp.repet_sim(tp.stft(x).abs(), 0.05),
    "spatial": lambda x: tp.spatial(tp.stft(x), tp.hpss(tp.stft(x[0]).abs())),
    "istft": lambda x: tp.istft(tp.stft(x), length=x.shape[-1]),
    "resample": lambda x: tp.resample(x, RATE, 16000),
    "k-means": centres,
    "separator": separated,
    "sd_sdr": lambda x: tp.sd_sdr(x, x.roll(1)),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_results_are_those_without(name):
    audio = recording(2, 12000)
    function = FUNCTIONS[name]
    results = []
    for enabled in (False, True):
        leaf = audio.clone().requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            result = function(leaf)
        # As torch advises, the backward pass is outside.
        (gradient,) = torch.autograd.grad(result[result.isfinite()].sum(), leaf)
        results.append((result, gradient))
    assert results[0][0].dtype == results[1][0].dtype
    torch.testing.assert_close(*results, rtol=0, atol=0)


def test_a_network_keeps_its_autocast():
    layer = torch.nn.Linear(3, 3)
    with torch.autocast("cpu", torch.bfloat16):
        tp.hpss(torch.rand(9, 9), 3)
        assert layer(torch.rand(2, 3)).dtype == torch.bfloat16
