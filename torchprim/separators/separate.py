"""`separate`: a recording's stems in one line."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, overload

import torch

from torchprim.audio.find import SEPARATIONS
from torchprim.audio.load import load_audio
from torchprim.errors import writing
from torchprim.files import append_json_lines
from torchprim.separators.base import Separator
from torchprim.separators.primitive import PrimitiveSeparator
from torchprim.separators.separation import Separation, StemSeparation
from torchprim.separators.stem_base import BaseStemSeparator

_Path = str | os.PathLike[str]


@overload
def separate(
    path: _Path,
    out: _Path | None = None,
    *,
    separator: Separator | None = None,
    format: str = "wav",
    device: str | torch.device = "cpu",
) -> Separation: ...
@overload
def separate(
    path: _Path,
    out: _Path | None = None,
    *,
    separator: BaseStemSeparator,
    format: str = "wav",
    device: str | torch.device = "cpu",
) -> StemSeparation: ...
def separate(
    path: _Path,
    out: _Path | None = None,
    *,
    separator: Separator | BaseStemSeparator | None = None,
    format: str = "wav",
    device: str | torch.device = "cpu",
) -> Separation | StemSeparation:
    """Separate an audio file into vocals and accompaniment, or into the stems of a separator.

    The recording and its stems are held in memory, 32 MB a minute of stereo each; `torchprim separate` holds
    30 s of any length, and does folders.

    Args:
        path: an audio file in any format.
        out: folder in which the stems are written, as `out/<name of the file>/vocals.wav`, with a line in
            `out/separations.jsonl`, by which a later `Bank` or run leaves them out; None to write nothing.
        separator: a `PrimitiveSeparator`, the default, a `StemSeparator`, or one of `tp.load`; it is moved to
            `device`.
        format: of the files, `wav` or `flac`.
        device: to compute on, such as `cuda`; the stems are returned on the CPU.

    Returns:
        A `Separation`, of a separator of other stems a `StemSeparation`; stems `(C, T)` at the rate of the
        file.

    Raises:
        AudioError: "PATH: reason" where a file cannot be read or written.
        ValueError: for another format, before anything is computed.

    Example:
        >>> import torchprim as tp
        >>> from torchprim.audio.find import demo_song
        >>> stems = tp.separate(demo_song(), separator=tp.PrimitiveSeparator(method="hpss"))
        >>> stems.vocals.shape, stems.sample_rate
        (torch.Size([2, 268288]), 44100)
    """
    if format not in ("wav", "flac"):
        raise ValueError(f"format must be 'wav' or 'flac', got {format!r}")
    audio, rate = load_audio(path)
    separator = (PrimitiveSeparator() if separator is None else separator).to(device)
    with torch.no_grad():
        stems = separator(audio.to(device), rate, channels=True)
    # On the CPU, where the files are written and most memory is.
    stems = stems._replace(**{name: _on_cpu(x) for name, x in stems._asdict().items()})
    if out is not None:
        name = Path(path).stem.removesuffix(".stem") or Path(path).name
        with writing(out):
            Path(out).mkdir(parents=True, exist_ok=True)
        stems.save(Path(out, name), format)
        record = {
            "path": os.path.abspath(path),
            "seconds": audio.shape[-1] / rate,
            **{field: getattr(stems, field).item() for field in ("confidence", "silhouette", "posterior")},
            "separator": separator.identity,
            "format": format,
            "sample_rate": rate,
            "channels": audio.shape[0],
            "output": name,
        }
        if isinstance(stems, StemSeparation):  # readers know the names of two
            record["stems"] = {stem: f"{name}/{stem}.{format}" for stem in stems.stems}
        with writing(out):
            append_json_lines(Path(out, SEPARATIONS), [record])
    return stems


def _on_cpu(value: Any) -> Any:
    """Move a tensor, or those of a dict, to the CPU; anything else is returned as it is."""
    if isinstance(value, dict):
        return {name: x.cpu() for name, x in value.items()}
    return value.cpu() if isinstance(value, torch.Tensor) else value
