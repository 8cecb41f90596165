"""The folder of a training: its log, its TensorBoard, and the checkpoints that it is resumed from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torchprim.errors import CheckpointError
from torchprim.files import append_json_lines, filter_json_lines
from torchprim.networks.checkpoint import Checkpoint, read_checkpoint
from torchprim.networks.config import NetworkConfig


def find_run(folder: Path, config: NetworkConfig, resume: bool) -> Checkpoint | None:
    """What a run goes on from: None where it starts.

    Args:
        folder: of the run; made where it is not there.
        config: of the network that is to be trained.
        resume: whether to go on from `last.pt`.

    Raises:
        CheckpointError: for a checkpoint of another network, or one that would be written over.
        OSError: where the folder cannot be made.
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
    read = read_checkpoint(last)
    if read.config != config:
        theirs, ours = read.config.to_dict(), config.to_dict()
        names = [name for name in ours if theirs[name] != ours[name]]
        differ = ", ".join(f"{name} {theirs[name]}, not {ours[name]}" for name in names)
        raise CheckpointError(last, f"holds another network than was asked for: {differ}")
    if not read.training:
        raise CheckpointError(last, "holds no state of a training to go on from")
    return read


class RunLog:
    """Numbers of a run, as lines of JSON in `log.jsonl`, and for TensorBoard where it is installed.

    Args:
        folder: of the run.
        step: that the run goes on from: later lines, of a run that was killed, are taken away.
        writes: whether this process is the one that writes.
    """

    def __init__(self, folder: Path, step: int, writes: bool = True) -> None:
        self.path, self.writes, self.board = folder / "log.jsonl", writes, None
        if not writes:
            return
        filter_json_lines(
            self.path, lambda records: [r for r in records if r.get("step", 0) <= step and step]
        )
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        self.board = SummaryWriter(folder / "tensorboard", purge_step=step + 1)

    def write(self, records: list[dict[str, Any]]) -> None:
        """Add records; each has a `step`."""
        if not self.writes:
            return
        append_json_lines(self.path, records)
        for record in records if self.board is not None else []:
            for name, value in record.items():
                if name not in ("step", "seconds") and value is not None:
                    self.board.add_scalar(name, value, record["step"])
