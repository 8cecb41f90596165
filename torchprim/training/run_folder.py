"""Folder of a run: its log, also for TensorBoard, and the checkpoint to resume from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torchprim.errors import CheckpointError, FileError, is_out_of_memory
from torchprim.files import append_json_lines, filter_json_lines
from torchprim.locks import reserved
from torchprim.networks.checkpoint import Checkpoint, read_checkpoint
from torchprim.networks.config import NetworkConfig
from torchprim.training.recipes import Recipe


@contextmanager
def reserve(folder: Path) -> Iterator[None]:
    """Reserve the folder of a run, created if missing, for this training: a second one would mix its files.

    Raises:
        FileError: while another training writes to it.
        OSError: if it cannot be created.
    """
    try:
        with reserved(folder / ".lock"):
            yield
    except BlockingIOError as error:
        raise FileError(folder, "is in use by another training; give another --out, or wait") from error


def find_run(folder: Path, config: NetworkConfig, resume: bool) -> Checkpoint | None:
    """Return the checkpoint to resume from; None for a new run.

    Args:
        folder: of the run; created if missing.
        config: of the network to train.
        resume: whether to resume from `last.pt`, if there is one.

    Raises:
        CheckpointError: for a checkpoint of another network, or one that would be overwritten.
        OSError: if the folder cannot be created.
    """
    folder.mkdir(parents=True, exist_ok=True)
    last = folder / "last.pt"
    if not resume:
        for path in (last, folder / "best.pt"):
            if path.exists():
                raise CheckpointError(
                    path, "of an earlier run: --resume goes on with it, another --out starts anew"
                )
        return None
    if not last.exists():
        return None
    checkpoint = read_checkpoint(last)
    if checkpoint.config != config:
        saved, wanted = checkpoint.config.to_dict(), config.to_dict()
        names = [name for name in wanted if saved[name] != wanted[name]]
        differences = ", ".join(f"{name} {_text(saved[name])}, not {_text(wanted[name])}" for name in names)
        raise CheckpointError(last, f"holds another network than was asked for: {differences}")
    if not checkpoint.training:
        raise CheckpointError(last, "holds no state of a training to go on from")
    with restoring(folder):
        state = checkpoint.training
        if not (isinstance(state["step"], int) and state["step"] >= 0 and not math.isnan(state["best"])):
            raise ValueError(f"step {state['step']!r}, best {state['best']!r}")
        if not 0 <= state["spent"] < math.inf:
            raise ValueError(f"spent {state['spent']!r}")
    return checkpoint


def _text(value: Any) -> str:
    """Format a setting for a message."""
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text or "none"


@contextmanager
def restoring(folder: Path) -> Iterator[None]:
    """Convert errors of a state that lacks a part, or has one of another type or size.

    Args:
        folder: of the run.

    Raises:
        CheckpointError: one line that names `last.pt`.
    """
    try:
        yield
    except (LookupError, TypeError, ValueError, RuntimeError, AttributeError) as error:
        if is_out_of_memory(error):
            raise
        reason = f"its state of the training is damaged ({type(error).__name__}: {error})"
        raise CheckpointError(folder / "last.pt", reason) from error


def changes(state: dict[str, Any], recipe: Recipe, world: int) -> str:
    """Describe in one line what differs from the training that is resumed; empty if nothing does.

    Args:
        state: of the training, from its checkpoint.
        recipe: of the training that goes on.
        world: its number of processes. With another number batches have another size, and every process
            draws its remixes from other songs: the run goes on, but is not the one of that number.
    """
    found = recipe.differences(state["trainer"]["recipe"])
    before = state.get("world", world)
    if before == world:
        return found
    batches = f"batches of {world} x {recipe.remix.batch_size} sequences, and other remixes"
    return ", ".join([*filter(None, [found]), f"processes {before} -> {world} ({batches})"])


class RunLog:
    """Scalars of a run: JSON lines in `log.jsonl`, and TensorBoard events where it is installed.

    Args:
        folder: of the run.
        step: to resume after; later records, of a run that was killed, are removed.
        writes: whether this rank writes.
    """

    def __init__(self, folder: Path, step: int, writes: bool = True) -> None:
        self.path, self.writes, self.tensorboard = folder / "log.jsonl", writes, None
        if not writes:
            return
        filter_json_lines(
            self.path, lambda records: [r for r in records if r.get("step", 0) <= step and step]
        )
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        self.tensorboard = SummaryWriter(folder / "tensorboard", purge_step=step + 1)

    def write(self, records: list[dict[str, Any]]) -> None:
        """Append records, each with its `step`."""
        if not self.writes:
            return
        append_json_lines(self.path, records)
        for record in records if self.tensorboard is not None else []:
            for name, value in record.items():
                if name not in ("step", "seconds") and value is not None:
                    self.tensorboard.add_scalar(name, value, record["step"])
