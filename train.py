"""Train a separation network from a folder of music, with no isolated recordings.

    python train.py --audio MUSIC --out RUN                     bootstrap from the primitives
    python train.py --audio MUSIC --out RUN --resume            go on after a stop
    python train.py --audio MUSIC --out RUN2 --teacher RUN/best.pt     a second generation
    python train.py --stems MUSDB18/train --out GT              the ceiling: true stems
    python train.py --audio MUSIC --stems FEW --out RUN         both, mixed
    torchrun --nproc_per_node 4 train.py --audio MUSIC --out RUN

Every song is cut into segments; a teacher separates them and says how far each can be trusted; estimates
of trusted segments are remixed across songs while the network learns from them. RUN holds `best.pt` and
`last.pt` (for `torchprim separate --checkpoint`), `labels.jsonl`, `log.jsonl`, and `examples/`.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist
from tqdm import tqdm

import torchprim as tp
from torchprim import json_lines
from torchprim.audio_error import AudioError
from torchprim.checkpoint import CheckpointError, read_checkpoint, save_checkpoint
from torchprim.examples import write_example
from torchprim.networks.build import build_network
from torchprim.networks.config import NETWORKS
from torchprim.presets import PRESETS
from torchprim.recipes import find_recipe, options
from torchprim.training import AutoClip, MixedStream, Trainer, held_out

SAVE_SECONDS = 30.0


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--audio", nargs="+", default=[], metavar="FOLDER", help="music without stems")
    add(
        "--stems", nargs="+", default=[], metavar="ROOT", help="songs with true stems: MUSDB18 or wav folders"
    )
    add("--out", required=True, metavar="RUN", help="folder of the run")
    add("--preset", choices=NETWORKS, default="paper", help="network and recipe (paper)")
    add("--teacher", default="pcl", metavar="pcl|CHECKPOINT", help="who separates the music (pcl)")
    add("--teacher-preset", choices=PRESETS, default="best", help="preset of pcl (best)")
    add("--resume", action="store_true", help="go on from RUN/last.pt; with none, start")
    add("--seed", type=int, default=0)
    add("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    add("--bank", choices=("auto", "device", "pinned"), default="auto", help="where decoded songs live")
    add("--cache", default=None, metavar="FOLDER", help="decoded songs (the user's cache folder)")
    add("--labels", default=None, metavar="FILE", help="labels of an earlier run (RUN/labels.jsonl)")
    add("--low", type=float, default=0.25, help="quantile of confidence from which segments are trusted")
    add("--high", type=float, default=1.0, help="quantile up to which they are")
    add("--stems-share", type=float, default=0.5, help="share of true stems beside --audio")
    add("--validation", type=float, default=0.1, help="share of songs held out")
    add("--every", type=int, default=4, help="steps from one renewal of an estimate to the next")
    add("--slots", type=int, default=128, help="segments whose estimates are kept")
    add("--teacher-batch", type=int, default=4, help="segments separated at a time")
    add("--threads", type=int, default=None, help="CPU threads")
    for name, kind, text in options():
        add(f"--{name.replace('_', '-')}", type=kind, default=None, help=f"{text} (the preset's)")
    args = parser.parse_args(argv)
    if not args.audio and not args.stems:
        parser.error("nothing to train on: give --audio, --stems, or both")
    return args


def start_ranks(name: str) -> tuple[int, int, torch.device]:
    """Rank and world from torchrun's variables, where it set them; and the device."""
    if "RANK" not in os.environ:
        return 0, 1, torch.device(name)
    device = torch.device(f"cuda:{os.environ.get('LOCAL_RANK', 0)}" if name.startswith("cuda") else name)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return dist.get_rank(), dist.get_world_size(), device


