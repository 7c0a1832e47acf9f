"""No kernel reads or writes beside its arrays, and no result depends on what lies there."""

import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import fastconv
from calls import FAMILIES, call
from guards import guarded

SEEDS = int(os.environ.get("FASTCONV_GUARD_SEEDS", "30"))  # a sweep over 1000 takes some minutes


@pytest.mark.per_isa
@pytest.mark.parametrize("seed", range(SEEDS))
@pytest.mark.parametrize("family", FAMILIES)
def test_arrays_between_guards(family, seed):
    """The results are the bits that they are in ordinary memory, on any number of threads."""
    with fastconv.num_threads(1):
        expected = call(family, seed)
    with guarded("end" if seed % 2 else "begin"), fastconv.num_threads(1 + seed // 2 % 2):
        results = call(family, seed)
    assert [result.tobytes() for result in results] == [result.tobytes() for result in expected]


# The guards themselves


@pytest.mark.faults
@pytest.mark.parametrize(("side", "at"), [("begin", -1), ("end", 12)])
def test_a_read_beside_an_array_is_fatal(side, at):
    code = (
        f"import ctypes, numpy; from guards import guarded\n"
        f"with guarded({side!r}):\n"
        f"    ctypes.string_at(numpy.empty(3, 'f').ctypes.data + {at}, 1)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parent).returncode == -signal.SIGSEGV


def damage(side, at):
    """Write a byte at an offset from an array of three values in guarded memory."""
    with guarded(side):
        array = np.empty(3, np.float32)
        ctypes.memset(array.ctypes.data + at, 0, 1)
        del array


@pytest.mark.parametrize(("side", "at"), [("begin", 12), ("end", -1)])
def test_what_is_written_beside_an_array_is_found(side, at):
    with pytest.raises(AssertionError, match="written beside an array"):
        damage(side, at)


def test_scratch_is_aligned_and_of_the_size_asked_for():
    with guarded("end"):
        scratch = fastconv.kernels.threads.aligned_empty(20, np.dtype("f"))
        assert scratch.ctypes.data % 64 == 0
        assert np.isnan(scratch).all()
        assert np.empty(0).size == 0
