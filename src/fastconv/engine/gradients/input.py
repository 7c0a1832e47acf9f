"""The gradient of a convolution with respect to its input, which is also the transposed convolution.

A stride divides the input into phases that different taps reach. Each phase is a convolution of stride 1 with those
taps, reversed, and with the channels swapped. No zeros are inserted, and the planner chooses a strategy for each
(Dumoulin and Visin, A guide to convolution arithmetic for deep learning, 2016, chapter 4).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import numpy as np

from fastconv.engine.convolution import CONVOLUTION
from fastconv.engine.convolution.base import finish_planes, refuse_unless_real
from fastconv.engine.convolution3d import CONVOLUTION_3D
from fastconv.engine.epilogue import PLAIN, Epilogue
from fastconv.engine.geometry import REMEMBERED, ConvGeometry, Phase
from fastconv.engine.launch import Launch, workers_for
from fastconv.engine.plan import Composite, Kind, Part, Plan, Planned, Solver
from fastconv.engine.rates import rates
from fastconv.engine.remembering import remembered
from fastconv.engine.replay import constant, unrepeatable
from fastconv.kernels import threads as team

# Memory per phase, with its slices: large strides have many phases.
_PHASE_BYTES = 512

# Phases that share a part and that its label names.
_NAMED = 4


class _Phases(NamedTuple):
    """The phases of a gradient, and tables for making all their weights together."""

    phases: tuple[Phase, ...]
    parts: tuple[int, ...]
    """The part that computes each phase: phases of equal geometry share one."""
    covered: bool
    """Whether the phases cover the whole input."""
    kept: np.ndarray
    """The number of taps of each phase."""
    taps: np.ndarray
    """The taps, one phase after another."""
    starts: tuple[int, ...]
    """Offsets at which the results of each phase begin, and the end of the last."""
    places: np.ndarray
    """Extents and positions of the results (see "place" in kernels/lowering.pyx)."""

    @property
    def alone(self) -> bool:
        """Whether a single phase is the whole input, so that it is computed in place."""
        return len(self.phases) == 1 and self.covered

    @property
    def nbytes(self) -> int:
        return len(self.phases) * _PHASE_BYTES + self.kept.nbytes + self.taps.nbytes + self.places.nbytes


@remembered(REMEMBERED)
def _phases(g: ConvGeometry) -> _Phases:
    phases = g.adjoint()
    ranks: dict[ConvGeometry, int] = {}
    numbers = np.arange(g.taps).reshape(g.kernel)
    taps = [numbers[phase.taps].ravel() for phase in phases]
    starts = (0, *itertools.accumulate(prod(phase.geometry.out_shape) for phase in phases))
    places = [
        (start, *_three(phase.geometry.out_extent, 1), *_three([side.start for side in phase.target], 0))
        for start, phase in zip(starts, phases, strict=False)
    ]
    return _Phases(
        phases=phases,
        parts=tuple(ranks.setdefault(phase.geometry, len(ranks)) for phase in phases),
        covered=sum(phase.geometry.positions for phase in phases) == prod(g.extent),
        kept=constant(np.array([len(kept) for kept in taps], np.int64)),
        taps=constant(np.concatenate([*taps, []]).astype(np.int64)),
        starts=starts,
        places=constant(np.array(places, np.int64)),
    )


def _three(values: Sequence[int], depth: int) -> tuple[int, ...]:
    """The values of a volume's axes: of its last two axes, those of a plane, whose first is `depth`."""
    return (depth, *values)[-3:]


