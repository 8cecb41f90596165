"""On a GPU neither masks nor the remix stream nor a training step synchronises with the device."""

import contextlib

import pytest
import torch

import torchprim as tp
from benchmarks.sound import synthetic_bank, synthetic_batch
from torchprim.training.recipes import find_recipe
from torchprim.training.trainer import Trainer

pytestmark = pytest.mark.gpu


@contextlib.contextmanager
def no_synchronisation():
    """Raise an error on any synchronisation with the device."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    return synthetic_bank(tmp_path_factory.mktemp("cache"), 6, 1.5, "cuda")


@pytest.mark.parametrize("preset", sorted(tp.PRESETS))
def test_separation(preset):
    separator = tp.PrimitiveSeparator(preset).cuda()
    rate = separator.geometry.sample_rate
    audio = synthetic_batch(2, 3.0, rate, device="cuda")
    for _ in range(3):
        separator(audio, rate)
    with no_synchronisation():
        stems = separator(audio, rate)
    assert stems.vocals.isfinite().all() and stems.confidence.isfinite().all()


@pytest.mark.parametrize("preset", ["best", "paper"])
def test_gradients(preset):
    """To the audio, from masks and confidence of a mixture and from stems of a longer one in pieces."""
    separator = tp.PrimitiveSeparator(preset).cuda()
    short, long = (synthetic_batch(1, seconds, device="cuda") for seconds in (3.0, 40.0))

    def run():
        audio = short.clone().requires_grad_()
        estimate = separator.estimate(tp.Mixture(audio, 44100))
        (estimate.mask.mean() + estimate.confidence.confidence.sum()).backward()
        pieces = long.clone().requires_grad_()
        separator(pieces, 44100, keep_masks=True).vocals.square().mean().backward()
        return audio.grad, pieces.grad

    for _ in range(2):
        run()
    with no_synchronisation():
        gradients = run()
    assert all(x.isfinite().all() and x.any() for x in gradients)


@pytest.mark.parametrize("preset", ["best", "paper"])
def test_separation_as_a_cuda_graph(preset):
    """Replayed on other music, a captured separation equals an eager one."""
    separator = tp.PrimitiveSeparator(preset).cuda()
    generator = torch.Generator("cuda")
    first, second = (synthetic_batch(2, 3.0, seed=seed, device="cuda") for seed in (0, 1))
    with torch.no_grad():
        expected = separator(second, 44100, generator=generator.manual_seed(0))
        audio = first.clone()
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            separator(audio, 44100, generator=generator)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(generator)
        with torch.cuda.graph(graph):
            stems = separator(audio, 44100, generator=generator)
        audio.copy_(second)
        graph.replay()
    torch.testing.assert_close(stems.mask, expected.mask)
    torch.testing.assert_close(stems.vocals, expected.vocals)
    torch.testing.assert_close(stems.posterior, expected.posterior)


@pytest.mark.parametrize("changes", [{}, {"eq": 3.0}, {"bin_confidence": True}, {"pool": 50}])
def test_stream(bank, changes):
    teacher = tp.PrimitiveSeparator("best").cuda()
    settings = {"slots": 2, "every": 1, "teacher_batch": 2, "coherent": 0.5, **changes}
    stream = tp.RemixStream(bank, teacher, batch_size=4, frames=20, **settings)
    for step in range(4):  # warm-up: kernels compile, constant tables and allocations are cached
        stream.batch(step)
    with no_synchronisation():
        batches = [stream.batch(step) for step in range(4, 10)]  # with a refresh of the store
    assert all(batch.magnitude.isfinite().all() for batch in batches)


@pytest.mark.parametrize("preset", sorted(tp.NETWORKS))
@pytest.mark.parametrize("changes", [{}, {"autoclip": 10.0}, {"loss": "whitened"}, {"cluster_frames": 0}])
def test_step(bank, preset, changes):
    settings = {"autoclip": 0.0, "batch_size": 2, "frames": 20, "cluster_frames": 8, **changes}
    recipe = find_recipe(preset, settings)
    network = tp.build_network(preset).cuda().train()
    trainer = Trainer(network, recipe)
    stream = tp.RemixStream(bank, tp.PrimitiveSeparator("best").cuda(), batch_size=2, frames=20, slots=4)
    batches = [stream.batch(step) for step in range(6)]
    for step in range(3):
        trainer.step(batches[step], step)
    with no_synchronisation():
        losses = [trainer.step(batches[step], step) for step in range(3, 6)]
    assert torch.stack(losses).isfinite().all()
