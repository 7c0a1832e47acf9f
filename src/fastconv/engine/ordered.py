"""Correlation of integers with real weights, bit for bit as SciPy computes it (kernels/simd/ordered.h).

SciPy adds products in float64 and casts the sum, which rounds towards zero. Where the sum is a whole number but for its
rounding, the order of the additions decides what is stored.
"""

from __future__ import annotations

from math import prod
from typing import NamedTuple

import numpy as np

from fastconv.engine.boundary import edge_columns, edge_indices
from fastconv.engine.fills import as_fill
from fastconv.engine.launch import Launch, workers_for
from fastconv.engine.rates import rates
from fastconv.engine.remembering import remembered
from fastconv.engine.replay import constant

# Weights up to this size are equal to SciPy, or zero.
_EPSILON = float(np.finfo(np.float64).eps)

# Rows of the fewest between two passes: the ring is filled anew for each block of them.
_FEWEST_ROWS = 32

# The types of arrays and results, as NumPy's characters; others than these may not be exact in float64.
_TYPES = "bBhHiI"

# The largest error of sums in float32: where they are next to a whole number, they are added up once more.
_MOST_NEAR = 2.0**-7

# The denominators of fractions that have too many multiples among the whole numbers, and powers of two, whose fractions
# float32 can add up without rounding.
_DENOMINATORS = np.arange(1, 257)
_SCALES = [2.0**k for k in range(17)]

# Weights of the smallest kernels of which two rows share what they add up.
_LEAST_SHARED = 25


def has_order(*types: np.dtype) -> bool:
    """Whether arrays and results of these types can be cast to and from float64 as the kernel does."""
    return all(dtype.char in _TYPES or (dtype.char in "lL" and dtype.itemsize == 4) for dtype in types)


class Sums(NamedTuple):
    """The products of each sum, in the order of addition."""

    places: np.ndarray
    """The row and the column of each tap, from the first that a window sees."""
    weights: np.ndarray
    """Of each tap or, with `parity`, of the first tap and of each pair of the others."""
    parity: int
    """1 if pairs are added before they are weighed, -1 if they are subtracted, 0 if there are none."""
    extent: tuple[int, int]
    """The rows and columns that a window sees."""
    begin: tuple[int, int]
    """How many of these precede the output's own position."""


def sums_along(weights: np.ndarray, begin: int, down: bool, inner: int = 1) -> Sums:
    """A filter along one axis, in the order of `scipy.ndimage.correlate1d`.

    Samples of a row are `inner` columns wide.
    """
    size, half = len(weights), len(weights) // 2
    left, right = weights[:half], weights[: -half - 1 : -1]
    parity = 0
    if size % 2:
        equal = [not (np.abs(left - sign * right) > _EPSILON).any() for sign in (1, -1)]
        parity = 1 if equal[0] else -1 if equal[1] else 0
    if parity:
        pairs = np.stack([np.arange(half), size - 1 - np.arange(half)], axis=1)
        order, kept = np.append(half, pairs), np.append(half, np.arange(half))
    else:
        order = kept = np.roll(np.arange(size), 1)
    zeros = np.zeros_like(order)
    if down:
        return Sums(np.stack([order, zeros], axis=1), weights[kept], parity, (size, 1), (begin, 0))
    places = np.stack([zeros, order * inner], axis=1)
    return Sums(places, weights[kept], parity, (1, (size - 1) * inner + 1), (0, begin * inner))


def sums_over(kernel: np.ndarray, begin: tuple[int, int], inner: int) -> Sums:
    """A kernel of two axes, in the order of `scipy.ndimage.correlate`, which leaves out the smallest weights."""
    kept = np.abs(kernel) > _EPSILON
    if not kept.any():
        kept[0, 0] = True
    rows, columns = kernel.shape
    extent, begins = (rows, (columns - 1) * inner + 1), (begin[0], begin[1] * inner)
    return Sums(np.argwhere(kept) * (1, inner), kernel[kept], 0, extent, begins)