class Phases(Composite):
    """One convolution per phase of the stride."""

    name = "phases"
    part_kind: Kind = CONVOLUTION

    def refuse(self, geometry: ConvGeometry, dtype: np.dtype) -> str | None:
        return refuse_unless_real(dtype)

    def cost(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        """Swapping the channels of the weight, and putting the results of phases in their places."""
        g = geometry
        placed = 2 * prod(g.x_shape) if max(g.stride) > 1 else 0
        return 4e-6 + (prod(g.weight_shape) + placed) * dtype.itemsize / rates().memory

    def workspace_bytes(self, geometry: ConvGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        g, of = geometry, _phases(geometry)
        return (g.oc * g.ic // g.g * len(of.taps) + (0 if of.alone else of.starts[-1])) * dtype.itemsize

    def parts(self, geometry: ConvGeometry, dtype: np.dtype, planned: Planned) -> tuple[Part, ...]:
        of, kind = _phases(geometry), CONVOLUTION_3D if geometry.ndim == 3 else CONVOLUTION
        sharing: dict[int, list[Phase]] = {}
        for phase, rank in zip(of.phases, of.parts, strict=True):
            sharing.setdefault(rank, []).append(phase)
        return tuple(
            Part(_label(phases), planned(phases[0].geometry, kind), len(phases), len(phases))
            for phases in sharing.values()
        )

    def run(self, plan: Plan, grad: np.ndarray, weight: np.ndarray, epilogue: Epilogue, out: np.ndarray) -> None:
        """Compute the gradient `out`, given that of the output, in the shapes of the geometry."""
        g: ConvGeometry = plan.geometry
        of = _phases(g)
        if not of.covered:
            unrepeatable()
            out[...] = 0
        weights = _swapped(g, of, np.ascontiguousarray(weight), plan.threads)
        results = None if of.alone else team.aligned_empty(of.starts[-1], out.dtype)
        fused = epilogue if of.covered else PLAIN
        for phase, rank, start, end in zip(of.phases, of.parts, of.starts, of.starts[1:], strict=False):
            values = prod(phase.geometry.weight_shape)
            swapped, weights = weights[:values].reshape(phase.geometry.weight_shape), weights[values:]
            target = out if results is None else results[start:end].reshape(phase.geometry.out_shape)
            plan.parts[rank].plan.run_once(grad[:, :, *phase.seen], swapped, fused, target)
        if results is not None:
            _place(g, of, results, out, plan.threads)
        if not of.covered:
            finish_planes(out, epilogue, plan.threads)


def _label(phases: list[Phase]) -> str:
    """``phase 0,1``, by the first of its inputs; ``each of phases 0,0 0,1``; ``each of 9 phases from 0,0``."""
    names = [",".join(str(side.start) for side in phase.target) for phase in phases]
    if len(names) == 1:
        return f"phase {names[0]}"
    if len(names) > _NAMED:
        return f"each of {len(names)} phases from {names[0]}"
    return f"each of phases {' '.join(names)}"


class InputGradient(Kind):
    """Its operands are the gradient with respect to the output, and the weight."""

    name = "input_gradient"
    title = "the input's gradient of"
    solvers: Sequence[Solver] = (Phases(),)

    def parse(self, descriptor: str) -> ConvGeometry:
        return ConvGeometry.parse(descriptor).as_2d()

    def one_image(self, geometry: ConvGeometry) -> ConvGeometry:
        return geometry  # its parts are priced for one image

    def operations(self, geometry: ConvGeometry) -> int:
        return geometry.flops

    def shapes(self, geometry: ConvGeometry) -> tuple[tuple[int, ...], ...]:
        return geometry.out_shape, geometry.weight_shape, geometry.x_shape


INPUT_GRADIENT = InputGradient()


def _swapped(g: ConvGeometry, of: _Phases, weight: np.ndarray, threads: int) -> np.ndarray:
    """The weights of all phases, one after another: reversed taps, with channels swapped within groups."""
    from fastconv.kernels.lowering import SWAPPED_CHANNELS
    from fastconv.kernels.slots import arguments

    channels = g.ic // g.g
    ints = arguments("swap_filters")(groups=g.g, M=g.oc // g.g, C=channels, taps=g.taps, phases=len(of.phases))
    launch = Launch.of("swap_filters", weight.dtype, ints, g.g * -(-channels // SWAPPED_CHANNELS))
    swapped = team.aligned_empty(g.oc * channels * len(of.taps), weight.dtype)
    launch.run((weight, swapped, of.kept, of.taps), workers_for(swapped.nbytes / rates().memory, threads))
    return swapped


def _place(g: ConvGeometry, of: _Phases, results: np.ndarray, out: np.ndarray, threads: int) -> None:
    """Write the results of all phases to their positions in the input."""
    from fastconv.kernels.slots import arguments

    (depth, height, width), (sd, sh, sw) = _three(g.extent, 1), _three(g.stride, 1)
    ints = arguments("place")(phases=len(of.phases), depth=depth, height=height, width=width, sd=sd, sh=sh, sw=sw)
    launch = Launch.of("place", out.dtype, ints, g.n * g.ic, grain=8)
    launch.run((results, out, of.places), workers_for(results.nbytes / rates().memory, threads))
