"""The training of a network, until the recipe's last step: data, steps, log, checkpoints, validation."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import math
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch

from torchprim.cli.train.cost import check_cost
from torchprim.cli.train.options import data_settings
from torchprim.networks.build import build_network
from torchprim.networks.checkpoint import Checkpoint, first_not_finite, save_checkpoint
from torchprim.networks.config import NetworkConfig
from torchprim.progress import bar as progress_bar
from torchprim.progress import write
from torchprim.report.run import RunReport
from torchprim.training.data import prepare
from torchprim.training.examples import write_example
from torchprim.training.ranks import Ranks
from torchprim.training.recipes import Recipe
from torchprim.training.run_folder import RunLog, changes, restoring
from torchprim.training.trainer import Trainer

SAVE_SECONDS = 30.0  # maximum interval of `last.pt`


def train(
    args: argparse.Namespace,
    config: NetworkConfig,
    recipe: Recipe,
    run: Path,
    checkpoint: Checkpoint | None,
    ranks: Ranks,
    stack: contextlib.ExitStack,
    accept: Callable[[], None],
) -> None:
    """Train a network until the recipe's last step.

    Args:
        args: all options.
        config: of the network.
        recipe: of its training.
        run: folder of the run.
        checkpoint: to go on from; None for a new run.
        ranks: rank of this process, world size and device.
        stack: closes the bar.
        accept: called once the data are there: nothing is wrong with the settings.
    """
    # --- data ------------------------------------------------------------------------------------
    with ranks.sharing_errors():
        if ranks.device.type == "cpu" and not args.anyway:
            done = checkpoint.training["step"] if checkpoint else 0
            check_cost(config, recipe, recipe.steps - done)
    remix = dataclasses.replace(recipe.remix, geometry=config.geometry)
    data = prepare(data_settings(args), remix, run, args.seed, ranks)
    with ranks.sharing_errors():
        accept()

    # --- network, optimiser, log -----------------------------------------------------------------
    torch.manual_seed(args.seed)  # the same initial weights on all ranks
    network = (checkpoint.network if checkpoint else build_network(config)).to(ranks.device).train()
    trainer = Trainer(network, recipe, seed=args.seed, rank=ranks.rank, world=ranks.world)
    step, best, spent = 0, math.inf, 0.0  # steps taken, lowest validation loss, seconds of earlier runs
    if checkpoint is not None:
        state = checkpoint.training
        step, best, spent = state["step"], state["best"], state["spent"]
        with ranks.sharing_errors(), restoring(run):
            trainer.load_state_dict(state["trainer"])
            changed = changes(state, recipe, ranks.world)
        if ranks.first and changed:
            write(f"resumed with other settings: {changed}", sys.stderr)
    log = RunLog(run, step, ranks.first)
    settings = {k: v for k, v in vars(args).items() if v not in (None, [])}
    settings |= config.to_dict() | recipe.to_dict()
    report = RunReport(run, data.train.streams, *data.example(), steps=recipe.steps, settings=settings)
    started = time.monotonic() - spent
    bar = progress_bar("train", total=recipe.steps, initial=step, unit="batch", shows=ranks.first)
    stack.enter_context(bar)

    def anchors() -> torch.Tensor | None:
        return trainer.anchors.mean() if trainer.anchors else None

    def check_finite(value: float, what: str) -> None:
        if not math.isfinite(value):
            raise ValueError(f"{what} is {value}; try a smaller --rate, or fp32")

    def save(name: str, step: int, best: float) -> None:
        if first_not_finite(network.state_dict()) is not None:  # keep the last good file
            check_finite(math.nan, f"a weight after step {step}")
        state = {
            "step": step,
            "best": best,
            "spent": time.monotonic() - started,
            "world": ranks.world,
            "trainer": trainer.state_dict(),
            "arguments": vars(args),
        }
        save_checkpoint(run / name, network, anchors(), state)

    def validate(step: int, loss: float) -> float:
        """Log a validation; return its loss, or without held-out songs the training loss given."""
        record = {"step": step, "seconds": time.monotonic() - started}
        if data.validation is not None:
            batches = [data.validation.batch(number) for number in range(recipe.validation_batches)]
            loss = trainer.validate(batches)
            check_finite(loss, f"the validation loss after step {step}")
            record["validation"] = loss
            write_example(run / "examples" / f"{step:07d}", network, batches[0], config.geometry)
        if data.stem_validation is not None:
            record |= data.stem_validation.record(network, anchors())
        log.write([record])
        report.write(network, anchors())
        write(", ".join(f"{k} {v:.4g}" for k, v in record.items()), sys.stderr)
        return loss

    # --- training loop ---------------------------------------------------------------------------
    frame = config.geometry.hop_length / config.geometry.sample_rate
    hours = remix.batch_size * ranks.world * remix.frames * frame / 3600  # of audio a step
    losses: list[torch.Tensor] = []  # not logged yet; on the device
    first_step, loop_started = step, time.monotonic()
    last_saved = loop_started
    while step < recipe.steps:
        losses.append(trainer.step(data.train.batch(step), step))
        step += 1
        bar.update()
        if not ranks.first:
            losses.clear()
            continue
        validating = step % recipe.check_every == 0 or step == recipe.steps
        saving = validating or time.monotonic() - last_saved > SAVE_SECONDS
        if not (saving or step % recipe.log_every == 0):
            continue
        values = torch.stack(losses).tolist()
        losses.clear()
        records = [{"step": n, "loss": loss} for n, loss in enumerate(values, step - len(values) + 1)]
        for record in records:
            check_finite(record["loss"], f"the loss of step {record['step']}")
        log.write(records)
        mean = sum(values) / len(values)
        rate = (step - first_step) / (time.monotonic() - loop_started)
        bar.set_postfix(
            loss=f"{mean:.4f}", batches_per_s=f"{rate:.2f}", hours_per_h=f"{rate * hours * 3600:.0f}"
        )
        if validating and (loss := validate(step, mean)) < best:
            best = loss
            save("best.pt", step, best)
        if saving:
            save("last.pt", step, best)
            last_saved = time.monotonic()
    bar.close()
    if ranks.first:
        what = "validation" if data.validation is not None else "training"
        print(
            f"{step} steps, {hours * step:.1f} hours of audio; best {what} loss {best:.4f}: {run / 'best.pt'}"
        )
