"""The numbers in tables: intervals and correlations beside SciPy's, agreement of masks, versions."""

import math

import numpy as np
import pytest
import torch

from torchprim.evaluation import statistics
from torchprim.evaluation.markdown import table
from torchprim.evaluation.provenance import package_versions, versions_line
from torchprim.evaluation.trust import agreement


def test_table_and_provenance():
    assert table(["a", "b"], [["x", "1"]]) == "| a | b |\n|---|---:|\n| x | 1 |"
    assert f"torch {torch.__version__}" in versions_line("numpy", "no-such-package")
    assert "no-such-package absent" in versions_line("no-such-package")
    assert package_versions("no-such-package")["no-such-package"] == "absent"


def test_statistics():
    g = np.random.default_rng(0)
    x = g.normal(size=200)
    found = statistics.bootstrap_mean(x)
    error = x.std() / math.sqrt(200)
    assert found.low == pytest.approx(x.mean() - 1.96 * error, abs=0.2 * error)
    assert found.high == pytest.approx(x.mean() + 1.96 * error, abs=0.2 * error)
    assert statistics.bootstrap_mean(x) == found != statistics.bootstrap_mean(x, seed=1)
    assert math.isnan(statistics.bootstrap_mean([]).value) and math.isnan(statistics.bootstrap_mean([1]).low)

    from scipy.stats import pearsonr

    z = g.normal(size=200)
    a, b = x + z, 0.3 * x + z
    peer = pearsonr(a, b)
    ours = statistics.correlation(a, b)
    assert ours.value == pytest.approx(peer.statistic)
    assert ours[1:] == pytest.approx(tuple(peer.confidence_interval(0.95)))
    r_ab, r_az, r_bz = (np.corrcoef(p, q)[0, 1] for p, q in ((a, b), (a, z), (b, z)))
    partial = (r_ab - r_az * r_bz) / math.sqrt((1 - r_az**2) * (1 - r_bz**2))
    assert statistics.correlation(a, b, z).value == pytest.approx(partial)
    assert math.isnan(statistics.correlation([1, 1, 1, 1], [1, 2, 3, 4]).value)


def test_few_songs_are_said():
    """The interval of few songs is too narrow: that of 2 holds the true mean in half of all cases."""
    assert statistics.few_songs(0) == "" and statistics.few_songs(1) == "1 song has no 95 % interval."
    assert statistics.few_songs(9).startswith("9 songs are too few") and statistics.few_songs(10) == ""

    def coverage(songs):
        g = np.random.default_rng(0)
        found = (statistics.bootstrap_mean(g.normal(size=songs), seed, 300) for seed in range(400))
        return sum(x.low <= 0 <= x.high for x in found) / 400

    assert coverage(2) == pytest.approx(0.5, abs=0.08)
    assert coverage(statistics.MIN_SONGS) > 0.87


def test_agreement():
    magnitude = torch.rand(20, 30)
    same = torch.rand(20, 30)
    assert agreement([same, same, same], magnitude, [1, 2, 3]).item() == pytest.approx(1, abs=1e-5)
    assert agreement([0 * same, 0 * same + 1], magnitude, [3, 1]).item() == pytest.approx(
        1 - 2 * 0.75**0.5 / 2
    )
