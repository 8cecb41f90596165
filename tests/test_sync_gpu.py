"""On a GPU neither the remix stream nor the training step waits for the device: batches are made ahead."""

import contextlib
from types import SimpleNamespace

import pytest
import torch

import torchprim as tp
from tests.training_runs import write_music
from torchprim.recipes import find_recipe
from torchprim.training import Trainer

pytestmark = pytest.mark.gpu


@contextlib.contextmanager
def no_waiting():
    """Whatever waits for the device raises."""
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.fixture(scope="module")
def bank(tmp_path_factory):
    folder = write_music(tmp_path_factory.mktemp("data") / "music", 6)
    settings = {"quietest": -60.0, "cache": folder.parent / "cache", "device": "cuda", "progress": False}
    return tp.Bank([folder], **settings)


@pytest.mark.parametrize("changes", [{}, {"eq": 3.0, "speed": 0.05}, {"bin_confidence": True}, {"pool": 50}])
def test_stream(bank, changes):
    teacher = tp.PrimitiveSeparator("best").cuda()
    settings = {"slots": 2, "every": 1, "teacher_batch": 2, "coherent": 0.5, **changes}
    stream = tp.RemixStream(bank, teacher, 4, 20, **settings)
    for step in range(4):  # kernels compile, tables of constants are made, allocations settle
        stream.batch(step)
    with no_waiting():
        batches = [stream.batch(step) for step in range(4, 10)]  # the store is renewed, too
    assert all(batch.magnitude.isfinite().all() for batch in batches)


@pytest.mark.parametrize("preset", sorted(tp.NETWORKS))
@pytest.mark.parametrize("autoclip", [0.0, 10.0])
def test_step(bank, preset, autoclip):
    recipe = find_recipe(
        preset, SimpleNamespace(autoclip=autoclip, batch_size=2, frames=20, cluster_frames=8)
    )
    network = tp.build_network(preset).cuda().train()
    trainer = Trainer(network, recipe)
    stream = tp.RemixStream(bank, tp.PrimitiveSeparator("best").cuda(), 2, 20, slots=4)
    batches = [stream.batch(step) for step in range(6)]
    for step in range(3):
        trainer.step(batches[step], step)
    with no_waiting():
        losses = [trainer.step(batches[step], step) for step in range(3, 6)]
    assert torch.stack(losses).isfinite().all()
