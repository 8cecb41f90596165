"""`separate`: a recording's stems in one line."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from torchprim.audio.find import SEPARATIONS
from torchprim.audio.load import load_audio
from torchprim.errors import writing
from torchprim.files import append_json_lines
from torchprim.separators.base import Separator
from torchprim.separators.primitive import PrimitiveSeparator
from torchprim.separators.separation import Separation


def separate(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    separator: Separator | None = None,
    format: str = "wav",
    device: str | torch.device = "cpu",
) -> Separation:
    """Separate an audio file into vocals and accompaniment.

    The recording and its stems are held in memory, 32 MB a minute of stereo each; `torchprim separate` holds
    30 s of any length, and does folders.

    Args:
        path: an audio file in any format.
        out: folder in which the stems are written, as `out/<name of the file>/vocals.wav`, with a line in
            `out/separations.jsonl`, by which a later `Bank` or run leaves them out; None to write nothing.
        separator: a `PrimitiveSeparator`, the default, or one of `tp.load`; it is moved to `device`.
        format: of the files, `wav` or `flac`.
        device: to compute on, such as `cuda`; the stems are returned on the CPU.

    Returns:
        A `Separation`, its stems `(C, T)` at the rate of the file.

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
    moved = {name: x.cpu() if isinstance(x, torch.Tensor) else x for name, x in stems._asdict().items()}
    stems = Separation(**moved | {"masks": {name: mask.cpu() for name, mask in stems.masks.items()}})
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
        with writing(out):
            append_json_lines(Path(out, SEPARATIONS), [record])
    return stems
