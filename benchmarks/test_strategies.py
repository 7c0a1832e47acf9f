"""Every strategy on every layer: one group per layer."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest

import fastconv
from benchmarks.layers import CONVOLUTIONS
from benchmarks.libraries import Fastconv
from benchmarks.problems import table_problems
from fastconv.engine.convolution import BY_NAME

# Longer estimates are not worth measuring.
MAX_SECONDS = 2.0


@pytest.mark.parametrize("strategy", fastconv.strategies())
@pytest.mark.parametrize("layer", CONVOLUTIONS)
def test_strategy(time_call, benchmark, layer, strategy):
    problem = table_problems("conv")[layer]
    benchmark.extra_info["strategy"] = strategy
    cost = BY_NAME[strategy].cost(problem.geometry, np.dtype(problem.dtype))
    if cost > MAX_SECONDS:
        pytest.skip(f"estimated to take {cost:.0f} s")
    time_call(f"strategies: {layer}", problem, partial(Fastconv, strategy=strategy))
