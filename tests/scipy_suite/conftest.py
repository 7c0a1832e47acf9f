"""What SciPy's tests expect of their surroundings: the markers that SciPy registers, and the ``xp`` fixture."""

import numpy as np
import pytest


def pytest_configure(config):
    for marker in (
        "fail_slow(seconds): SciPy's limit of a test's time",
        "skip_xp_backends(backend, ...): which array libraries cannot run the test",
        "slow: SciPy's long tests",
        "xfail_on_32bit(reason): needs a large address space",
        "xfail_xp_backends(backend, ...): on which array libraries the test fails",
    ):
        config.addinivalue_line("markers", marker)


@pytest.fixture
def xp():
    """The array library: of those that SciPy's tests know, fastconv takes NumPy's arrays."""
    return np
