"""Train a separation network from a folder of music, with no isolated recordings.

    python train.py --audio MUSIC --out RUN                         bootstrap from the primitives
    python train.py --audio MUSIC --out RUN --resume                resume after a stop
    python train.py --audio MUSIC --out RUN2 --teacher RUN/best.pt  a second generation
    python train.py --stems MUSDB18/train --out GT                  the ceiling: true stems
    python train.py --audio MUSIC --stems FEW --out RUN             both, mixed
    python train.py --audio MUSIC --stems FEW --stems-share 0 ...   true stems for validation alone
    torchrun --nproc_per_node 4 train.py --audio MUSIC --out RUN

Every song is cut into segments; a teacher separates them and says how far each can be trusted; estimates
of trusted segments are remixed across songs while the network learns from them. RUN holds `best.pt` and
`last.pt` (for `torchprim separate --checkpoint`), `labels.jsonl`, `songs.jsonl`, `log.jsonl`, `examples/`,
and `report.html`, a page that tells how it goes, rewritten at each validation. It may lie inside the music:
what torchprim wrote is left out.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import math
import os
import sys
import time
from pathlib import Path

# Set before torch is imported, see torchprim/cli/main.py.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
import torch.distributed as dist
from tqdm import tqdm

from torchprim.cli.option_types import number, seed, threads
from torchprim.ensemble.presets import PRESETS
from torchprim.networks.build import build_network
from torchprim.networks.checkpoint import first_not_finite, save_checkpoint
from torchprim.networks.config import NETWORKS, NetworkConfig
from torchprim.report.run import RunReport
from torchprim.training.data import DataSettings, prepare
from torchprim.training.examples import write_example
from torchprim.training.ranks import USER_ERRORS, RankError, Ranks, start_ranks
from torchprim.training.recipes import Recipe, find_recipe, options
from torchprim.training.run_folder import RunLog, changes, find_run, reserve, restoring
from torchprim.training.trainer import Trainer

SAVE_SECONDS = 30.0  # maximum interval of `last.pt`
NETWORK_OPTIONS = {
    "layers": int,
    "hidden": int,
    "channels": int,
    "dropout": number,
    "cues": str,  # a preset of primitives, or nothing
    "heads": lambda words: tuple(words.split(",")),
}


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """Parse the command line; options of network and recipe are None where the preset's value holds."""
    parser = argparse.ArgumentParser(
        prog="train.py",
        usage="%(prog)s [--audio FOLDER ...] [--stems ROOT ...] --out RUN [options, see --help]",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add, data = parser.add_argument, DataSettings()
    low, high = data.quantiles
    add("--audio", nargs="+", default=[], metavar="FOLDER", help="music without stems")
    add("--stems", nargs="+", default=[], metavar="ROOT", help="songs with stems: MUSDB18 or wav folders")
    add("--out", required=True, metavar="RUN", help="folder of the run")
    add("--preset", choices=NETWORKS, default="small", help="network and recipe (small)")
    add("--teacher", default=data.teacher, metavar="pcl|CHECKPOINT", help="who separates the music (pcl)")
    add("--teacher-preset", choices=PRESETS, default=data.teacher_preset, help="preset of pcl (best)")
    add("--resume", action="store_true", help="resume from RUN/last.pt; with none, start")
    add("--seed", type=seed, default=0, help="of every random choice (0)")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="(auto)")
    add("--threads", type=threads, default=None, help="CPU threads")
    add(
        "--bank", choices=("auto", "device", "pinned"), default=data.residence, help="memory of decoded songs"
    )
    add("--cache", default=data.cache, metavar="FOLDER", help="decoded songs (the user's cache folder)")
    add("--labels", default=data.labels, metavar="FILE", help="labels made before (RUN/labels.jsonl)")
    add("--quietest", type=number, default=data.quietest, help="least loudness of a segment in LUFS (-40)")
    add("--low", type=number, default=low, help="quantile of confidence from which segments are trusted")
    add("--high", type=number, default=high, help="quantile up to which they are")
    add("--stems-share", type=number, default=data.stems_share, help="share of batches with true stems")
    add("--validation", type=number, default=data.validation, help="share of songs held out (0.1)")
    for name, convert in NETWORK_OPTIONS.items():
        add(f"--{name}", type=convert, default=None, help="of the network (the preset's)")
    for name, convert, text in options():
        convert = number if convert is float else convert
        add(f"--{name.replace('_', '-')}", type=convert, default=None, help=f"{text} (the preset's)")
    args = parser.parse_args(argv)
    args.words = list(sys.argv[1:] if argv is None else argv)
    if not args.audio and not args.stems:
        parser.error("nothing to train on: give --audio, --stems, or both")
    if not 0 <= args.stems_share < 1:
        parser.error(f"argument --stems-share: must lie in [0, 1), got {args.stems_share}")
    return args


