"""fastconv and its peers on single images and signals: one group per row of the tables."""

from __future__ import annotations

import pytest

from benchmarks.libraries import Fastconv
from benchmarks.peers import PEERS
from benchmarks.problems import table_problems

# Deprecations inside peers are not ours to fix.
pytestmark = pytest.mark.filterwarnings("default")

ROWS = [
    pytest.param(table, name, library, id=f"{table}-{name}-{library.name}")
    for table in ("filters", "gaussians", "blurs", "windows", "signals")
    for name, problem in table_problems(table).items()
    for library in (Fastconv, *PEERS)
    if problem.operation in library.operations
]


@pytest.mark.parametrize(("table", "name", "library"), ROWS)
def test_filter(time_call, table, name, library):
    time_call(f"{table}: {name}", table_problems(table)[name], library)
