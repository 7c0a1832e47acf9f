"""What pooling solvers share: tiles, scratch memory, and launches on arrays of given strides."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from operator import mul
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import numpy as np

from fastconv.engine.arrays import checked_out, is_target
from fastconv.engine.geometry import PoolGeometry, UnevenGeometry
from fastconv.engine.launch import Launch
from fastconv.engine.plan import Plan, SumsDirectly
from fastconv.engine.rates import rates, ratios
from fastconv.engine.replay import constant, repeatable, unrepeatable
from fastconv.engine.rounding import running_error
from fastconv.kernels.jit.lookup import Constant, tile_kernel
from fastconv.kernels.jit.pools.planes import Planes, Tiles

if TYPE_CHECKING:
    from fastconv.engine.pooling.kinds import Pool

# Output values handed out at a time, about: enough to hide the hand-out, few enough to share among threads.
GRAIN_VALUES = 16384

_POSITION = np.dtype(np.int64)

Geometry = PoolGeometry | UnevenGeometry
Pooled = np.ndarray | tuple[np.ndarray, np.ndarray]
Strides = tuple[int, ...]


class Scaling(NamedTuple):
    """By what the sums of a mean are divided: `divisor`, or if that is 0, the number of values in a window."""

    count_include_pad: bool = True
    divisor: int = 0


PLAIN = Scaling()


class Cut(NamedTuple):
    """How a problem is cut into tiles."""

    rows: int
    """Output rows of a tile."""
    scratch: int = 0
    """Values of scratch memory per thread."""
    beside: tuple[int, ...] = ()
    """The integers of a kernel that follow `Planes` and `Tiles`."""


@dataclass(frozen=True, slots=True)
class Call:
    """A plan for arrays of certain strides: everything about a call except its data."""

    plan: Plan
    out_shape: tuple[int, ...]
    finds_positions: bool

    def __call__(self, x: np.ndarray, starts: tuple[np.ndarray, ...] = (), out: np.ndarray | None = None) -> Pooled:
        """The pooled array, new or `out`, and if the call finds positions, that of each value in its plane."""
        result = np.empty(self.out_shape, x.dtype) if out is None else checked_out(out, self.out_shape, x.dtype)
        positions = np.empty(self.out_shape, _POSITION) if self.finds_positions else None
        target = result if is_target(result, x) else np.empty(self.out_shape, x.dtype)
        self.into(target, positions, x, starts)
        if target is not result:
            unrepeatable()
            result[...] = target
        return repeatable(result if positions is None else (result, positions))

    def into(
        self, out: np.ndarray, positions: np.ndarray | None, x: np.ndarray, starts: tuple[np.ndarray, ...] = ()
    ) -> None:
        """Pool `x` into given arrays."""
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class PlanarCall(Call):
    """A call of one kernel; random starts take the place of the divisors of means."""

    launch: Launch

    @property
    def nbytes(self) -> int:
        return sum(0 if table is None else table.nbytes for table in self.launch.tables)

    def into(
        self, out: np.ndarray, positions: np.ndarray | None, x: np.ndarray, starts: tuple[np.ndarray, ...] = ()
    ) -> None:
        self.plan.note()
        self.launch.run((x, out, positions, *starts), self.plan.threads)


class PoolSolver(SumsDirectly):
    """A solver whose kernel, of its own name in kernels/jit/pools, takes tiles of output rows."""

    name: ClassVar[str]
    NANOSECONDS: ClassVar[tuple[float, ...]]
    """What each part of `work` takes on the machine of reference, fitted to hundreds of windows in cache.

    Nine of ten estimates were within twice of what was measured, of `direct` and `walking` between a fifth and twice of
    it. They decide how many threads run, not who computes.
    """

    def __init__(self, kind: Pool) -> None:
        self.kind = kind

    def refuse(self, g: Geometry, dtype: np.dtype) -> str | None:
        refusal = refuse_fold(self.kind, g, dtype)
        return f"computes 1 or 2 spatial axes, not {g.ndim}" if refusal is None and g.ndim > 2 else refusal

    def declines(self, g: Geometry) -> str | None:
        """Why windows that the solver could pool are left to the solvers after it."""
        return None

    def steps(self, g: Geometry, dtype: np.dtype) -> int:
        """The number of additions that follow one another in a sum."""
        raise NotImplementedError

    def work(self, g: Geometry, dtype: np.dtype) -> tuple[float, ...]:
        """How often a plane takes each of `NANOSECONDS`: once, and then what the solver lists."""
        raise NotImplementedError

    def cost(self, g: Geometry, dtype: np.dtype) -> float:
        computed: float = sum(map(mul, self.NANOSECONDS, self.work(g, dtype))) * 1e-9 / ratios().float32
        moved = max(prod(g.extent), g.positions) * dtype.itemsize / rates().l3
        return g.n * g.c * max(computed, moved)

    def cut(self, g: Geometry, dtype: np.dtype, strides: Strides) -> Cut:
        """How planes with these `element_strides` are cut into tiles."""
        return Cut(tile_rows(g))

    def kernel(
        self, g: Geometry, dtype: np.dtype, divisors: tuple[np.ndarray, ...]
    ) -> tuple[tuple[Constant, ...], tuple[np.ndarray, ...]]:
        """The constants of the kernel, and the form in which it takes the `divisors` of means."""
        return (self.kind.fold,), divisors

    def error(self, g: Geometry, dtype: np.dtype) -> float:
        """0 for what does not round."""
        return running_error(self.steps(g, dtype), dtype) if self.kind.averages else 0.0

    def workspace_bytes(self, g: Geometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        """For contiguous planes; some solvers gather the lines of others in as much more."""
        return threads * _scratch(self.cut(g, dtype, contiguous(g))) * dtype.itemsize

    def bind(self, plan: Plan, strides: Strides, out_shape: tuple[int, ...], scaling: Scaling = PLAIN) -> PlanarCall:
        """The call of `plan` on planes with these strides in bytes."""
        g, dtype = plan.geometry, np.dtype(plan.dtype)
        elements = element_strides(strides, dtype, g.ndim)
        cut = self.cut(g, dtype, elements)
        tiles = Tiles(cut.rows, -(-g.oh // cut.rows), _scratch(cut))
        constants, divisors = self.kernel(g, dtype, self.kind.divisors(g, dtype, scaling))
        has_starts = isinstance(g, UnevenGeometry) and g.windows == "drawn"
        launch = Launch(
            kernel=tile_kernel(f"pools.{self.name}:{self.name}_kernel", dtype, *constants),
            arguments=(*planes(g, elements), *tiles, *cut.beside),
            tiles=g.n * g.c * tiles.per_plane,
            grain=max(1, GRAIN_VALUES // (cut.rows * g.ow)),
            scratch=tiles.scratch * dtype.itemsize,
            tables=() if has_starts else tuple(map(constant, divisors)) or (None, None),
        )
        return PlanarCall(plan, out_shape, self.kind.positions, launch)


class RegularSolver(PoolSolver):
    """A solver of equal windows that finds no positions."""

    def refuse(self, g: Geometry, dtype: np.dtype) -> str | None:
        if isinstance(g, UnevenGeometry):
            return "windows differ in extent"
        return "finds no positions" if self.kind.positions else super().refuse(g, dtype)


def refuse_fold(kind: Pool, g: Geometry, dtype: np.dtype) -> str | None:
    """The refusal of numbers and windows that cannot be folded at all."""
    if kind.averages and max(g.dilation) > 1:
        return "means of dilated windows are not defined"
    if dtype.char in "fd" or (dtype.kind in "iu" and not kind.averages):
        return None
    return f"computes float32 and float64{'' if kind.averages else ' and integers'}, not {dtype}"


def refuse_wide_strips(g: Geometry) -> str | None:
    """The refusal of solvers whose vectors hold neighbouring outputs: strips stay within a few image widths."""
    if g.pl > g.iw:
        return f"would gather {g.pl} columns of padding around an image of {g.iw}"
    if g.sw >= 2**32:
        return f"would reach across {g.sw} columns between neighbouring lanes of a vector"
    return None


def decline_column(g: Geometry) -> str | None:
    """Where the output is a single column, the reason of solvers whose vectors hold neighbouring outputs."""
    return "vectors of outputs would be mostly empty" if g.ow == 1 and g.iw > 2 else None


def joined(g: Geometry, strides: Strides) -> tuple[Geometry, Strides]:
    """Planes that are their own only window as rows, if these strides let their rows follow one another."""
    if not isinstance(g, PoolGeometry) or g.ndim != 2 or strides[-2] != g.iw * strides[-1]:
        return g, strides
    row = g.as_row()
    return (g, strides) if row is g else (row, (*strides[:-2], strides[-1]))


def planes(g: Geometry, strides: Strides) -> Planes:
    """The integers of kernels for planes with these `element_strides`."""
    return Planes(g.c, g.ih, g.iw, g.oh, g.ow, g.kh, g.kw, g.sh, g.sw, g.dh, g.dw, g.pt, g.pl, *strides)


def element_strides(strides: Strides, dtype: np.dtype, ndim: int) -> Strides:
    """The strides of planes in elements, where a signal is a plane of one row, and a batch may be missing."""
    if ndim == 1:
        strides = (*strides[:-1], 0, strides[-1])
    return tuple(stride // dtype.itemsize for stride in (0, *strides)[-4:])


def contiguous(g: Geometry) -> Strides:
    """The strides of planes without gaps, in elements."""
    return (g.c * g.ih * g.iw, g.ih * g.iw, g.iw, 1)


def tile_rows(g: Geometry) -> int:
    """The number of output rows per tile, unless a solver needs others."""
    return min(g.oh, max(1, GRAIN_VALUES // g.ow))


def round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def _scratch(cut: Cut) -> int:
    return round_up(cut.scratch, 64)
