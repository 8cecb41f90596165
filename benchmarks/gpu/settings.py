"""Settings of a run: plain values, which are pickled for its processes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Sizes and options of a run.

    Args:
        device: `cuda`, or `cpu` for a rehearsal.
        batch: mixtures.
        seconds: length of each.
        presets: ensembles; only the first is compared, and timed in all stages.
        seconds_each: approximate duration of one measurement.
        parity: batches and seconds at which kernels are compared with references.
        workers: processes that compare side by side.
        batches: sizes at which the whole pipeline is timed.
        lengths: in seconds, likewise.
        network: preset of the training step; empty for a tiny one.
        sequences: batch size of the training step.
        frames: of each sequence.
        steps: training steps that are timed.
        songs: in the bank of the remix stream.
        song_seconds: length of each.
        compiled: whether `torch.compile` is a peer.
        deadline: after which no unit starts, in seconds since 1970; 0 for none.
    """

    device: str = "cuda"
    batch: int = 16
    seconds: float = 30.0
    presets: tuple[str, ...] = ("best", "paper")
    seconds_each: float = 0.4
    parity: tuple[tuple[int, float], ...] = ((2, 7.0), (4, 30.0))
    workers: int = 12
    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32, 64)
    lengths: tuple[float, ...] = (7.0, 15.0, 30.0, 60.0, 120.0, 240.0)
    network: str = "paper"
    sequences: int = 128
    frames: int = 400
    steps: int = 10
    songs: int = 8
    song_seconds: float = 60.0
    compiled: bool = False
    deadline: float = 0.0


def rehearsal(settings: Settings) -> Settings:
    """Shrink a run to seconds on a machine without a GPU; its numbers mean nothing."""
    return Settings(
        device="cpu",
        batch=2,
        seconds=0.25,
        presets=settings.presets,
        seconds_each=0.0,
        parity=((1, 0.25),),
        workers=1,
        batches=(1,),
        lengths=(0.3,),
        network="",
        sequences=2,
        frames=12,
        steps=2,
        songs=3,
        song_seconds=1.0,
        compiled=settings.compiled,
        deadline=settings.deadline,
    )
