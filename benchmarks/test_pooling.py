"""fastconv and its peers on pooling windows: one group per window and kind."""

from __future__ import annotations

import pytest

from benchmarks.libraries import Fastconv
from benchmarks.peers import PEERS
from benchmarks.problems import table_problems

# Deprecations inside peers are not ours to fix.
pytestmark = pytest.mark.filterwarnings("default")

PROBLEMS = table_problems("pools")


@pytest.mark.parametrize("library", [c for c in (Fastconv, *PEERS) if "max_pool" in c.operations], ids=lambda c: c.name)
@pytest.mark.parametrize("pool", PROBLEMS)
def test_pool(time_call, pool, library):
    time_call(f"pools: {pool}", PROBLEMS[pool], library)
