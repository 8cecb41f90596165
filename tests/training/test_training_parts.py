"""Parts of the training loop: clipping, anchors, mixed streams, validation split, run folder, recipes."""

import copy
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import torchprim as tp
from torchprim.bootstrap.batch import make_batch
from torchprim.bootstrap.mixed_stream import MixedStream
from torchprim.errors import CheckpointError
from torchprim.losses.grams import weighted_grams
from torchprim.networks.build import build_network
from torchprim.networks.checkpoint import save_checkpoint
from torchprim.networks.config import NetworkConfig
from torchprim.sources import FOUR, TWO
from torchprim.training.anchors import Anchors
from torchprim.training.clipping import AutoClip
from torchprim.training.recipes import RECIPES, find_recipe, options
from torchprim.training.run_folder import RunLog, find_run
from torchprim.training.splits import held_out
from torchprim.training.trainer import Trainer

TINY = NetworkConfig("tiny", layers=1, hidden=4, heads=("embedding", "mask"))


def with_gradient(*values):
    layer = torch.nn.Linear(len(values), 1, bias=False)
    layer.weight.grad = torch.tensor([values])
    return layer


def test_autoclip_is_a_percentile_of_all_norms_so_far():
    clip = AutoClip(25)
    norms = []
    for i, norm in enumerate([4.0, 1.0, 3.0, 0.5, 6.0, 2.0]):
        layer = with_gradient(norm * 0.6, norm * 0.8)
        if i == 3:  # resumed
            state, clip = clip.state_dict(), AutoClip(25)
            clip.load_state_dict(state, torch.device("cpu"))
        assert clip(layer).item() == pytest.approx(norm)
        norms.append(norm)
        wanted = min(norm, np.percentile(norms, 25))
        assert layer.weight.grad.norm().item() == pytest.approx(wanted, rel=1e-5)


def test_autoclip_keeps_the_latest_norms():
    clip = AutoClip(100, history=2)
    for norm in (9.0, 1.0, 2.0):
        layer = with_gradient(norm)
        clip(layer)
    assert clip.norms.max() == 2
    again = AutoClip(100, history=2)
    again.load_state_dict(clip.state_dict(), torch.device("cpu"))
    for each in (clip, again):  # the ring buffer continues at the same index
        each(with_gradient(1.5))
    assert torch.equal(clip.norms, again.norms)


def test_fixed_clipping():
    layer = with_gradient(3.0, 4.0)
    AutoClip(norm=1.0)(layer)
    assert layer.weight.grad.norm().item() == pytest.approx(1.0, rel=1e-5)
    small = with_gradient(0.3, 0.4)
    AutoClip(norm=1.0)(small)
    assert small.weight.grad.norm().item() == pytest.approx(0.5)
    with pytest.raises(ValueError, match="percentile must lie in"):
        AutoClip(101)


def test_anchors_are_the_weighted_mean_of_each_class(generator):
    anchors = Anchors(3, torch.device("cpu"), momentum=0.5)
    sums, counts = torch.zeros(2, 3), torch.zeros(2, 1)
    for _ in range(4):
        embedding = torch.rand(2, 5, 6, 3, generator=generator)
        labels = torch.rand(2, 5, 6, generator=generator) > 0.5
        weights = torch.rand(2, 5, 6, generator=generator)
        grams = weighted_grams(embedding, labels, weights)
        anchors.update(grams.cross, grams.labels)
        square = weights.square()[..., None]
        for row, member in enumerate((~labels, labels)):
            sums[row] = sums[row] / 2 + (square * embedding)[member].sum(0) / 2
            counts[row] = counts[row] / 2 + square[member].sum() / 2
    torch.testing.assert_close(anchors.mean(), sums / counts)
    again = Anchors(3, torch.device("cpu"))
    assert not again.mean().any()
    again.load_state_dict(anchors.state_dict())
    assert torch.equal(again.mean(), anchors.mean())


def test_anchors_of_four_classes(generator):
    anchors = Anchors(3, torch.device("cpu"), momentum=0.0, classes=4)
    assert anchors.mean().shape == (4, 3) and not anchors.mean().any()
    embedding = torch.rand(2, 5, 6, 3, generator=generator)
    labels = torch.randint(3, (2, 5, 6), generator=generator).byte()  # none of class 3
    square = torch.rand(2, 5, 6, generator=generator)
    grams = weighted_grams(embedding, labels, square.sqrt(), classes=4)
    anchors.update(grams.cross, grams.labels)
    for k, mean in enumerate(anchors.mean()[:3]):
        member = square * (labels == k)
        wanted = (member[..., None] * embedding).sum((0, 1, 2)) / member.sum()
        torch.testing.assert_close(mean, wanted)
    assert not anchors.mean()[3].any()
    again = Anchors(3, torch.device("cpu"), classes=4)
    again.load_state_dict(anchors.state_dict())
    assert torch.equal(again.mean(), anchors.mean())


def test_mixed_stream_has_its_shares_and_is_a_function_of_the_step():
    streams = [
        SimpleNamespace(rank=0, sources=TWO, batch=lambda step, name=name: (name, step)) for name in "ab"
    ]
    mixed = MixedStream(streams, [0.25, 0.75], seed=3)
    drawn = [batch for batch, _ in zip(mixed, range(400), strict=False)]
    assert [step for _, step in drawn] == list(range(400))
    assert 70 < sum(name == "a" for name, _ in drawn) < 130
    again = MixedStream(streams, [0.25, 0.75], seed=3)
    assert [again.batch(step) for step in (399, 7)] == [drawn[399], drawn[7]]
    for shares in ([1.0], [1.0, 0.0], []):
        with pytest.raises(ValueError, match="shares must be positive"):
            MixedStream(streams, shares)
    four = SimpleNamespace(rank=0, sources=FOUR, batch=None)
    with pytest.raises(ValueError, match="must be of the same sources, got vocals, accompaniment; drums"):
        MixedStream([streams[0], four], [1.0, 1.0])


