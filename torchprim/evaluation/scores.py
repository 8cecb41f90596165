"""All metrics of one estimate, as numbers that JSON can hold."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Collection, Sequence
from typing import Any

from torch import Tensor

from torchprim.metrics.bss_eval_v4 import BSSEval
from torchprim.metrics.interference import si_sar, si_sir
from torchprim.metrics.scale import improvement, sd_sdr, si_sdr, snr
from torchprim.sources import TWO

METRICS = {"SD-SDR": sd_sdr, "SI-SDR": si_sdr, "SI-SIR": si_sir, "SI-SAR": si_sar, "SNR": snr}
Number = float | str | None  # in JSON: nan is null, infinities are strings
MetricScores = dict[str, dict[str, Number]]  # metric -> source -> dB


def mean_name(sources: Sequence[str]) -> str:
    """Name the mean of a song's sources in tables and files.

    Example:
        >>> from torchprim.evaluation.scores import mean_name
        >>> from torchprim.sources import FOUR, TWO
        >>> mean_name(TWO), mean_name(FOUR)
        ('both', 'mean')
    """
    return "both" if len(sources) == 2 else "mean"


def to_json(value: float) -> Number:
    """Encode a number for JSON: nan as null, infinities as strings.

    Example:
        >>> from torchprim.evaluation.scores import from_json, to_json
        >>> to_json(float("nan")), to_json(float("-inf")), from_json(to_json(float("-inf")))
        (None, '-inf', -inf)
    """
    if math.isnan(value):
        return None
    return value if math.isfinite(value) else str(value)


def from_json(value: Number) -> float:
    """Decode a number of `to_json`."""
    return math.nan if value is None else float(value)


def is_number(value: Any) -> bool:
    """Return whether a value is one that `to_json` returns."""
    return value in (None, "inf", "-inf") or (isinstance(value, (int, float)) and abs(value) < math.inf)


def is_table(
    value: Any,
    rows: Collection[str],
    of: Callable[[Any], bool] = is_number,
    sources: Sequence[str] = TWO,
) -> bool:
    """Return whether a value of JSON has all rows, such as metrics, and in each an entry for every source.

    Example:
        >>> from torchprim.evaluation.scores import is_table
        >>> is_table({"SDR": {"vocals": 1.0, "accompaniment": None}}, ["SDR"]), is_table([], ["SDR"])
        (True, False)
    """
    return isinstance(value, dict) and all(
        isinstance(value.get(row), dict)
        and all(source in value[row] and of(value[row][source]) for source in sources)
        for row in rows
    )


def closed_form(
    sources: Tensor, estimates: Tensor, names: Sequence[str] = TWO
) -> tuple[MetricScores, MetricScores]:
    """Compute every closed-form metric, and its improvement over the mixture, for each source.

    Args:
        sources: `(S, C, T)`, true, all of the mixture.
        estimates: `(S, C, T)`.
        names: of the sources.

    Returns:
        metric -> source -> dB, the mean over channels without those where the source is silent; and the
        same for the improvements.

    Example:
        >>> import torch
        >>> from torchprim.evaluation.scores import closed_form
        >>> sources = torch.randn(2, 1, 8000)
        >>> scores, gains = closed_form(sources, sources.sum(0).expand(2, 1, 8000))
        >>> sorted(scores), gains["SD-SDR"]
        (['SD-SDR', 'SI-SAR', 'SI-SDR', 'SI-SIR', 'SNR'], {'vocals': 0.0, 'accompaniment': 0.0})
    """
    s, e = sources.transpose(0, 1), estimates.transpose(0, 1)  # (C, S, T)
    mixture = s.sum(1)

    def by_source(values: Tensor) -> dict[str, Number]:
        means = values.nanmean(0).tolist()
        return {source: to_json(value) for source, value in zip(names, means, strict=True)}

    scores = {name: by_source(metric(s, e)) for name, metric in METRICS.items()}
    gains = {name: by_source(improvement(metric, s, e, mixture)) for name, metric in METRICS.items()}
    return scores, gains


def framewise(result: BSSEval, names: Sequence[str] = TWO) -> dict[str, dict[str, list[Number]]]:
    """Encode BSSEval for JSON: measure -> source -> dB of each frame."""
    return {
        measure.upper(): {
            source: [to_json(value) for value in row]
            for source, row in zip(names, values.tolist(), strict=True)
        }
        for measure, values in result._asdict().items()
    }


def median_of_frames(values: Sequence[Number]) -> float:
    """Return a track's score in BSSEval v4: the median over its defined frames; nan where none is.

    Example:
        >>> from torchprim.evaluation.scores import median_of_frames
        >>> median_of_frames([1.0, None, 3.0, 8.0]), median_of_frames([None])
        (3.0, nan)
    """
    defined = [value for value in map(from_json, values) if not math.isnan(value)]
    return statistics.median(defined) if defined else math.nan
