"""What SciPy's tests expect of their environment: the markers that SciPy registers, and the ``xp`` fixture."""

import os
from collections import defaultdict

import numpy as np
import pytest

# Tests with more cases than this run an even selection of them, or all with FASTCONV_SCIPY_SUITE=all. SciPy has ten
# thousand cases of `oaconvolve` alone.
MAX_CASES = 30


def pytest_collection_modifyitems(config, items):
    """Thin out SciPy's large parametrisations."""
    if os.environ.get("FASTCONV_SCIPY_SUITE") == "all":
        return
    cases = defaultdict(list)
    for item in items:
        if os.path.dirname(__file__) in str(item.path):
            cases[item.nodeid.partition("[")[0]].append(item)
    dropped = {
        item
        for group in cases.values()
        for index, item in enumerate(group)
        if index * MAX_CASES // len(group) == (index - 1) * MAX_CASES // len(group) and index
    }
    items[:] = [item for item in items if item not in dropped]
    config.hook.pytest_deselected(items=list(dropped))


def pytest_configure(config):
    for marker in (
        "fail_slow(seconds): SciPy's limit of a test's time",
        "skip_xp_backends(backend, ...): which array libraries cannot run the test",
        "slow: SciPy's long tests",
        "uses_xp_capabilities(...): which array libraries a function takes, as SciPy 1.18 says it",
        "xfail_on_32bit(reason): needs a large address space",
        "xfail_xp_backends(backend, ...): on which array libraries the test fails",
    ):
        config.addinivalue_line("markers", marker)


@pytest.fixture
def xp():
    """The array library: of those in SciPy's tests, fastconv only supports NumPy."""
    return np


@pytest.fixture
def num_parallel_threads():
    """How many threads run a test at once: with many, SciPy's tests do less work each."""
    return 1