def test_held_out_songs():
    names = [f"/music/{i}.mp3" for i in range(50)]
    out = held_out(names, 0.1, 0)
    assert len(out) == 5
    assert held_out(names, 0.1, 1) != out
    assert held_out(names, 0.0, 0) == held_out(names[:2], 0.5, 0) == set()
    assert len(held_out(names[:3], 0.9, 0)) == 1  # two songs are left for training pairs
    more = held_out([*names, "/music/50.mp3"], 0.1, 0)
    assert len({*out} & more) >= 4
    other = held_out([name.replace("/music", "/stems") for name in names], 0.1, 0)
    assert other == out  # the same songs elsewhere
    with pytest.raises(ValueError, match="validation must lie in"):
        held_out(names, 1.5, 0)


def batches(count, generator):
    return [make_batch(*torch.randn(2, 2, 5120, generator=generator), TINY.geometry) for _ in range(count)]


@pytest.mark.parametrize("order", [1, 2])
def test_a_resumed_trainer_repeats_its_steps(order, generator):
    recipe = find_recipe("small", dict(autoclip=50.0, order=order, precision="fp32"))
    made = batches(6, generator)

    def trainer(network):
        return Trainer(network, recipe, seed=5)

    torch.manual_seed(0)
    whole = trainer(build_network(TINY).train())
    losses = []
    for step in range(6):
        if step == 3:
            weights, state = copy.deepcopy((whole.network.state_dict(), whole.state_dict()))
        losses.append(whole.step(made[step], step).item())
    resumed = trainer(build_network(TINY).train())
    resumed.network.load_state_dict(weights)
    resumed.load_state_dict(state)
    assert [resumed.step(made[step], step).item() for step in range(3, 6)] == losses[3:]


def test_phase_sensitive_targets_add_up(generator):
    """The trainer takes the accompaniment's target to be the mixture minus the vocals' target."""
    from torchprim.losses.masking import phase_sensitive

    batch = batches(1, generator)[0]
    accompaniment, vocals = batch.spectra.unbind(1)
    mixture = accompaniment + vocals
    both = phase_sensitive(mixture, vocals) + phase_sensitive(mixture, accompaniment)
    torch.testing.assert_close(both, batch.magnitude, atol=1e-3, rtol=1e-4)


def test_validation_leaves_the_network_in_training_mode(generator):
    trainer = Trainer(build_network(TINY).train(), RECIPES["small"])
    made = batches(2, generator)
    assert trainer.validate(made) == trainer.validate(iter(made))
    assert trainer.network.training
    assert not trainer.anchors.counts.any()  # held-out songs do not move the anchors


def test_log_drops_records_after_the_checkpoint(tmp_path):
    log = RunLog(tmp_path, 0)
    log.write([{"step": step, "loss": 1.0} for step in range(1, 8)])
    RunLog(tmp_path, 5).write([{"step": 6, "loss": 2.0}])
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert len(lines) == 6
    assert lines[-1] == '{"step": 6, "loss": 2.0}'
    RunLog(tmp_path, 0, writes=False).write([{"step": 1}])
    assert len((tmp_path / "log.jsonl").read_text().splitlines()) == 6


def test_a_checkpoint_without_training_state_is_not_resumed(tmp_path):
    save_checkpoint(tmp_path / "last.pt", build_network(TINY), torch.zeros(2, 20))
    with pytest.raises(CheckpointError, match="holds no state of a training"):
        find_run(tmp_path, TINY, resume=True)
    with pytest.raises(CheckpointError, match="of an earlier run"):
        find_run(tmp_path, TINY, resume=False)
    assert find_run(tmp_path / "new", TINY, resume=True) is None


def test_recipes():
    assert set(RECIPES) == set(tp.NETWORKS)
    decaying = find_recipe("small", dict(steps=100, rate=1.0, final_rate=0.1))
    assert [round(decaying.rate_at(step), 2) for step in (0, 50, 100, 200)] == [1.0, 0.55, 0.1, 0.1]
    for change in ({"loss": "x"}, {"order": 3}, {"balance": 2.0}, {"precision": "fp8"}, {"slots": 0}):
        (name,) = change
        with pytest.raises(ValueError, match=name):
            find_recipe("small", change)


@pytest.mark.parametrize("preset", sorted(RECIPES))
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"ratio_low": -6.0, "ratio_high": 3.0, "natural": 1, "pool": 20, "frames": 99},
        {"bin_confidence": 1, "coherent": 0.25, "slots": 7, "loss": "whitened", "autoclip": 10.0, "eq": 1.5},
    ],
)
def test_options_of_a_recipe_are_inverted(preset, changes):
    """Plain values, as in a checkpoint and on the command line, give the recipe back."""
    recipe = find_recipe(preset, changes)
    values = recipe.to_dict()
    assert changes.items() <= values.items()
    assert all(type(value) in (int, float, str) for value in values.values())
    assert find_recipe("paper", values) == find_recipe(preset, values) == recipe
    assert list(values) == [name for name, *_ in options()]
    assert recipe.differences(values) == ""


def test_unknown_option():
    with pytest.raises(ValueError, match="a recipe has no option 'ratio'"):
        find_recipe("small", {"ratio": 2.0})
