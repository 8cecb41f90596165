"""Settings of a run of `torchprim separate`, the same for all of its files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torchprim.cli.separate.names import DEFAULT
from torchprim.errors import AudioError
from torchprim.files import open_regular
from torchprim.sources import TWO


@dataclass(frozen=True)
class Settings:
    """Settings of a run, the same for all of its files."""

    out: Path
    device: str
    preset: str
    method: str
    format: str  # suffix of the stems: wav, flac or mp3
    checkpoint: str | None = None  # a network in place of the primitives
    with_primitives: bool = False  # the network as one more cue beside them
    digest: str | None = None  # of the checkpoint's content
    ensemble: str | None = None  # identity of a preset of one's own, whose file or code may change
    sources: tuple[str, ...] = TWO  # all stems that there are
    stems: tuple[str, ...] = TWO  # to write
    template: str = DEFAULT  # of their names
    track: int | None = None  # number of the audio stream, from 1
    bitrate: int = 320  # of MP3s, kbit/s

    def fields(self) -> dict[str, Any]:
        """Return the fields of a record that a separation depends on; None is for those that it lacks."""
        chosen: dict[str, Any] = {"preset": self.preset, "method": self.method}
        if self.checkpoint is not None:
            beside = {"preset": self.preset, "method": "pcl + network"}
            alone = {"preset": "network", "method": "network"}
            chosen = beside if self.with_primitives else alone
        bitrate = self.bitrate if self.format == "mp3" else None
        return {
            **chosen,
            "ensemble": self.ensemble,
            "checkpoint": self.digest,
            "format": self.format,
            "bitrate": bitrate,
            "audio_track": self.track,
        }

    def differences(self, record: Mapping[str, Any]) -> str:
        """Describe in which fields a record differs, such as "preset best, not paper"; empty for none."""
        fields = self.fields().items()
        pairs = [(name, record.get(name), value) for name, value in fields if record.get(name) != value]
        return " and ".join(
            f"{name.replace('_', ' ')} {_or_none(old)}, not {_or_none(new)}" for name, old, new in pairs
        )


def _or_none(value: Any) -> Any:
    return "none" if value is None else value


def digest_of(checkpoint: str) -> str:
    """Hash the content of a checkpoint: stems of another one are made anew.

    Raises:
        AudioError: "PATH: reason" where it cannot be read.
    """
    try:
        with open_regular(checkpoint) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()[:16]
    except OSError as error:
        raise AudioError(checkpoint, (error.strerror or str(error)).lower()) from error


def sources_of(checkpoint: str) -> tuple[str, ...]:
    """Read the stems of a checkpoint's network.

    Raises:
        CheckpointError: where it cannot be read, or is none.
    """
    from torchprim.networks.checkpoint import read_config

    return read_config(checkpoint).sources
