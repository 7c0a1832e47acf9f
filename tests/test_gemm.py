"""The contract of the matrix micro-kernel and of its packing (kernels/simd/gemm.h), on the instruction set in use."""

import ctypes
from itertools import product

import numpy as np
import pytest

from cases import DTYPES
from fastconv.kernels import slots, threads

pytestmark = pytest.mark.per_isa

MR, NR = slots.MR, slots.NR
SIZE, POINTER = ctypes.c_int64, ctypes.c_void_p
GEMM_TILE_TYPE = ctypes.CFUNCTYPE(None, *[SIZE] * 3, *[POINTER] * 4, SIZE, ctypes.c_int, POINTER)


def multiply(m, n, a, b, order, c, accumulate, bias):
    """The micro-kernel on `a` (k, MR) and rows `order` of `b` (k, NR), all if it is None: ``c[:m, :n]``, in place."""
    tile = GEMM_TILE_TYPE(slots.kernel("gemm_tile", c.dtype))
    shift = None if order is None else order * b.shape[1]
    operands = (None if p is None else p.ctypes.data for p in (a, b, shift, c))
    tile(m, n, len(a), *operands, c.shape[1], accumulate, None if bias is None else bias.ctypes.data)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("k", [1, 2, 9])
@pytest.mark.parametrize("accumulate", [False, True], ids=["", "accumulate"])
@pytest.mark.parametrize("with_bias", [False, True], ids=["", "bias"])
def test_every_tile_is_exact(dtype, k, accumulate, with_bias):
    """Integers; all that a tile must neither read nor write is NaN, or is compared with what it was."""
    rng = np.random.default_rng(0)
    nr = NR[np.dtype(dtype).itemsize]
    left, right, before = (rng.integers(-8, 9, shape).astype(dtype) for shape in ((k, MR), (k, nr), (MR + 1, nr + 3)))
    bias = rng.integers(-8, 9, MR).astype(dtype) if with_bias else np.zeros(MR, dtype)
    order = rng.permutation(k)
    for m, n in product(range(1, MR + 1), range(1, nr + 1)):
        a, b = left.copy(), right.copy()
        a[:, m:] = b[:, n:] = np.nan
        expected = before.copy()
        expected[:m, :n] = left[:, :m].T @ right[order, :n] + bias[:m, None] + (before[:m, :n] if accumulate else 0)
        for given, rows in ((order, b), (None, b[order])):
            c = before.copy()
            if not accumulate:
                c[:m, :n] = np.nan
            multiply(m, n, a, rows, given, c, accumulate, bias[:m].copy() if with_bias else None)
            np.testing.assert_array_equal(c, expected, f"{m} rows, {n} columns")


@pytest.mark.parametrize("dtype", DTYPES)
def test_rounding_does_not_depend_on_the_place_in_a_tile(dtype):
    rng = np.random.default_rng(0)
    nr = NR[np.dtype(dtype).itemsize]
    a, b, bias, before = (rng.standard_normal(shape).astype(dtype) for shape in ((50, MR), (50, nr), (MR,), (MR, nr)))
    whole, order = before.copy(), np.arange(50)
    multiply(MR, nr, a, b, order, whole, True, bias)
    for m, n in product(range(1, MR + 1), range(1, nr + 1)):
        part = before.copy()
        multiply(m, n, a, b, order, part, True, bias)
        np.testing.assert_array_equal(part[:m, :n], whole[:m, :n], f"{m} rows, {n} columns")
    rows, columns = rng.permutation(MR), rng.permutation(nr)
    moved = before[np.ix_(rows, columns)]
    multiply(MR, nr, a[:, rows].copy(), b[:, columns].copy(), order, moved, True, bias[rows])
    np.testing.assert_array_equal(moved, whole[np.ix_(rows, columns)])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("rows", [1, MR - 1, MR, 2 * MR + 1])
@pytest.mark.parametrize(("K", "kc"), [(7, 7), (7, 3), (8, 4)])
def test_left_operand_is_packed_in_panels(dtype, groups, rows, K, kc):
    weight = np.arange(1, groups * rows * K + 1, dtype=dtype).reshape(groups, rows, K)
    panels = -(-rows // MR)
    padded = np.zeros((groups, panels * MR, K), dtype)
    padded[:, :rows] = weight
    expected = [
        padded[g, :, k0 : k0 + kc].reshape(panels, MR, -1).swapaxes(1, 2).ravel()
        for g in range(groups)
        for k0 in range(0, K, kc)
    ]
    packed = np.full(padded.size, np.nan, dtype)
    ints = slots.arguments("pack_left")(M=rows, K=K, kc=kc, panels=panels)
    threads.run_tiles(slots.kernel("pack_left", packed.dtype), (weight, packed), ints, (), groups * panels, 2)
    np.testing.assert_array_equal(packed, np.concatenate(expected))
