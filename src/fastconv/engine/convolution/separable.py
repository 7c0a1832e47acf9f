"""Sums of outer products: a kernel of rank r costs r·(kh + kw) taps per output instead of kh·kw.

If the kernel is a single outer product, this is found without rounding: the row and the column through the largest tap
are its factors (cross approximation; Bebendorf, Approximation of boundary element matrices, 2000). The factors are used
if they reproduce every single tap to within a few roundings, so results are as accurate, output by output, as plain
sums. Boxes get factors of ones, and kernels of whole numbers get whole factors, with which whole sums stay whole.

For sums of several, the singular value decomposition finds the pairs ``w = sum_t u_t v_tᵀ``. Singular values below the
rounding of the kernel itself are dropped (Golub and Van Loan, Matrix Computations, section 2.4; Treitel and Shanks, The
design of multistage separable planar filters, 1971). That bounds the error only for the output as a whole. Gaussians,
boxes and Sobel's kernels have rank 1, Laplacians of Gaussians rank 2.
"""

from __future__ import annotations

import functools
import math
from math import sqrt
from typing import Any, NamedTuple

import numpy as np

from fastconv.engine.boundary import edge_indices
from fastconv.engine.convolution.base import PreparesFirst, PricedQuickly, refuse_unless_real_2d, sum_error
from fastconv.engine.convolution.direct import Direct
from fastconv.engine.epilogue import Epilogue
from fastconv.engine.geometry import REMEMBERED, ConvGeometry
from fastconv.engine.launch import Launch
from fastconv.engine.rates import ratios
from fastconv.engine.remembering import remembered
from fastconv.engine.replay import constant, unrepeatable
from fastconv.engine.rounding import MAX_OVER_RMS, unit_roundoff
from fastconv.kernels import threads as team

_FLOAT64 = np.dtype(np.float64)

# Seconds to find the factors of an outer product, or that there are none.
FIND_SECONDS = 4e-5

# Rounding both factors of a pair, relative to their product, in roundings u: 0.42 u each for significands whose
# logarithms are equally distributed.
_FACTORS_RMS = 0.6

# What the decomposition leaves of each pair, relative to the kernel, in roundings of float64. For normal kernels of
# 3 × 3 to 63 × 63 taps and 2 to 63 terms, root mean squares of 2.2 to 7.1 were measured.
_DECOMPOSITION_RMS = 5.0

# Most output columns per tile; wider rows gain nothing.
_MAX_COLUMNS = 4096


class Factors(NamedTuple):
    """Filters (oc, icg) as `terms` pairs of factors each: ``weight = columns @ rows``."""

    columns: np.ndarray
    rows: np.ndarray
    weight: np.ndarray | None

    @property
    def terms(self) -> int:
        terms: int = self.rows.shape[2]
        return terms

    @property
    def nbytes(self) -> int:
        return sum(array.nbytes for array in self if array is not None)


def outer_factors(column: np.ndarray, row: np.ndarray) -> Factors:
    """The factors of one kernel, ``outer(column, row)``."""
    if len(column) == 1:  # there is only the pass along the rows
        column, row = np.ones_like(column), row * column[0]
    column, row = np.ascontiguousarray(column), np.ascontiguousarray(row)
    return Factors(column.reshape(1, 1, -1, 1), row.reshape(1, 1, 1, -1), None)