def streams(args, recipe, geometry, run: Path, rank: int, world: int, device):
    """The stream to learn from, and the one to validate with (None where no song can be spared)."""
    first = rank == 0
    place = {"device": device, "residence": args.bank, "cache": args.cache, "progress": first}
    settings = recipe.stream_settings() | {
        "geometry": geometry,
        "slots": args.slots,
        "every": args.every,
        "teacher_batch": args.teacher_batch,
    }
    found = []
    if args.audio:
        bank = tp.Bank(args.audio, geometry.sample_rate, **place)
        if args.teacher == "pcl":
            teacher = tp.PrimitiveSeparator(args.teacher_preset).to(device)
        else:
            teacher = tp.load(args.teacher, device)
        path = args.labels or run / "labels.jsonl"
        ranks = {"batch_size": args.teacher_batch, "rank": rank, "world": world, "progress": first}
        labels = tp.label(bank, teacher, path, **ranks)
        if world > 1:
            dist.barrier()
            labels = tp.label(bank, teacher, path, progress=False)  # the other ranks' lines
        found.append((bank, teacher, labels, (args.low, args.high), 1 - args.stems_share))
    if args.stems:
        found.append(
            (tp.StemBank(args.stems, geometry.sample_rate, **place), None, None, (0.0, 1.0), args.stems_share)
        )
    learn, check = [], []
    for bank, teacher, labels, quantiles, _ in found:
        out = held_out(bank.names, args.validation, args.seed)
        parts = [[], []]
        for i, segment in enumerate(bank.segments):
            parts[segment.song in out].append(i)
        make = {"labels": labels, "quantiles": quantiles, **settings}
        learn.append(
            tp.RemixStream(
                bank, teacher, recipe.batch_size, recipe.frames, args.seed,
                segments=parts[0], rank=rank, world=world, **make,
            )
        )  # fmt: skip
        if parts[1]:
            plain = make | {"eq": 0.0, "speed": 0.0, "pool": None, "slots": 8, "every": 10**9}
            if len(out) < 2:
                plain["coherent"] = 1.0  # one song alone has no partner
            check.append(
                tp.RemixStream(
                    bank, teacher, recipe.batch_size, recipe.frames, args.seed + 1, segments=parts[1], **plain
                )
            )
    shares = [share if len(found) > 1 else 1.0 for *_, share in found]
    return MixedStream(learn, shares, args.seed), MixedStream(check, shares, args.seed) if check else None


