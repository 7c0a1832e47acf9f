"""The vector operations of Numba's kernels, lane by lane against NumPy, on the widths that CPUs have."""

import os
import subprocess
import sys

import numpy as np
import pytest

from fastconv.kernels import threads
from fastconv.kernels.jit.lookup import compiled
from fastconv.kernels.jit.target import lanes, register_bytes
from fastconv.kernels.jit.vector import (
    broadcast,
    fma,
    load,
    maximum,
    minimum,
    store,
)

DTYPES = ["float32", "float64", "int8", "uint16", "int32", "uint64"]


def run(loop, dtype, *arrays, ints=()):
    """Compile and run `loop(arrays, ints)` once."""

    threads.run_tiles(compiled(loop, np.dtype(dtype)), arrays, ints, (), 1, 1)


def values(dtype, count, seed=0):
    return np.random.default_rng(seed).integers(0, 100, count).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_operations(dtype):
    LANES = lanes(np.dtype(dtype))

    def loop(arrays, ints, scalars, begin, end, worker):
        a, b, out = arrays[0], arrays[1], arrays[2]
        u, v = load(a, 1), load(b, 0)
        store(out, 0, u + v)
        store(out, LANES, u - v)
        store(out, 2 * LANES, u * v)
        store(out, 3 * LANES, fma(u, v, broadcast(b[0])))
        store(out, 4 * LANES, maximum(u, v))
        store(out, 5 * LANES, minimum(u, v))

    a, b = values(dtype, LANES + 1), values(dtype, LANES, 1)
    out = np.empty((6, LANES), dtype)
    run(loop, dtype, a, b, out)
    u = a[1:]
    with np.errstate(over="ignore"):
        expected = [u + b, u - b, u * b, u * b + b[0], np.maximum(u, b), np.minimum(u, b)]
    np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nan_wins_on_either_side(dtype):
    def loop(arrays, ints, scalars, begin, end, worker):
        store(arrays[2], 0, maximum(load(arrays[0], 0), load(arrays[1], 0)))
        store(arrays[3], 0, minimum(load(arrays[0], 0), load(arrays[1], 0)))

    a, b = np.ones((2, lanes(np.dtype(dtype))), dtype)
    a[0] = b[1] = np.nan
    largest, smallest = np.empty_like(a), np.empty_like(a)
    run(loop, dtype, a, b, largest, smallest)
    np.testing.assert_array_equal(largest, np.maximum(a, b))
    np.testing.assert_array_equal(smallest, np.minimum(a, b))


@pytest.mark.parametrize(("cpu", "wide"), [("generic", 16), ("x86-64-v3", 32), ("x86-64-v4", 64)])
def test_width_follows_the_cpu_that_numba_compiles_for(cpu, wide):
    code = "from fastconv.kernels.jit.target import register_bytes; print(register_bytes())"
    features = {"generic": "", "x86-64-v3": "+avx2", "x86-64-v4": "+avx2,+avx512f"}[cpu]
    environment = os.environ | {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": features}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert int(done.stdout) == wide


def test_operations_on_narrow_registers():
    """The tests above, compiled for the least of this architecture's CPUs."""
    if register_bytes() == 16:
        pytest.skip("the registers of this CPU are narrow")
    environment = os.environ | {"NUMBA_CPU_NAME": "generic"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", "not cpu and not narrow", __file__]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