def network_config(args: argparse.Namespace) -> NetworkConfig:
    """Return the preset's network, with the options given replaced."""
    changes = {name: getattr(args, name) for name in NETWORK_OPTIONS if getattr(args, name) is not None}
    return dataclasses.replace(NETWORKS[args.preset], **changes)


def recipe_of(args: argparse.Namespace) -> Recipe:
    """Return the preset's recipe, with the options given replaced."""
    return find_recipe(args.preset, {name: getattr(args, name) for name, *_ in options()})


def data_settings(args: argparse.Namespace) -> DataSettings:
    """Return the settings of the data."""
    return DataSettings(
        audio=tuple(args.audio),
        stems=tuple(args.stems),
        teacher=args.teacher,
        teacher_preset=args.teacher_preset,
        labels=args.labels,
        quantiles=(args.low, args.high),
        stems_share=args.stems_share,
        validation=args.validation,
        residence=args.bank,
        cache=args.cache,
        quietest=args.quietest,
    )


def train(
    args: argparse.Namespace,
    config: NetworkConfig,
    recipe: Recipe,
    run: Path,
    ranks: Ranks,
    stack: contextlib.ExitStack,
) -> None:
    """Train a network, or resume its training, until the recipe's last step; `stack` closes the bar."""
    # --- data ------------------------------------------------------------------------------------
    with ranks.sharing_errors():
        checkpoint = find_run(run, config, args.resume)
    remix = dataclasses.replace(recipe.remix, geometry=config.geometry)
    data = prepare(data_settings(args), remix, run, args.seed, ranks)

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
            print(f"resumed with other settings: {changed}", file=sys.stderr)
    log = RunLog(run, step, ranks.first)
    settings = {k: v for k, v in vars(args).items() if v not in (None, []) and k != "words"}
    settings |= config.to_dict() | recipe.to_dict()
    report = RunReport(
        run, data.train.streams, *data.example(), steps=recipe.steps, settings=settings, words=args.words
    )
    started = time.monotonic() - spent
    bar = tqdm(total=recipe.steps, initial=step, desc="train", unit="batch", disable=not ranks.first)
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
        bar.write(", ".join(f"{k} {v:.4g}" for k, v in record.items()), file=sys.stderr)
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


def main(argv: list[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    args = arguments(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    first = os.environ.get("RANK", "0") == "0"
    try:
        ranks, run = start_ranks(args.device), Path(args.out)
        with ranks.naming_errors(), contextlib.ExitStack() as stack:
            with ranks.sharing_errors():
                config, recipe = network_config(args), recipe_of(args)
                if ranks.first:
                    stack.enter_context(reserve(run))
            train(args, config, recipe, run, ranks, stack)
            if ranks.world > 1:
                dist.barrier()
                dist.destroy_process_group()
    except (RankError, *USER_ERRORS) as error:
        if first or not isinstance(error, RankError):
            print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; --resume goes on from the last checkpoint", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
