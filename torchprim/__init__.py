"""torchprim: vocals and accompaniment of music, learnt with no isolated recordings.

From an audio file to a training batch, and to what is made of it; each folder imports those above it alone:

    kernels/     operators: a torch reference beside its Triton kernel (the clone's `kernels/`)
    audio/       audio files <-> tensors; sample rate, loudness
    spectra/     the STFT grid: Geometry, stft, istft, Mixture (the cached spectra of a batch)
    primitives/  one cue a file, function and module: hpss, long_hpss, ft2d, repet_sim, melody; pitch/
    bootstrap/   a folder of music -> Bank -> Labels -> RemixStream -> RemixBatch
    metrics/     SD-SDR, SI-SIR, BSSEval v4, baselines
    ensemble/    the masks of cues -> one mask, or K (equation 1), and its confidence; presets
    plots/       tensors on matplotlib axes
    networks/    what learns: BLSTM, U-Net, checkpoints
    separators/  audio in, stems out: by primitives, by a network
    losses/      clustering, masking, SD-SDR, and their sum
    training/    trainer, recipes, data, validation; ranks
    evaluation/  the paper's tables and figures
    report/      the HTML page of one song
    cli/         the commands

Conventions: audio `(..., T)`, float32 in [-1, 1]; spectrograms and masks `(..., F, N)`, frequency then
frames; masks in [0, 1], 1 = vocals; embeddings `(..., F, N, D)`; any leading dimensions; every random
choice takes a `torch.Generator`.

Importing the package loads torch and little else: each name below is imported on first use. Editors and
type checkers read the same names from `__init__.pyi`.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from typing import Any

from torchprim.version import __version__

# name -> module that defines it
_PUBLIC = {
    "Geometry": "torchprim.spectra.stft",
    "stft": "torchprim.spectra.stft",
    "istft": "torchprim.spectra.stft",
    "Mixture": "torchprim.spectra.mixture",
    "resample": "torchprim.audio.resampling",
    "high_pass": "torchprim.spectra.high_pass",
    "hpss": "torchprim.primitives.hpss",
    "HPSS": "torchprim.primitives.hpss",
    "ft2d": "torchprim.primitives.ft2d",
    "FT2D": "torchprim.primitives.ft2d",
    "long_hpss": "torchprim.primitives.long_hpss",
    "LongHPSS": "torchprim.primitives.long_hpss",
    "melody": "torchprim.primitives.melody",
    "Melody": "torchprim.primitives.melody",
    "track_pitch": "torchprim.primitives.pitch.track_pitch",
    "PitchTrack": "torchprim.primitives.pitch.track_pitch",
    "repet_sim": "torchprim.primitives.repet_sim",
    "RepetSim": "torchprim.primitives.repet_sim",
    "spatial": "torchprim.primitives.spatial",
    "Spatial": "torchprim.primitives.spatial",
    "soft_assignment": "torchprim.ensemble.clustering",
    "embed": "torchprim.ensemble.clustering",
    "Preset": "torchprim.ensemble.presets",
    "PRESETS": "torchprim.ensemble.presets",
    "StemPreset": "torchprim.ensemble.four",
    "confidence_measure": "torchprim.ensemble.confidence",
    "silhouette": "torchprim.ensemble.confidence",
    "posterior_strength": "torchprim.ensemble.confidence",
    "PrimitiveSeparator": "torchprim.separators.primitive",
    "StemSeparator": "torchprim.separators.stems",
    "StemSeparation": "torchprim.separators.separation",
    "Separation": "torchprim.separators.separation",
    "separate": "torchprim.separators.separate",
    "NetworkConfig": "torchprim.networks.config",
    "NETWORKS": "torchprim.networks.config",
    "build_network": "torchprim.networks.build",
    "deep_clustering_loss": "torchprim.losses.clustering",
    "whitened_kmeans_loss": "torchprim.losses.clustering",
    "mask_loss": "torchprim.losses.masking",
    "CheckpointError": "torchprim.errors",
    "NetworkSeparator": "torchprim.separators.network",
    "NetworkStemSeparator": "torchprim.separators.network",
    "EnsembleSeparator": "torchprim.separators.network",
    "load": "torchprim.separators.load",
    "sd_sdr": "torchprim.metrics.scale",
    "si_sdr": "torchprim.metrics.scale",
    "snr": "torchprim.metrics.scale",
    "si_sir": "torchprim.metrics.interference",
    "si_sar": "torchprim.metrics.interference",
    "ideal_ratio_mask": "torchprim.metrics.baselines",
    "null_mask": "torchprim.metrics.baselines",
    "Bank": "torchprim.bootstrap.banks.bank",
    "StemBank": "torchprim.bootstrap.banks.stem_bank",
    "Labels": "torchprim.bootstrap.labels",
    "label": "torchprim.bootstrap.labels",
    "RemixSettings": "torchprim.bootstrap.settings",
    "RemixStream": "torchprim.bootstrap.remix",
    "RemixBatch": "torchprim.bootstrap.batch",
    "AudioError": "torchprim.errors",
    "load_audio": "torchprim.audio.load",
    "load_stems": "torchprim.audio.load",
    "save": "torchprim.audio.write",
}

__all__ = ["__version__", *_PUBLIC]


def _kernels_from_clone() -> None:
    """Load the sibling folder `kernels/` as `torchprim.kernels` where nothing is installed.

    The package's own folder cannot hold it (the layout puts `kernels/` at the top), and from the root of
    a clone the clone's `torchprim/` hides an installed one.
    """
    if importlib.util.find_spec("torchprim.kernels") is not None:
        return
    folder = Path(__file__).resolve().parent.parent / "kernels"
    spec = importlib.util.spec_from_file_location(
        "torchprim.kernels", folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None or not (folder / "__init__.py").is_file():
        raise ImportError(f"torchprim.kernels is neither installed nor at {folder}")
    module = importlib.util.module_from_spec(spec)
    sys.modules["torchprim.kernels"] = module
    spec.loader.exec_module(module)
    globals()["kernels"] = module


_kernels_from_clone()


def __getattr__(name: str) -> Any:
    if name == "metrics":  # `tp.metrics.bss_eval`, and all measures by their names
        return importlib.import_module("torchprim.metrics")
    if name not in _PUBLIC:
        raise AttributeError(f"module 'torchprim' has no attribute {name!r}")
    value = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(set(globals()) | set(__all__))
