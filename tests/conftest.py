"""Settings shared by all tests."""

import os
import signal

import pytest
from hypothesis import settings

import fastconv

# Plans are those of the defaults, whatever `fastconv calibrate` measured here.
os.environ["FASTCONV_RATES"] = "default"

# A shell without job control makes what it runs in the background ignore Ctrl-C, and processes of tests inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A kernel that Numba compiles takes longer than Hypothesis' deadline. Continuous integration repeats the same examples.
settings.register_profile("fastconv", deadline=None, max_examples=40, derandomize="CI" in os.environ)
settings.load_profile("fastconv")


@pytest.fixture(autouse=True)
def _default_threads():
    """Undo a test's change to the number of threads."""
    yield
    fastconv.set_num_threads(None)
