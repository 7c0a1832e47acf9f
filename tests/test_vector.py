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
    deinterleave,
    fma,
    load,
    load_even,
    load_part,
    maximum,
    minimum,
    store,
    store_part,
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
        even, odd = deinterleave(u, v)
        store(out, 0, u + v)
        store(out, LANES, u - v)
        store(out, 2 * LANES, u * v)
        store(out, 3 * LANES, fma(u, v, broadcast(b[0])))
        store(out, 4 * LANES, maximum(u, v))
        store(out, 5 * LANES, minimum(u, v))
        store(out, 6 * LANES, even)
        store(out, 7 * LANES, odd)

    a, b = values(dtype, LANES + 1), values(dtype, LANES, 1)
    out = np.empty((8, LANES), dtype)
    run(loop, dtype, a, b, out)
    u, both = a[1:], np.append(a[1:], b)
    with np.errstate(over="ignore"):
        expected = [u + b, u - b, u * b, u * b + b[0], np.maximum(u, b), np.minimum(u, b), both[::2], both[1::2]]
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


@pytest.mark.parametrize("dtype", DTYPES)
def test_parts_leave_other_memory_alone(dtype):
    LANES = lanes(np.dtype(dtype))

    def loop(arrays, ints, scalars, begin, end, worker):
        part = load_part(arrays[0], ints[0], ints[1], ints[2])
        store(arrays[1], 0, part)
        store_part(arrays[2], ints[0], part, ints[1], ints[2])

    lane = np.arange(LANES)
    a = values(dtype, LANES) + np.dtype(dtype).type(1)
    for begin, end in [(0, LANES), (1, LANES), (0, LANES - 1), (1, 2), (2, 1), (-5, 10**12), (10**12, 2 * 10**12)]:
        part, out = np.empty(LANES, dtype), np.zeros(LANES, dtype)
        run(loop, dtype, a, part, out, ints=(0, begin, end))
        np.testing.assert_array_equal(part, np.where((begin <= lane) & (lane < end), a, 0))
        np.testing.assert_array_equal(out, part)


def test_even_values_touch_nothing_past_the_last(tmp_path):
    def loop(arrays, ints, scalars, begin, end, worker):
        store(arrays[1], 0, load_even(arrays[0], ints[0]))

    size = 2 * lanes(np.dtype("f")) - 1
    # The end of a mapped file is the end of a page: what lies past it belongs to nobody, or faults.
    a = np.memmap(tmp_path / "page", np.float32, "w+", shape=4096)
    a[:] = np.arange(4096)
    out = np.empty(lanes(np.dtype("f")), np.float32)
    run(loop, "float32", np.asarray(a), out, ints=(4096 - size,))
    np.testing.assert_array_equal(out, a[4096 - size :: 2])


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