def outer_product(kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """A float64 column (kh,) and row (kw,) which, rounded to the kernel's type, multiply to all its taps.

    Products may differ from the taps by the rounding of the column and of the row, which is no more than sums of that
    many terms err anyway; zeros and whole numbers are reproduced exactly. ``None`` if the kernel (kh, kw) has no such
    factors.

    Examples
    --------
    >>> outer_product(np.array([[2.0, 4.0, 2.0], [6.0, 12.0, 6.0]]))
    (array([1., 3.]), array([2., 4., 2.]))
    >>> outer_product(np.array([[2.0, 4.0, 2.0], [6.0, 12.1, 6.0]])) is None
    True
    """
    taps = kernel.astype(np.float64)
    if not np.isfinite(taps).all():
        return None
    i, j = divmod(int(np.abs(taps).argmax()), taps.shape[1])
    column, row, pivot = taps[:, j], taps[i], float(taps[i, j])
    if pivot == 0:
        return np.zeros_like(column), row
    # The row is at most 1, so that sums along a row only overflow or underflow if plain sums do.
    shares = (column / pivot).astype(kernel.dtype).astype(np.float64)
    if (np.abs(np.outer(shares, row) - taps) > sum(kernel.shape) * np.finfo(kernel.dtype).eps * np.abs(taps)).any():
        return None
    # If the taps are whole, a whole column without a common divisor leaves a whole row.
    with np.errstate(all="ignore"):  # the taps may be too far apart to have a common divisor
        numbers = column / math.copysign(functools.reduce(_common_divisor, column.tolist()), pivot)
        quotients = row / numbers[i]
        representable = all((array == array.astype(kernel.dtype)).all() for array in (numbers, quotients))
        if representable and np.array_equal(np.outer(numbers, quotients), taps):
            return numbers, quotients
    # Sums of whole numbers are exact below this limit, and must stay exact there.
    whole = abs(pivot) < 2.0 ** (np.finfo(kernel.dtype).nmant + 1) and np.array_equal(taps, np.rint(taps))
    return None if whole else (shares, row)


def _common_divisor(a: float, b: float) -> float:
    """The greatest common divisor, by Euclid's algorithm: floating-point remainders are exact."""
    a, b = abs(a), abs(b)
    while b:
        a, b = b, math.fmod(a, b)
    return a


def _rounding(dtype: np.dtype) -> float:
    """What rounding may leave of a zero singular value, relative to the kernel's norm: by its taps, and by the SVD."""
    return float(np.finfo(dtype).eps + 4 * np.finfo(np.float64).eps)


def factorise(weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Float64 columns (oc, icg, kh, terms) and rows (oc, icg, terms, kw), with as few terms as are exact to the dtype.

    The part that is dropped from sums of several has at most the norm of one unit in the last place of every tap.

    Examples
    --------
    >>> gaussian = np.exp(-np.arange(-3.0, 4) ** 2)
    >>> factorise(np.outer(gaussian, gaussian)[None, None])[0].shape
    (1, 1, 7, 1)
    """
    wide = weight.astype(np.float64)
    if weight.shape[2] == 1:
        return np.ones((*weight.shape[:2], 1, 1)), wide
    if weight.shape[3] == 1:
        return wide, np.ones((*weight.shape[:2], 1, 1))
    pairs = []
    for kernel in weight.reshape(-1, *weight.shape[2:]):
        if (pair := outer_product(kernel)) is None:
            break
        pairs.append(pair)
    else:
        columns, rows = (np.array(vectors) for vectors in zip(*pairs, strict=True))
        return columns.reshape(*weight.shape[:3], 1), rows.reshape(*weight.shape[:2], 1, -1)
    # A kernel that is not finite has no decomposition: NaN factors tell `run` to use plain sums.
    known = np.isfinite(wide).all(axis=(2, 3), keepdims=True)
    u, s, vt = np.linalg.svd(np.where(known, wide, 0.0), full_matrices=False)
    dropped = np.sqrt(np.cumsum(s[..., ::-1] ** 2, axis=-1))[..., ::-1]
    exact = dropped > _rounding(weight.dtype) * dropped[..., :1]
    terms = max(1, int(exact.sum(axis=-1).max(initial=1)))
    root = np.sqrt(s[..., :terms])
    return u[..., :terms] * root[..., None, :], np.where(known, vt[..., :terms, :] * root[..., None], np.nan)


def find_factors(kernel: np.ndarray, max_terms: int) -> Factors | None:
    """The factors of one kernel (kh, kw) if it is an outer product, or the sum of at most `max_terms`, up to its norm.

    Cached for the latest kernels.
    """
    return _find_factors(kernel.tobytes(), kernel.shape, kernel.dtype.char, max_terms)


@remembered(32)
def _find_factors(taps: bytes, shape: tuple[int, int], char: str, max_terms: int) -> Factors | None:
    kernel = np.frombuffer(taps, char).reshape(shape)
    if (pair := outer_product(kernel)) is not None:
        column, row = (np.ascontiguousarray(array, char) for array in pair)
        return Factors(
            constant(column.reshape(1, 1, -1, 1)), constant(row.reshape(1, 1, 1, -1)), kernel[np.newaxis, np.newaxis]
        )
    if max_terms == 0:
        return None
    # The rank of a submatrix is a lower bound of the kernel's, which excludes most kernels at little cost.
    at = (np.linspace(0, extent - 1, min(extent, max_terms + 1)).astype(int) for extent in shape)
    sample = kernel[np.ix_(*at)].astype(np.float64)
    norm = float(np.linalg.norm(kernel.astype(np.float64)))
    if not np.isfinite(norm):
        return None
    if min(sample.shape) > max_terms and np.linalg.svd(sample, compute_uv=False)[-1] > _rounding(kernel.dtype) * norm:
        return None
    factors = Separable().prepare_weight(kernel[np.newaxis, np.newaxis])
    return factors if factors.terms <= max_terms else None


class _Tiling(NamedTuple):
    row_tile: int
    down: int
    col_tile: int
    across: int

    @property
    def tiles(self) -> int:
        return self.down * self.across


def _tiling(oh: int, ow: int, kh: int, kw: int, terms: int, planes: int, itemsize: int, threads: int) -> _Tiling:
    """All columns per tile, or as many as keep the ring in L1; and all rows, unless tiles would be too few."""
    from fastconv.kernels.cpu import cache_bytes
    from fastconv.kernels.slots import ABREAST, LANES

    block = ABREAST * LANES[itemsize]
    whole, line = -(-ow // block) * block, itemsize * (terms * kh + 2)
    l1, l2, *_ = cache_bytes()
    # Tiles of a part of each row read and write on many pages at once: rather a ring that fits L2.
    fitting = whole if whole * line <= l2 // 4 else l1 * 3 // 4 // line // block * block
    col_tile = min(max(block, min(fitting, _MAX_COLUMNS)), whole)
    across = -(-ow // col_tile)
    # Every band of rows filters the kh - 1 rows above it again.
    bands = min(-(-2 * threads // (planes * across)) if threads > 1 else 1, max(1, oh // (2 * kh)))
    row_tile = -(-oh // bands)
    return _Tiling(row_tile, -(-oh // row_tile), col_tile, across)


def _arguments(
    extent: tuple[int, ...],
    strides: tuple[int, ...],
    filters: tuple[int, ...],
    kw: int,
    out: tuple[int, ...],
    padding: tuple[tuple[int, int], ...],
    dtype: np.dtype,
    threads: int,
    groups: int,
    activation: int,
) -> tuple[Any, int]:
    """The kernel's arguments (kernels/simd/separable.h), and its tiles."""
    from fastconv.kernels.slots import arguments

    (n, oc, oh, ow), (_, icg, kh, terms) = out, filters
    (ih, iw), ((pt, _), (pl, _)) = extent[2:], padding
    tiling = _tiling(oh, ow, kh, kw, terms, max(1, n * oc), dtype.itemsize, threads)
    xn, xc, xh, xw = (stride // dtype.itemsize for stride in strides)
    ints = arguments("separable")(
        oc=oc,
        icg=icg,
        ocg=oc // groups,
        ih=ih,
        iw=iw,
        oh=oh,
        ow=ow,
        kh=kh,
        kw=kw,
        terms=terms,
        pt=pt,
        pl=pl,
        xn=xn,
        xc=xc,
        xh=xh,
        xw=xw,
        **tiling._asdict(),
        activation=activation,
    )
    return ints, n * oc * tiling.tiles


@remembered(REMEMBERED)
def _launch(
    extent: tuple[int, ...],
    strides: tuple[int, ...],
    filters: tuple[int, ...],
    kw: int,
    out: tuple[int, ...],
    padding: tuple[tuple[int, int], ...],
    dtype: np.dtype,
    threads: int,
    groups: int,
    continuation: tuple[str, ...],
    activation: int,
) -> Launch:
    """The launch with the maps of rows and columns; cached, because making it anew dominates small images."""
    ints, tiles = _arguments(extent, strides, filters, kw, out, padding, dtype, threads, groups, activation)
    (pt, _), (pl, _) = padding
    maps = (
        edge_indices(pt, ints.oh + ints.kh - 1 - pt, ints.ih, continuation[0]),
        edge_indices(pl, ints.ow + kw - 1 - pl, ints.iw, continuation[1]),
    )
    return Launch.of("separable", dtype, ints, tiles, tables=maps)


def correlate_factors(
    x: np.ndarray,
    factors: Factors,
    out: np.ndarray,
    padding: tuple[tuple[int, int], ...],
    threads: int,
    groups: int = 1,
    continuation: tuple[str, ...] = ("constant", "constant"),
    fill: float = 0.0,
    epilogue: Epilogue = Epilogue(),  # noqa: B008 -- immutable
) -> bool:
    """Correlate x (n, ic, ih, iw) into `out`, and return whether every sum was finite.

    The image is continued by `padding` samples past its edges, in the modes `continuation` of rows and columns.
    """
    columns, rows, _ = factors
    launch = _launch(
        *(x.shape, x.strides, columns.shape, rows.shape[-1], out.shape, padding, x.dtype, threads),
        *(groups, continuation, epilogue.activation),
    )
    not_finite = team.flags(threads)
    launch.run((x, out, columns, rows, epilogue.bias, not_finite), threads, (fill, epilogue.parameter))
    return not any(not_finite.tolist())


def passes_seconds(planes: int, out: tuple[int, int], taps: tuple[int, int], terms: int, itemsize: int) -> float:
    """Estimated seconds of `correlate_factors` on one thread, for so many pairs of an input and an output plane."""
    (oh, ow), (kh, kw) = out, taps
    passes = 2 * terms * (kw * (oh + kh - 1) / oh / 50e9 + kh / 75e9) / ratios().float32 + 5e-10 / ratios().l2
    return 6e-6 + planes * (oh + kh - 1) * 4e-8 * terms + planes * (oh * ow) * passes * (itemsize / 4)


def passes_scratch(
    extent: tuple[int, ...],
    filters: tuple[int, ...],
    kw: int,
    out: tuple[int, ...],
    padding: tuple[tuple[int, int], ...],
    dtype: np.dtype,
    threads: int,
    groups: int = 1,
) -> int:
    """Bytes of scratch memory of `correlate_factors` for images and filters of these shapes."""
    from fastconv.kernels.slots import scratch

    ints, _ = _arguments(extent, (0,) * 4, filters, kw, out, padding, dtype, threads, groups, 0)
    return threads * int(scratch("separable", dtype, ints))


class Separable(PreparesFirst, PricedQuickly):
    name = "separable"
    local = True
    continues = True

    def componentwise(self, geometry: ConvGeometry) -> bool:
        """True for kernels of one row or column: other factors may come from a decomposition, exact only in norm."""
        return min(geometry.kernel) == 1

    def refuse(self, geometry: ConvGeometry, dtype: np.dtype) -> str | None:
        refusal = refuse_unless_real_2d(geometry, dtype)
        if refusal is None and max(*geometry.stride, *geometry.dilation) > 1:
            refusal = "computes dense windows, with stride and dilation 1"
        return refusal

    def cost(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        return self.cost_of_terms(geometry, dtype, min(geometry.kh, geometry.kw))

    def cost_of_terms(self, geometry: ConvGeometry, dtype: np.dtype, terms: int) -> float:
        """`cost` for a kernel with a known number of `terms`; from the geometry alone only the most is known."""
        g = geometry
        return passes_seconds(g.n * g.oc * g.ic // g.g, (g.oh, g.ow), (g.kh, g.kw), terms, dtype.itemsize)

    def prepare_cost(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        g = geometry
        if min(g.kernel) == 1:
            return 2e-5
        return FIND_SECONDS + g.oc * g.ic // g.g * (5e-6 + 5e-9 * g.taps * min(g.kernel))

    def error(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        return self.error_of_terms(geometry, dtype, min(geometry.kernel))

    def error_of_terms(self, geometry: ConvGeometry, dtype: np.dtype, terms: int, exact: bool = False) -> float:
        """`error` for a kernel with a known number of `terms`; a single one may be `exact`, found without rounding.

        Variances add up, in squared roundings of an output of variance 1. The pass along the rows is a running sum of
        kw products, whose errors the second pass weighs as it does the values; this is a running sum of kh products per
        term and channel (see `running_error`). Then each factor is rounded. The factors of several terms come from a
        decomposition in float64, which errs by more than they are rounded if that is their own type.
        """
        g = geometry
        if min(g.kernel) == 1:  # one pass, whose weights are those of the kernel
            return sum_error(g, dtype)
        unit = unit_roundoff(dtype)
        variance = (g.kw + g.kh * terms * g.ic / g.g) / 6 + _FACTORS_RMS**2
        if not exact:
            variance += terms * (_DECOMPOSITION_RMS * unit_roundoff(_FLOAT64) / unit) ** 2
        return MAX_OVER_RMS * unit * sqrt(variance)

    def workspace_bytes(self, geometry: ConvGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        g = geometry
        terms = min(g.kernel)
        filters = (g.oc, g.ic // g.g, g.kh, terms)
        factors = g.oc * g.reduction // g.taps * terms * (g.kh + g.kw) * dtype.itemsize
        maps = 8 * (g.kh + g.kw + sum(map(sum, g.padding)))
        scratch = passes_scratch(g.x_shape, filters, g.kw, g.out_shape, g.padding, dtype, threads, g.g)
        return scratch + factors + maps

    def prepare(self, geometry: ConvGeometry, weight: np.ndarray, threads: int) -> Factors:
        return self.prepare_weight(weight)

    def prepare_weight(self, weight: np.ndarray) -> Factors:
        unrepeatable()
        columns, rows = factorise(weight)
        columns, rows = (np.ascontiguousarray(array, weight.dtype) for array in (columns, rows))
        return Factors(columns, rows, np.ascontiguousarray(weight))

    def run(
        self,
        geometry: ConvGeometry,
        x: np.ndarray,
        prepared: Factors,
        out: np.ndarray,
        epilogue: Epilogue,
        threads: int,
        max_workspace: int,
        fill: Any = 0,
    ) -> None:
        g = geometry
        mode = "constant" if g.boundary == "zeros" else g.boundary
        if not correlate_factors(x, prepared, out, g.padding, threads, g.g, (mode, mode), float(fill), epilogue):
            unrepeatable()
            # If an output sees infinity, passes may subtract it from itself.
            assert prepared.weight is not None, "prepare() keeps it"
            Direct().run(geometry, x, prepared.weight, out, epilogue, threads, max_workspace, fill)
