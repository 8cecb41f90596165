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
`last.pt` (for `torchprim separate --checkpoint`), `labels.jsonl`, `log.jsonl`, and `examples/`.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import os
import sys
import time
from pathlib import Path

# As the command line does, and before torch is loaded: see torchprim/cli/main.py.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch
import torch.distributed as dist
from tqdm import tqdm

from torchprim.ensemble.presets import PRESETS
from torchprim.networks.build import build_network
from torchprim.networks.checkpoint import save_checkpoint
from torchprim.networks.config import NETWORKS, NetworkConfig
from torchprim.training.data import DataSettings, prepare
from torchprim.training.examples import write_example
from torchprim.training.ranks import FAILURES, RankError, Ranks, start_ranks
from torchprim.training.recipes import Recipe, find_recipe, options
from torchprim.training.run_folder import RunLog, find_run
from torchprim.training.trainer import Trainer

SAVE_SECONDS = 30.0  # between checkpoints, at most: half of what a kill may cost
NETWORK_OPTIONS = {
    "layers": int,
    "hidden": int,
    "channels": int,
    "dropout": float,
    "cues": str,  # a preset of primitives, or nothing
    "heads": lambda words: tuple(words.split(",")),
}


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add, data = parser.add_argument, DataSettings()
    low, high = data.quantiles
    add("--audio", nargs="+", default=[], metavar="FOLDER", help="music without stems")
    add("--stems", nargs="+", default=[], metavar="ROOT", help="songs with stems: MUSDB18 or wav folders")
    add("--out", required=True, metavar="RUN", help="folder of the run")
    add("--preset", choices=NETWORKS, default="paper", help="network and recipe (paper)")
    add("--teacher", default=data.teacher, metavar="pcl|CHECKPOINT", help="who separates the music (pcl)")
    add("--teacher-preset", choices=PRESETS, default=data.teacher_preset, help="preset of pcl (best)")
    add("--resume", action="store_true", help="resume from RUN/last.pt; with none, start")
    add("--seed", type=int, default=0, help="of every random choice (0)")
    add("--device", choices=("auto", "cpu", "cuda"), default="auto", help="(auto)")
    add("--threads", type=int, default=None, help="CPU threads")
    add(
        "--bank", choices=("auto", "device", "pinned"), default=data.residence, help="memory of decoded songs"
    )
    add("--cache", default=data.cache, metavar="FOLDER", help="decoded songs (the user's cache folder)")
    add("--labels", default=data.labels, metavar="FILE", help="labels made before (RUN/labels.jsonl)")
    add("--quietest", type=float, default=data.quietest, help="least loudness of a segment in LUFS (-40)")
    add("--low", type=float, default=low, help="quantile of confidence from which segments are trusted")
    add("--high", type=float, default=high, help="quantile up to which they are")
    add("--stems-share", type=float, default=data.stems_share, help="share of batches with true stems")
    add("--validation", type=float, default=data.validation, help="share of songs held out (0.1)")
    for name, kind in NETWORK_OPTIONS.items():
        add(f"--{name}", type=kind, default=None, help="of the network (the preset's)")
    for name, kind, text in options():
        add(f"--{name.replace('_', '-')}", type=kind, default=None, help=f"{text} (the preset's)")
    args = parser.parse_args(argv)
    if not args.audio and not args.stems:
        parser.error("nothing to train on: give --audio, --stems, or both")
    if not 0 <= args.stems_share < 1:
        parser.error(f"argument --stems-share: must lie in [0, 1), got {args.stems_share}")
    return args


def network_config(args: argparse.Namespace) -> NetworkConfig:
    """The preset's network, with what was asked for in the place of its own."""
    changes = {name: getattr(args, name) for name in NETWORK_OPTIONS if getattr(args, name) is not None}
    return dataclasses.replace(NETWORKS[args.preset], **changes)


def recipe_of(args: argparse.Namespace) -> Recipe:
    """The preset's recipe, likewise."""
    return find_recipe(args.preset, {name: getattr(args, name) for name, *_ in options()})


def data_settings(args: argparse.Namespace) -> DataSettings:
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


