"""museval itself, for comparison, loaded without what its package drags in."""

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
    """museval's `metrics.py` alone: importing the package fails where the system has no ffmpeg.

    Raises:
        ImportError: where museval is not installed.
    """
    found = importlib.util.find_spec("museval")
    if found is None or not found.submodule_search_locations:
        raise ImportError("this needs museval: pip install museval")
    path = Path(found.submodule_search_locations[0]) / "metrics.py"
    spec = importlib.util.spec_from_file_location("torchprim_museval_metrics", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def museval_bss_eval(references: Tensor, estimates: Tensor, window: float = 44100, hop: float = 44100):
    """BSSEval v4 by museval, with the interface of `torchprim.metrics.bss_eval` for one track.

    Args:
        references: `(S, C, T)`.
        estimates: `(S, C, T)`.
        window: samples of a frame.
        hop: samples from one frame to the next.

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
    arrays = (x.double().movedim(1, 2).cpu().numpy() for x in (references, estimates))
    found = museval_metrics().bss_eval(*arrays, window=window, hop=hop, filters_len=512)
    return BSSEval(*(torch.from_numpy(value) for value in found[:4]))
