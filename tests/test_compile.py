"""Every kernel compiles for GPUs that are not here, and spills nothing."""

import pytest

from benchmarks.compile import TARGETS, compile_in_child, operators


@pytest.mark.parametrize("operator", operators())
def test_compiles_without_spills(operator):
    rows = compile_in_child(operator, common=True)
    assert {row.capability for row in rows} == set(TARGETS)
    for row in rows:
        assert not row.failure, f"{row.kernel} for sm_{row.capability}: {row.failure}"
        assert row.spilled == 0, f"{row.kernel} for sm_{row.capability} spills {row.spilled} bytes"
        assert 0 < row.registers <= 255
