"""BSSEval v4 by museval, for comparison, imported without the dependencies of its package."""

from __future__ import annotations

import functools
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor

from torchprim.metrics.bss_eval_v4 import BSSEval


@functools.cache
def museval_metrics() -> ModuleType:
    """Import museval's `metrics.py` alone: its package cannot be imported where the system has no ffmpeg.

    Raises:
        ImportError: where museval is not installed.
    """
    package = importlib.util.find_spec("museval")
    if package is None or not package.submodule_search_locations:
        raise ImportError("this needs museval: pip install museval")
    path = Path(package.submodule_search_locations[0]) / "metrics.py"
    spec = importlib.util.spec_from_file_location("torchprim_museval_metrics", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def museval_bss_eval(
    references: Tensor, estimates: Tensor, window: float = 44100, hop: float = 44100
) -> BSSEval:
    """Compute BSSEval v4 by museval, with the interface of `torchprim.metrics.bss_eval` for one track.

    Args:
        references: `(S, C, T)`.
        estimates: `(S, C, T)`.
        window: length of a frame in samples.
        hop: in samples.

    Returns:
        A `BSSEval`, each `(S, frames)`.

    Raises:
        ValueError: where a source is silent throughout.

    Example:
        >>> import torch
        >>> from torchprim.evaluation.museval_peer import museval_bss_eval
        >>> sources = torch.randn(2, 1, 4000)
        >>> museval_bss_eval(sources, sources + 0.1, 1000, 1000).sir.shape
        torch.Size([2, 4])
    """
    arrays = (x.cpu().double().movedim(1, 2).numpy() for x in (references, estimates))
    measures = museval_metrics().bss_eval(*arrays, window=window, hop=hop, filters_len=512)[:4]
    return BSSEval(*map(torch.from_numpy, measures))
