"""Work on a second stream: the same values, in order on a CPU, beside the rest on a GPU."""

import pytest
import torch

import torchprim as tp
from benchmarks.sound import synthetic_batch
from torchprim.ensemble.side_stream import Beside


def test_on_a_cpu_it_runs_at_once():
    seen = []
    work = Beside(lambda: seen.append("work") or 3, like=torch.ones(1))
    seen.append("after")
    assert work.result() == 3 and seen == ["work", "after"]


def test_the_melody_is_first_and_masks_keep_their_order():
    separator = tp.PrimitiveSeparator("best")
    mixture = tp.Mixture(synthetic_batch(1, 1.0), 44100)
    assert list(separator.cue_masks(mixture)) == list(separator.cues.names)


@pytest.mark.gpu
def test_on_a_gpu_it_runs_on_another_stream():
    x = torch.rand(1000, 1000, device="cuda")
    with torch.no_grad():
        work = Beside(lambda: (torch.cuda.current_stream(), x @ x), like=x)
        stream, product = work.result()
    assert stream != torch.cuda.current_stream() and stream.priority < 0
    assert torch.equal(product, x @ x)


@pytest.mark.gpu
def test_masks_beside_each_other_are_those_one_after_the_other():
    separator = tp.PrimitiveSeparator("best").cuda()
    audio = synthetic_batch(4, 5.0, device="cuda")
    for _ in range(3):
        with torch.no_grad():
            beside = separator.cue_masks(tp.Mixture(audio, 44100))
        alone = separator.cue_masks(tp.Mixture(audio, 44100))  # gradients are recorded: one stream
        for name, mask in alone.items():
            assert torch.equal(beside[name], mask), name