class Continued(NamedTuple):
    """An array as planes, and how they continue past their edges."""

    planes: int
    rows: int
    columns: int
    inner: int
    modes: tuple[str, str]

    def row_map(self, sums: Sums) -> np.ndarray:
        after = sums.extent[0] - 1 - sums.begin[0]
        return edge_indices(sums.begin[0], self.rows + after, self.rows, self.modes[0])

    def column_map(self, sums: Sums) -> np.ndarray:
        before, after = sums.begin[1], sums.extent[1] - 1 - sums.begin[1]
        return edge_columns(before // self.inner, after // self.inner, self.columns, self.inner, self.modes[1])


def launch_in_order(
    array: Continued,
    first: Sums,
    along: Sums | None,
    types: tuple[np.dtype, np.dtype],
    threads: int,
    near: bool = False,
) -> Launch:
    """The launch for an array and a result of these `types`; `along` is a second pass, after a first one down.

    Sums of bytes may be `near` those in float64, which are added up where it matters: that pays if few sums are whole
    numbers, or float32 adds them up without rounding. All constants past the edges are bytes, then.
    """
    from fastconv.kernels.cpu import cache_bytes
    from fastconv.kernels.slots import ABREAST, LANES, arguments, kernel

    given, stored = types
    both = [first, along] if along else [first]
    error = max(_error(sums, given) for sums in both) if near and {given.char, stored.char} <= set("bB") else np.inf
    near = error < _MOST_NEAR
    rows = 1 + (near and not along and not first.parity and len(first.weights) >= _LEAST_SHARED)
    if rows > 1:
        both = list(_rows_below(first))
        first, error = both[0], max(_error(sums, given) for sums in both)
    name = "ordered_near" if near else "ordered"
    (kh, width), value = first.extent, 4 if near else 8
    l1, l2, *_ = cache_bytes()
    unit = ABREAST * LANES[value]
    fitting = l1 * 3 // 4 // (kh * value) - width
    strip = min(max(unit, fitting // unit * unit), -(-array.columns // unit) * unit)
    bands = min(-(-2 * threads // array.planes) if threads > 1 else 1, max(1, array.rows // (2 * kh)))
    row_tile = -(-array.rows // bands)
    bands = -(-array.rows // row_tile)
    block = min(row_tile, max(_FEWEST_ROWS, l2 // 4 // (array.columns * stored.itemsize)))
    ints = arguments(name)(
        size=given.itemsize,
        out_size=stored.itemsize,
        ih=array.rows,
        iw=array.columns,
        kh=kh,
        reach=width - 1,
        pt=first.begin[0],
        pl=first.begin[1],
        taps=len(first.places),
        terms=len(first.weights),
        parity=first.parity,
        along_reach=along.extent[1] - 1 if along else 0,
        along_pl=along.begin[1] if along else 0,
        along_taps=len(along.places) if along else 0,
        along_terms=len(along.weights) if along else 0,
        along_parity=along.parity if along else 0,
        rows=rows,
        row_tile=row_tile,
        down=bands,
        strip=strip,
        block=block,
    )

    def fits(sums: Sums, dtype: np.dtype) -> bool:
        """Whether every sum is sure to fit 32 bits; a constant past the edges may be of any size."""
        limits = np.iinfo(dtype)
        taps = np.abs(sums.weights).sum() * (2 if sums.parity else 1)
        return bool(max(limits.max, -limits.min) * taps < 2.0**31) and "constant" not in array.modes

    tables = (
        constant(_weights(both, error)),
        constant(np.ascontiguousarray(np.concatenate([sums.places for sums in both[: 3 - rows]]))),
        array.row_map(first),
        array.column_map(first),
        array.column_map(along) if along else None,
        kernel("widen_near" if near else "widen", given),
        kernel("narrow_fitting" if all(map(fits, both, types)) else "narrow", stored),
        kernel("widen_near" if near else "widen", stored),
        kernel("narrow_near", stored) if near else None,
    )
    return Launch.of(name, given, ints, array.planes * bands, tables=tables)


def _rows_below(sums: Sums) -> tuple[Sums, Sums]:
    """The sums of an output and of the one below it, over the same taps: some weights are zero."""
    places = np.stack([sums.places, np.add(sums.places, (1, 0))]).reshape(-1, 2)
    shared, at = np.unique(places, axis=0, return_inverse=True)
    weights = np.zeros((2, len(shared)))
    weights[np.repeat([0, 1], len(sums.places)), at.ravel()] = np.tile(sums.weights, 2)
    extent = sums.extent[0] + 1, sums.extent[1]
    above, below = [Sums(shared, each, 0, extent, sums.begin) for each in weights]
    return above, below


def _weights(both: list[Sums], error: float) -> np.ndarray:
    """The weights of both passes or rows, the error of their sums in float32, and the weights in that type."""
    wide = np.concatenate([sums.weights for sums in both])
    narrow = np.pad(wide.astype(np.float32), (0, len(wide) % 2))
    return np.concatenate([wide, [error], narrow.view(np.float64)])


def _error(sums: Sums, dtype: np.dtype) -> float:
    """Bound on the error of sums in float32, as kernels/simd/near.h adds them up.

    Weights and products are rounded, and so are the sums within a block, and those of blocks, after each addition: they
    are largest where all values with a positive weight are the largest of the type, and the others the smallest, or the
    other way round. Then the bound is added to, and subtracted from the result.
    """
    from fastconv.kernels.slots import BLOCK_TERMS

    limits, unit = np.iinfo(dtype), 2.0**-24
    values = np.tile(np.array([[limits.min], [limits.max]], np.float64), len(sums.weights))
    if sums.parity:
        values[:, 1:] += sums.parity * (values if sums.parity > 0 else values[::-1])[:, 1:]
    weights = sums.weights.astype(np.float32).astype(np.float64)
    products = np.sort(weights * values, axis=0)
    largest = np.abs(values).max(axis=0)
    total = float(np.abs(weights) @ largest)
    scales = [scale for scale in _SCALES if total * scale < 2**24]
    if any(np.array_equal(np.rint(weights * scale), sums.weights * scale) for scale in scales):
        return 0.0
    blocks = np.pad(products, ((0, 0), (0, -len(weights) % BLOCK_TERMS))).reshape(2, -1, BLOCK_TERMS).cumsum(axis=2)
    within = np.abs(blocks).max(axis=0).ravel()[: len(weights)].sum()
    between = np.abs(blocks[:, :, -1].cumsum(axis=1)).max(axis=0)
    roundings = total + within + (between.sum() if len(between) > 1 else 0.0) + 2 * between[-1]
    return float(1.01 * (np.abs(weights - sums.weights) @ largest + unit * roundings))


def _is_often_whole(sums: Sums) -> bool:
    """Whether many sums are whole numbers but for rounding, as those of thirds and of tenths are, even in float32."""
    multiples = np.multiply.outer(_DENOMINATORS, sums.weights)
    rounding = 1e-7 * np.abs(multiples).max(axis=1)
    return bool((np.abs(multiples - np.rint(multiples)).max(axis=1) < rounding).any())


def seconds_in_order(values: int, taps: int) -> float:
    """Estimated time of one thread: a product and a sum per tap, and casts."""
    return values * (2 * taps + 8) / (0.6 * rates().flops(8))


def correlate_in_order(
    array: np.ndarray,
    taps: np.ndarray,
    begins: list[int],
    continuation: str,
    fill: float,
    out: np.ndarray,
    threads: int,
) -> bool:
    """Correlate along up to two neighbouring axes; returns whether the taps extend along no others."""
    if array.ndim == 1:
        array, taps, begins, out = array[np.newaxis], taps[np.newaxis], [0, *begins], out[np.newaxis]
    long = [axis for axis, k in enumerate(taps.shape) if k > 1] or [array.ndim - 1]
    if long[-1] - long[0] > 1:
        return False
    axis = min(long[0], array.ndim - 2)
    launch = _correlation(
        array.shape,
        axis,
        taps.shape[axis : axis + 2],
        (begins[axis], begins[axis + 1]),
        continuation,
        (array.dtype, out.dtype),
        threads,
        taps.astype(np.float64).tobytes(),
        as_fill(fill, array.dtype) is not None,
    )
    launch.run((array, out), workers_for(seconds_in_order(array.size, taps.size), threads), (fill,))
    return True


@remembered(256)
def _correlation(
    shape: tuple[int, ...],
    axis: int,
    extent: tuple[int, int],
    begin: tuple[int, int],
    continuation: str,
    types: tuple[np.dtype, np.dtype],
    threads: int,
    weights: bytes,
    near: bool,
) -> Launch:
    """What `correlate_in_order` remembers of a kernel along `axis` and the next."""
    inner = prod(shape[axis + 2 :])
    array = Continued(prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :]), inner, (continuation, continuation))
    kernel = np.frombuffer(weights).reshape(extent)
    sums = sums_over(kernel, begin, inner)
    near = near and (_error(sums, types[0]) == 0.0 or not _is_often_whole(sums))
    return launch_in_order(array, sums, None, types, threads, near)
