"""fastconv and its peers on single images: one group a filter."""

from __future__ import annotations

import pytest

from benchmarks.layers import FILTERS
from benchmarks.libraries import Fastconv
from benchmarks.peers import PEERS
from benchmarks.problems import table_problems

# What peers deprecate among themselves is theirs to mend.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.mark.parametrize("library", [c for c in (Fastconv, *PEERS) if "filter" in c.operations], ids=lambda c: c.name)
@pytest.mark.parametrize("filter_", FILTERS)
def test_filter(time_call, filter_, library):
    time_call(f"filters: {filter_}", table_problems("filters")[filter_], library)
