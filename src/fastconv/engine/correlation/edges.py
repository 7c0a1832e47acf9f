"""Lines and planes that continue past their edges.

The outputs that see past an edge are recomputed from continued patches along the edges. A small image is continued as a
whole, which is less work.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from math import prod
from typing import NamedTuple

import numpy as np

from fastconv.engine.correlation.base import Past, refuse_more_axes
from fastconv.engine.geometry import REMEMBERED, FilterGeometry
from fastconv.engine.patches import continued_patch, gather, places
from fastconv.engine.plan import Composite, Part, Plan, Planned
from fastconv.engine.rates import rates
from fastconv.kernels import threads

# An image up to this size is continued in one piece.
_SMALL_BYTES = 1 << 20

# Approximate limit on the size of a continued patch, unless the kernel itself is larger.
_PATCH_BYTES = 4 << 20


def _refuse_if_inside(geometry: FilterGeometry) -> str | None:
    """The refusal of solvers that continue images."""
    refusal = refuse_more_axes(geometry)
    if refusal is None and geometry.is_inside:
        refusal = "continues images past their edges, here outputs see only zeros there, or nothing"
    return refusal


def _continued_bytes(g: FilterGeometry, dtype: np.dtype) -> int:
    return prod(g.continued_extent) * dtype.itemsize


class Whole(Composite):
    """A continued copy of a small image, which is less work than one patch per edge."""

    name = "whole"

    def refuse(self, geometry: FilterGeometry, dtype: np.dtype) -> str | None:
        refusal = _refuse_if_inside(geometry)
        if refusal is None and _continued_bytes(geometry, dtype) > _SMALL_BYTES:
            return f"continues images of up to {_SMALL_BYTES >> 20} MiB as a whole"
        return refusal

    def cost(self, geometry: FilterGeometry, dtype: np.dtype) -> float:
        return 2e-6 + _continued_bytes(geometry, dtype) / rates().memory

    def workspace_bytes(self, geometry: FilterGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        return _continued_bytes(geometry, dtype)

    def parts(self, geometry: FilterGeometry, dtype: np.dtype, planned: Planned) -> tuple[Part, ...]:
        extent = geometry.continued_extent
        return (Part("continued", planned(geometry.of_part(extent, ((0, 0),) * len(extent)))),)

    def run(self, plan: Plan, image: np.ndarray, kernel: np.ndarray, out: np.ndarray, past: Past) -> None:
        ((_, part, *_),) = plan.parts
        begins = tuple(-begin for begin, _ in plan.geometry.padding)
        _run_patch(part, image, kernel, begins, out, past)


class Edges(Composite):
    """The image as if zeros surrounded it, and patches for the outputs that see past an edge."""

    name = "edges"

    def refuse(self, geometry: FilterGeometry, dtype: np.dtype) -> str | None:
        refusal = _refuse_if_inside(geometry)
        if refusal is None and _continued_bytes(geometry, dtype) <= _SMALL_BYTES:
            return f"recomputes the edges of images of more than {_SMALL_BYTES >> 20} MiB"
        return refusal

    def cost(self, geometry: FilterGeometry, dtype: np.dtype) -> float:
        copied = 2 * dtype.itemsize / rates().memory
        return sum(
            sum(sides.values()) * (3e-6 + copied * prod(_seen(outputs, geometry.kernel)))
            for outputs, sides in _layout(geometry, dtype.itemsize).patches.items()
        )

    def workspace_bytes(self, geometry: FilterGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        patches = _layout(geometry, dtype.itemsize).patches
        return 2 * max((prod(_seen(outputs, geometry.kernel)) for outputs in patches), default=0) * dtype.itemsize

    def parts(self, geometry: FilterGeometry, dtype: np.dtype, planned: Planned) -> tuple[Part, ...]:
        layout = _layout(geometry, dtype.itemsize)
        parts = [] if layout.inside is None else [Part("inside", planned(layout.inside))]
        unpadded = ((0, 0),) * len(geometry.extent)
        for outputs, sides in layout.patches.items():
            count, patch = sum(sides.values()), geometry.of_part(_seen(outputs, geometry.kernel), unpadded)
            parts.append(Part(_label(sides), planned(patch), count, count))
        return tuple(parts)

    def run(self, plan: Plan, image: np.ndarray, kernel: np.ndarray, out: np.ndarray, past: Past) -> None:
        layout = _layout(plan.geometry, out.itemsize)
        if layout.inside is not None:
            part, begin = plan.parts[0].plan, layout.begin
            seen = image[begin : begin + layout.inside.extent[0]] if image.ndim == 2 else image
            part.strategy.run(part, seen, kernel, out[layout.target], past)
        for piece in _pieces(plan.geometry, out.itemsize):
            _run_patch(plan.parts[piece.part].plan, image, kernel, piece.begins, out[piece.target], past)


def _label(sides: dict[str, int]) -> str:
    """``top``, ``each of top, bottom`` or ``each of 16 at top, bottom``."""
    count, names = sum(sides.values()), ", ".join(sides)
    if count == 1:
        return names
    return f"each of {names}" if count == len(sides) else f"each of {count} at {names}"


_Target = tuple[slice, ...]


class _Layout(NamedTuple):
    """How the outputs are divided, without the places of single patches, of which a huge image would have billions."""

    inside: FilterGeometry | None
    """The correlation for the outputs that see past no edge but those left and right, if there are any."""
    target: _Target
    """These outputs."""
    begin: int
    """The first row, or sample of a line, that they see."""
    sides: tuple[tuple[str, _Target], ...]
    """The other outputs, which are computed from patches."""
    patches: dict[tuple[int, ...], dict[str, int]]
    """The numbers of outputs that patches have along each axis, and how many such patches there are at each side."""


@functools.lru_cache(maxsize=REMEMBERED)
def _layout(g: FilterGeometry, itemsize: int) -> _Layout:
    """The outputs that see past no edge but those left and right, if there are any, and patches for all others.

    Rows that see past the top or bottom are computed once; ends of other rows twice, since strategies write whole rows.
    """
    within = []
    for (begin, _), i, k, o in zip(g.padding, g.extent, g.kernel, g.out_extent, strict=True):
        first = min(begin, o)
        within.append((first, min(o, max(first, i - k + 1 + begin))))
    target = [slice(0, o) for o in g.out_extent]
    inside, inner, top = None, tuple(target), 0
    if all(first < last for first, last in within):
        extent, padding = g.extent, g.padding
        if len(extent) == 2:
            first, last = within[0]
            extent, padding = (last - first + g.kernel[0] - 1, extent[1]), ((0, 0), padding[1])
            target[0] = slice(first, last)
            top = first - g.padding[0][0]
        inside, inner = g.of_part(extent, padding), tuple(target)
        target[0] = slice(0, g.out_extent[0])
    sides: list[tuple[str, _Target]] = []
    for axis, (first, last) in enumerate(within):
        names = ("left", "right") if axis == len(within) - 1 else ("top", "bottom")
        for name, edge in zip(names, (slice(0, first), slice(last, g.out_extent[axis])), strict=True):
            target[axis] = edge
            if all(part.start < part.stop for part in target):
                sides.append((name, tuple(target)))
        target[axis] = slice(first, last)
    patches: dict[tuple[int, ...], dict[str, int]] = {}
    for name, side in sides:
        for outputs, count in _patch_counts(_extents(side), g.kernel, itemsize).items():
            patches.setdefault(outputs, {})[name] = count
    return _Layout(inside, inner, top, tuple(sides), patches)


def _extents(target: _Target) -> tuple[int, ...]:
    return tuple([part.stop - part.start for part in target])


def _seen(outputs: tuple[int, ...], kernel: tuple[int, ...]) -> tuple[int, ...]:
    """The extents of what so many outputs see."""
    return tuple([o + k - 1 for o, k in zip(outputs, kernel, strict=True)])


def _halved_axis(outputs: tuple[int, ...], kernel: tuple[int, ...], itemsize: int) -> int | None:
    """The axis along which a patch for so many outputs is halved, or ``None`` if it is small enough."""
    if prod(_seen(outputs, kernel)) * itemsize <= _PATCH_BYTES:
        return None
    axis = max(range(len(outputs)), key=lambda a: outputs[a] / kernel[a])
    return axis if outputs[axis] >= max(2, 2 * kernel[axis]) else None


def _patch_counts(outputs: tuple[int, ...], kernel: tuple[int, ...], itemsize: int) -> dict[tuple[int, ...], int]:
    """The numbers of outputs that patches for so many `outputs` have, and how many such patches there are."""
    counts: dict[tuple[int, ...], int] = {}
    level = {outputs: 1}
    while level:
        halves: dict[tuple[int, ...], int] = {}
        for shape, count in level.items():
            axis = _halved_axis(shape, kernel, itemsize)
            if axis is None:
                counts[shape] = counts.get(shape, 0) + count
                continue
            first = shape[axis] // 2
            for extent in (first, shape[axis] - first):
                half = (*shape[:axis], extent, *shape[axis + 1 :])
                halves[half] = halves.get(half, 0) + count
        level = halves
    return counts


def _targets(target: _Target, kernel: tuple[int, ...], itemsize: int) -> Iterator[_Target]:
    """The outputs `target`, divided into those of one patch each."""
    axis = _halved_axis(_extents(target), kernel, itemsize)
    if axis is None:
        yield target
        return
    first, last = target[axis].start, target[axis].stop
    middle = first + (last - first) // 2
    for half in (slice(first, middle), slice(middle, last)):
        yield from _targets((*target[:axis], half, *target[axis + 1 :]), kernel, itemsize)


class _Piece(NamedTuple):
    """The outputs that are computed from one patch."""

    target: _Target
    begins: tuple[int, ...]
    """The index of the continued image at which the patch begins."""
    part: int
    """The part of the plan that computes them: patches of equal extents share one."""


@functools.lru_cache(maxsize=REMEMBERED)
def _pieces(g: FilterGeometry, itemsize: int) -> tuple[_Piece, ...]:
    """Every single patch."""
    layout = _layout(g, itemsize)
    parts = {outputs: number for number, outputs in enumerate(layout.patches, layout.inside is not None)}
    pieces = []
    for _, side in layout.sides:
        for target in _targets(side, g.kernel, itemsize):
            begins = tuple(part.start - begin for part, (begin, _) in zip(target, g.padding, strict=True))
            pieces.append(_Piece(target, begins, parts[_extents(target)]))
    return tuple(pieces)


def _run_patch(
    plan: Plan, image: np.ndarray, kernel: np.ndarray, begins: Sequence[int], out: np.ndarray, past: Past
) -> None:
    """Correlate the continued image, starting at index `begins`, into `out`."""
    patch = continued_patch(image, begins, plan.geometry.extent, past.continuation, past.fill)
    result = out if out.flags.c_contiguous else threads.aligned_empty(out.size, out.dtype).reshape(out.shape)
    plan.strategy.run(plan, patch, kernel, result, past)
    if result is not out:
        gather(result, out, *(places(0, extent, extent, "constant") for extent in out.shape))