def main(argv: list[str] | None = None) -> int:
    args = arguments(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    run = Path(args.out)
    try:
        run.mkdir(parents=True, exist_ok=True)
        rank, world, device = start_ranks(args.device)
        train(args, run, rank, world, device)
    except (AudioError, CheckpointError, ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; --resume goes on from the last checkpoint", file=sys.stderr)
        return 130
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()
    return 0


def train(args, run: Path, rank: int, world: int, device: torch.device) -> None:
    recipe = find_recipe(args.preset, args)
    torch.manual_seed(args.seed)
    random.seed(args.seed)

    # --- network ---------------------------------------------------------------------------------
    config = NETWORKS[args.preset]
    last = run / "last.pt"
    resumed = read_checkpoint(last, device) if args.resume and last.exists() else None
    if resumed is not None and resumed.config != config:
        raise CheckpointError(last, f"holds a network {resumed.config.name!r}, not {args.preset!r} as given")
    network = (resumed.network if resumed else build_network(config).to(device)).train()

    # --- data ------------------------------------------------------------------------------------
    stream, held = streams(args, recipe, config.geometry, run, rank, world, device)
    checks = [held.batch(i) for i in range(recipe.validation_batches)] if held and rank == 0 else []

    # --- optimisation ----------------------------------------------------------------------------
    wrapped = network
    if world > 1:
        wrapped = torch.nn.parallel.DistributedDataParallel(
            network, device_ids=[device] if device.type == "cuda" else None
        )
    optimiser = torch.optim.Adam(network.parameters(), lr=recipe.rate, fused=device.type == "cuda")
    clip = AutoClip(recipe.autoclip if recipe.autoclip > 0 else None, recipe.clip)
    trainer = Trainer(
        wrapped,
        device,
        clustering=recipe.loss,
        balance=recipe.balance,
        order=recipe.order,
        frames=recipe.cluster_frames,
        bfloat16=recipe.use_bfloat16(device),
        seed=args.seed + rank,
    )
    step, best = 0, float("inf")
    if resumed is not None:
        state = resumed.training
        step, best = state["step"], state["best"]
        optimiser.load_state_dict(state["optimiser"])
        clip.load_state_dict(state["clip"], device)
        if trainer.anchors is not None:
            trainer.anchors.load_state_dict(state["anchors"])
        torch.set_rng_state(state["random"].cpu())
        if device.type == "cuda" and "random_cuda" in state:
            torch.cuda.set_rng_state(state["random_cuda"].cpu(), device)
    log = run / "log.jsonl"
    if rank == 0:
        json_lines.keep(log, lambda record: resumed is not None and record.get("step", 0) <= step)
        board = tensorboard(run)

    def save(path: Path) -> None:
        state = {
            "step": step,
            "best": best,
            "optimiser": optimiser.state_dict(),
            "clip": clip.state_dict(),
            "anchors": trainer.anchors.state_dict() if trainer.anchors else {},
            "random": torch.get_rng_state(),
            "recipe": recipe.to_dict(),
            "arguments": {
                k: v for k, v in vars(args).items() if isinstance(v, (int, float, str, list, bool))
            },
        }
        if device.type == "cuda":
            state["random_cuda"] = torch.cuda.get_rng_state(device)
        anchors = trainer.anchors.mean() if trainer.anchors else None
        save_checkpoint(path, network, anchors, state if path == last else None)

    # --- the loop --------------------------------------------------------------------------------
    bar = tqdm(
        total=recipe.steps, initial=step, desc="train", unit="batch", disable=rank > 0, file=sys.stderr
    )
    waiting: list[tuple[int, torch.Tensor]] = []  # losses stay on the device until they are written
    saved = began = time.monotonic()
    heard = recipe.batch_size * recipe.frames * config.geometry.hop_length / config.geometry.sample_rate
    start = step
    for group in optimiser.param_groups:
        group["lr"] = recipe.rate_at(step)
    while step < recipe.steps:
        batch = stream.batch(step)
        loss = trainer.loss(batch, step).total
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        clip(network)
        for group in optimiser.param_groups:
            group["lr"] = recipe.rate_at(step)
        optimiser.step()
        step += 1
        waiting.append((step, loss.detach()))
        bar.update()

        due = step % recipe.check_every == 0 or step == recipe.steps
        if rank == 0 and (due or step % recipe.log_every == 0 or time.monotonic() - saved > SAVE_SECONDS):
            values = torch.stack([value for _, value in waiting]).tolist()
            seconds = time.monotonic() - began
            json_lines.append(
                log, [{"step": s, "loss": v} for (s, _), v in zip(waiting, values, strict=True)]
            )
            for (s, _), value in zip(waiting, values, strict=True):
                board.add_scalar("loss", value, s)
            waiting.clear()
            hours = (step - start) * heard * world / seconds
            bar.set_postfix(
                loss=f"{sum(values) / len(values):.4f}", hours_per_hour=f"{hours:.0f}", refresh=False
            )
            if due:
                validation = trainer.validate(checks).item() if checks else values[-1]
                json_lines.append(log, [{"step": step, "validation": validation, "seconds": seconds}])
                board.add_scalar("validation", validation, step)
                if validation < best:
                    best = validation
                    save(run / "best.pt")
                if checks:
                    write_example(run / "examples" / f"{step:07d}", network, checks[0], config.geometry)
            if due or time.monotonic() - saved > SAVE_SECONDS:
                save(last)
                saved = time.monotonic()
    bar.close()
    if rank == 0:
        print(f"{step} steps; best validation loss {best:.4f}; {run / 'best.pt'}")


class _NoBoard:
    """Where TensorBoard is not installed."""

    def add_scalar(self, *_) -> None:
        return


def tensorboard(run: Path):
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        return _NoBoard()
    return SummaryWriter(run / "tensorboard")


if __name__ == "__main__":
    sys.exit(main())
