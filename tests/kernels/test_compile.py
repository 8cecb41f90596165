"""All kernels compile without a GPU, and spill nothing."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from benchmarks.compile import TARGETS, compile_in_child, operators


@pytest.fixture(scope="module")
def compiled():
    """Compile all operators, as many at a time as there are cores: operator -> future of its rows."""
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        yield {operator: pool.submit(compile_in_child, operator, True) for operator in operators()}


@pytest.mark.parametrize("operator", operators())
def test_compiles_without_spills(operator, compiled):
    rows = compiled[operator].result()
    assert {row.capability for row in rows} == set(TARGETS)
    for row in rows:
        assert not row.failure, f"{row.kernel} for sm_{row.capability}: {row.failure}"
        assert row.spilled == 0, f"{row.kernel} for sm_{row.capability} spills {row.spilled} bytes"
        assert 0 < row.registers <= 255
