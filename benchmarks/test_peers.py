"""fastconv's choice and its peers on every layer: one group per layer."""

from __future__ import annotations

import pytest

from benchmarks.layers import CONVOLUTIONS
from benchmarks.libraries import Fastconv, Prepared, PreparedLoosely
from benchmarks.peers import PEERS
from benchmarks.problems import table_problems

# Deprecations inside peers are not ours to fix.
pytestmark = pytest.mark.filterwarnings("default")


@pytest.mark.parametrize(
    "library",
    [c for c in (Fastconv, Prepared, PreparedLoosely, *PEERS) if "conv" in c.operations],
    ids=lambda c: c.name,
)
@pytest.mark.parametrize("layer", CONVOLUTIONS)
def test_layer(time_call, layer, library):
    time_call(f"peers: {layer}", table_problems("conv")[layer], library)
