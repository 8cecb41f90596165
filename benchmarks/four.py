"""SD-SDR of drums, bass, other and vocals by `StemSeparator`, on previews of MUSDB18, with no training.

Beside it the mixture as the estimate of each, a null, and the ideal ratio mask. The null of a stem is a gain
times one band of the mixture, whatever the music: band and gain are those with the best mean SD-SDR on the
even previews, by exhaustive search. Even previews are also those that the separator was tuned on.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Iterable, Sequence
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

import torchprim as tp
from benchmarks.data import SPLITS, preview_paths
from torchprim.evaluation.markdown import table
from torchprim.evaluation.provenance import processor_line, versions_line
from torchprim.metrics.baselines import NullBand, stem_baseline
from torchprim.sources import FOUR

METHODS = ("mixture", "null", "four", "ideal mask")
# Of the nulls' bands, in Hz; the last is beyond every frequency.
EDGES = (0, 60, 80, 100, 120, 150, 200, 250, 300, 400, 500, 700, 1000, 2000, 3000, 5000, 8000, 12000, 24000)
GAINS = [number / 20 for number in range(4, 21)]


class Preview(NamedTuple):
    """Mono stems of a song, in the order of `FOUR`."""

    name: str
    stems: Tensor  # (4, T)
    rate: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    text = "even: tuned on; odd: reported; all: a table of each (%(default)s)"
    parser.add_argument("--split", choices=SPLITS, default="all", help=text)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="of torch (%(default)s)")


def read(path: Path) -> Preview:
    """Read the stems of a preview, the mean of their channels."""
    stems, rate = tp.load_stems(path)
    return Preview(
        path.name.removesuffix(".stem.mp4"), torch.stack([stems[name].mean(0) for name in FOUR]), rate
    )


def tune_nulls(previews: Iterable[Preview]) -> dict[str, NullBand]:
    """Search each stem's band and gain with the best mean SD-SDR; silent stems are left out.

    By Parseval's theorem the energies of a band are sums over bins: <s, e> and |e|² of all bands are
    differences of cumulative sums.
    """
    products, powers, energies, rates = [], [], [], set()
    for preview in previews:
        spectra = tp.stft(preview.stems, tp.Geometry(preview.rate))
        mixture = spectra.sum(0)
        products.append((spectra.conj() * mixture).real.sum(-1).double())
        powers.append(mixture.abs().square().sum(-1).double())
        energies.append(spectra.abs().square().sum((-1, -2)).double())
        rates.add(preview.rate)
    (rate,) = rates
    product, power, energy = torch.stack(products, 1), torch.stack(powers), torch.stack(energies, 1)
    bins = [math.ceil(edge * 2 * (power.shape[-1] - 1) / rate) for edge in EDGES]
    product, power = (torch.nn.functional.pad(x.cumsum(-1), (1, 0)) for x in (product, power))
    best = {}
    for source, name in enumerate(FOUR):
        sounding = energy[source] > 0
        scores = {}
        for low, high in combinations(range(len(EDGES)), 2):
            a, b = min(bins[low], power.shape[-1] - 1), min(bins[high], power.shape[-1] - 1)
            inner, own = product[source, :, b] - product[source, :, a], power[:, b] - power[:, a]
            for gain in GAINS:
                error = energy[source] - 2 * gain * inner + gain**2 * own
                score = 10 * ((gain * inner).square() / energy[source] / error).log10()
                scores[NullBand(EDGES[low], EDGES[high], gain)] = score[sounding].mean().item()
        best[name] = max(scores, key=lambda null: scores[null])
    return best


def measure(
    previews: Iterable[Preview], nulls: dict[str, NullBand], separator: tp.StemSeparator
) -> dict[str, dict[str, list[float]]]:
    """Score every method: SD-SDR of each song by source and method; nan for a silent stem."""
    scores: dict[str, dict[str, list[float]]] = {name: {m: [] for m in METHODS} for name in FOUR}
    for _, stems, rate in previews:
        bands = [nulls[name] for name in FOUR]
        with torch.inference_mode():
            estimates = {name: stem_baseline(name, stems, rate, bands) for name in METHODS if name != "four"}
            four = separator(stems.sum(0), rate).stems
        estimates["four"] = torch.stack([four[name] for name in FOUR])
        for method, of_method in estimates.items():
            for name, value in zip(FOUR, tp.sd_sdr(stems, of_method).tolist(), strict=True):
                scores[name][method].append(value)
    return scores


def differences(scores: Sequence[float], others: Sequence[float]) -> str:
    """Format the mean of paired differences with its standard error."""
    pairs = [a - b for a, b in zip(scores, others, strict=True) if math.isfinite(a - b)]
    if len(pairs) < 2:
        return "-"
    error = statistics.stdev(pairs) / math.sqrt(len(pairs))
    return f"{statistics.fmean(pairs):+.2f} ± {error:.2f}"


def rows(scores: dict[str, dict[str, list[float]]]) -> list[list[str]]:
    """Format a row for each source."""
    lines = []
    for name, of_method in scores.items():
        cells = [name]
        for values in of_method.values():
            finite = [value for value in values if math.isfinite(value)]
            cells += [f"{f(finite):.2f}" if finite else "-" for f in (statistics.fmean, statistics.median)]
        better = sum(a > b for a, b in zip(of_method["four"], of_method["null"], strict=True))
        counted = sum(map(math.isfinite, of_method["null"]))
        lines.append([*cells, differences(of_method["four"], of_method["null"]), f"{better} of {counted}"])
    return lines


def run(options: argparse.Namespace) -> str:
    from tqdm import tqdm

    torch.set_num_threads(options.threads)
    even = [read(path) for path in preview_paths("even")]
    nulls = tune_nulls(even)
    separator = tp.StemSeparator()
    described = "; ".join(f"{name} {null}" for name, null in nulls.items())
    head = ["stem", *(cell for method in METHODS for cell in (f"{method} mean", "median"))]
    head += ["four minus null", "better in"]
    parts = [
        "# Four stems with no training: SD-SDR (dB) on previews of MUSDB18",
        "`tp.StemSeparator()`: cues, equation 1 with four centres; nothing is learnt. Whole previews of 7 s, "
        "mono, the mixture is the sum of the stems. Null: a gain times one band of the mixture, the best for "
        f"the even previews of gains up to 1, as masks have ({described}). Ideal mask: ratio of the true "
        "magnitudes. The last columns: mean of the paired differences ± its standard error, and in how many "
        "songs the null is beaten. A silent stem has no score.",
    ]
    for split, what in (("even", "settings and nulls were tuned on these"), ("odd", "held out")):
        if options.split in (split, "all"):
            songs = even if split == "even" else [read(path) for path in preview_paths(split)]
            scores = measure(tqdm(songs, desc=split), nulls, separator)
            parts += [f"## {split.capitalize()} previews: {len(songs)}, {what}", table(head, rows(scores))]
    return "\n\n".join([*parts, f"{versions_line('torchaudio')}. {processor_line()}."])
