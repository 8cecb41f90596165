"""Whatever goes wrong with a file, as one line that names it."""

from __future__ import annotations

from pathlib import Path

from torchprim.errors import AudioError


def one_line(path: Path, error: Exception, device: str) -> str:
    """One line that names the file and what went wrong with it."""
    import torch

    if isinstance(error, AudioError):  # of the file itself, or of one that is written for it
        return str(error if error.path == path else AudioError(path, str(error)))
    text = " ".join(str(error).split())
    if isinstance(error, OSError):
        return str(AudioError(path, text))
    if isinstance(error, torch.OutOfMemoryError):
        torch.cuda.empty_cache()
        return str(AudioError(path, f"not enough memory on the device ({device}); try --device cpu"))
    if isinstance(error, MemoryError) or "can't allocate memory" in text:
        return str(AudioError(path, "not enough memory"))
    if isinstance(error, ValueError):
        return str(AudioError(path, text))
    return str(AudioError(path, f"{type(error).__name__}: {text}"))