def main(argv: list[str] | None = None) -> int:
    args = arguments(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    first = os.environ.get("RANK", "0") == "0"
    try:
        ranks = start_ranks(args.device)
        with ranks.together():
            config, recipe = network_config(args), recipe_of(args)
        train(args, config, recipe, Path(args.out), ranks)
        if ranks.world > 1:
            dist.barrier()
            dist.destroy_process_group()
    except (RankError, *FAILURES) as error:
        if first or not isinstance(error, RankError):
            print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; --resume goes on from the last checkpoint", file=sys.stderr)
        return 130
    return 0


def train(args: argparse.Namespace, config: NetworkConfig, recipe: Recipe, run: Path, ranks: Ranks) -> None:
    # --- data ------------------------------------------------------------------------------------
    with ranks.together():
        resumed = find_run(run, config, args.resume)
    remix = dataclasses.replace(recipe.remix, geometry=config.geometry)
    data = prepare(data_settings(args), remix, run, args.seed, ranks)

    # --- the network and its training ------------------------------------------------------------
    torch.manual_seed(args.seed)  # the same weights on all ranks
    network = (resumed.network if resumed else build_network(config)).to(ranks.device).train()
    trainer = Trainer(network, recipe, seed=args.seed, rank=ranks.rank, world=ranks.world)
    step, best, spent = 0, math.inf, 0.0  # spent: seconds of training, of earlier runs too
    if resumed is not None:
        state = resumed.training
        step, best, spent = state["step"], state["best"], state["spent"]
        trainer.load_state_dict(state["trainer"])
        if ranks.first and (changed := recipe.differences(state["trainer"]["recipe"])):
            print(f"resumed with other settings: {changed}", file=sys.stderr)
    log = RunLog(run, step, ranks.first)
    begun = time.monotonic() - spent
    bar = tqdm(
        total=recipe.steps, initial=step, desc="train", unit="batch", disable=not ranks.first, file=sys.stderr
    )

    def anchors() -> torch.Tensor | None:
        return trainer.anchors.mean() if trainer.anchors else None

    def save(name: str) -> None:
        state = {
            "step": step,
            "best": best,
            "spent": time.monotonic() - begun,
            "trainer": trainer.state_dict(),
            "arguments": vars(args),
        }
        save_checkpoint(run / name, network, anchors(), state)

    def validate(loss: float) -> float:
        """Log how the network does on held-out songs; return the loss by which the best is chosen."""
        record = {"step": step, "seconds": time.monotonic() - begun}
        if data.validation is not None:
            batches = [data.validation.batch(number) for number in range(recipe.validation_batches)]
            loss = trainer.validate(batches)
            record["validation"] = loss
            write_example(run / "examples" / f"{step:07d}", network, batches[0], config.geometry)
        if data.stem_validation is not None:
            scores = data.stem_validation.scores(network, anchors())
            known = {name: value for name, value in scores._asdict().items() if math.isfinite(value)}
            record |= {f"sd_sdr_{name}": value for name, value in known.items()}
        log.write([record])
        bar.write(", ".join(f"{k} {v:.4g}" for k, v in record.items()), file=sys.stderr)
        return loss

    # --- the loop --------------------------------------------------------------------------------
    frame = config.geometry.hop_length / config.geometry.sample_rate
    hours = remix.batch_size * ranks.world * remix.frames * frame / 3600  # of audio, in a step
    losses: list[torch.Tensor] = []  # stay on the device until they are written
    saved, start, started = time.monotonic(), step, time.monotonic()
    while step < recipe.steps:
        losses.append(trainer.step(data.train.batch(step), step))
        step += 1
        bar.update()
        check = step % recipe.check_every == 0 or step == recipe.steps
        late = time.monotonic() - saved > SAVE_SECONDS
        if not ranks.first or not (check or late or step % recipe.log_every == 0):
            losses = losses if ranks.first else []
            continue
        values = torch.stack(losses).tolist()
        losses = []
        first = step - len(values) + 1
        for number, value in enumerate(values, first):
            if not math.isfinite(value):
                bar.close()
                raise ValueError(f"the loss of step {number} is {value}; try a smaller --rate, or fp32")
        log.write([{"step": number, "loss": value} for number, value in enumerate(values, first)])
        mean = sum(values) / len(values)
        rate = (step - start) / (time.monotonic() - started)
        bar.set_postfix(
            loss=f"{mean:.4f}", batches_per_s=f"{rate:.2f}", hours_per_h=f"{rate * hours * 3600:.0f}"
        )
        if check and (loss := validate(mean)) < best:
            best = loss
            save("best.pt")
        if check or late:
            save("last.pt")
            saved = time.monotonic()
    bar.close()
    if ranks.first:
        what = "validation" if data.validation is not None else "training"
        print(
            f"{step} steps, {hours * step:.1f} hours of audio; best {what} loss {best:.4f}: {run / 'best.pt'}"
        )


if __name__ == "__main__":
    sys.exit(main())
