"""Public objects copy, pickle, are saved by torch, averaged, and reach a spawned worker."""

import copy
import io
import pickle

import pytest
import torch
from torch.optim.swa_utils import AveragedModel

import torchprim as tp

RATE = 44100


def audio():
    return torch.randn(6000, generator=torch.Generator().manual_seed(0))


def network():
    return tp.NetworkSeparator(tp.build_network("unet").eval())


MODULES = {
    "separator": lambda: tp.PrimitiveSeparator("best"),
    "one cue": lambda: tp.PrimitiveSeparator("companion", "hpss"),
    "network separator": network,
    "ensemble": lambda: network().with_primitives("paper"),
    "network": lambda: tp.build_network(tp.NETWORKS["small"]),
    "hpss": lambda: tp.HPSS(power=torch.nn.Parameter(torch.tensor(2.0))),
    "long_hpss": tp.LongHPSS,
    "ft2d": tp.FT2D,
    "melody": tp.Melody,
    "repet_sim": tp.RepetSim,
    "spatial": tp.Spatial,
}
VALUES = {
    "preset": lambda: tp.PRESETS["best"],
    "network config": lambda: tp.NETWORKS["small"],
    "geometry": tp.Geometry,
    "remix settings": tp.RemixSettings,
    "mixture": lambda: tp.Mixture(audio(), RATE),
    "separation": lambda: tp.PrimitiveSeparator(method="hpss")(audio(), RATE),
    "pitch track": lambda: tp.track_pitch(audio(), RATE),
    "labels": lambda: tp.Labels(*torch.rand(3, 4)),
    "audio error": lambda: tp.AudioError("song.mp3", "no such file"),
    "checkpoint error": lambda: tp.CheckpointError("best.pt", "no such file"),
}


def saved(value):
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


COPIES = {"copy": copy.copy, "deepcopy": copy.deepcopy, "save": saved}
COPIES["pickle"] = lambda value: pickle.loads(pickle.dumps(value))


@pytest.mark.parametrize("name", [*MODULES, *VALUES])
def test_copies(name):
    value = (MODULES | VALUES)[name]()
    for how, copied in COPIES.items():
        other = copied(value)
        assert type(other) is type(value), how
        if isinstance(value, torch.nn.Module):
            torch.testing.assert_close(dict(other.state_dict()), dict(value.state_dict()))
        if hasattr(value, "identity"):
            assert other.identity == value.identity
        if not isinstance(value, tp.Mixture):  # whose line is its address
            assert repr(other) == repr(value)


@pytest.mark.parametrize("name", MODULES)
def test_averages(name):
    module = MODULES[name]()
    average = AveragedModel(module)
    average.update_parameters(module)
    torch.testing.assert_close(dict(average.module.state_dict()), dict(module.state_dict()))


def _separate(queue, separator, x):
    queue.put(separator(x, RATE).vocals.sum().item())


def test_a_spawned_worker():
    context = torch.multiprocessing.get_context("spawn")
    queue, separator = context.Queue(), tp.PrimitiveSeparator("paper")
    worker = context.Process(target=_separate, args=(queue, separator, audio()))
    worker.start()
    got = queue.get(timeout=120)
    worker.join()
    assert got == pytest.approx(separator(audio(), RATE).vocals.sum().item(), abs=1e-3)
