"""The gradient of a convolution with respect to its input, which is also the transposed convolution.

A stride divides the input into phases that different taps reach. Each phase is a convolution of stride 1 with those
taps, reversed, and with the channels swapped. No zeros are inserted, and the planner chooses a strategy for each
(Dumoulin and Visin, A guide to convolution arithmetic for deep learning, 2016, chapter 4).

Phases that see the same outputs through the same window, as all do where kernels touch but do not overlap, are one
convolution with the filters of them all.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import NamedTuple

import numpy as np

from fastconv.engine.convolution import CONVOLUTION
from fastconv.engine.convolution.base import finish_planes, refuse_unless_real
from fastconv.engine.convolution3d import CONVOLUTION_3D
from fastconv.engine.epilogue import PLAIN, Epilogue
from fastconv.engine.geometry import REMEMBERED, ConvGeometry, Phase
from fastconv.engine.gradients.columns import Columns
from fastconv.engine.launch import Launch, workers_for
from fastconv.engine.patches import Places, Target, gather, place, places, targets
from fastconv.engine.plan import Composite, Kind, Part, Plan, Planned, Solver
from fastconv.engine.rates import rates, ratios
from fastconv.engine.remembering import remembered
from fastconv.engine.replay import constant, unrepeatable
from fastconv.kernels import threads as team

# Memory per phase, with its slices: large strides have many phases.
_PHASE_BYTES = 512

# Results of images that are computed together, before they are placed: from a shared cache, and in scratch memory that
# is not too large to be kept for the next call.
_RESULTS_BYTES = 4 << 20

# Seconds to swap the channels of a value of the weight, whose neighbours lie far apart, and to launch what computes a
# phase of a volume depth by depth.
_SWAP_SECONDS, _VOLUME_SECONDS = 1.6e-9, 3e-5

# Phases that share a part and that its label names.
_NAMED = 4


class _Joint(NamedTuple):
    """Phases that one convolution computes."""

    geometry: ConvGeometry
    """With the filters of all of them, one phase after another."""
    phases: tuple[Phase, ...]
    start: int
    """The index of their first result."""

    @property
    def seen(self) -> tuple[slice, ...]:
        return self.phases[0].seen


class _Phases(NamedTuple):
    """The phases of a gradient, and tables for making all their weights together."""

    joints: tuple[_Joint, ...]
    """Those of equal geometry, which share a part, follow one another."""
    covered: bool
    """Whether the phases cover the whole input."""
    kept: np.ndarray
    """The number of taps of each phase."""
    taps: np.ndarray
    """The taps, one phase after another."""
    values: int
    """The number of results of all phases."""
    places: np.ndarray
    """Extents and positions of the results (see `place`)."""

    @property
    def alone(self) -> bool:
        """Whether a single phase is the whole input, so that it is computed in place."""
        return len(self.kept) == 1 and self.covered

    @property
    def nbytes(self) -> int:
        return len(self.kept) * _PHASE_BYTES + self.kept.nbytes + self.taps.nbytes + self.places.nbytes


@remembered(REMEMBERED)
def _phases(g: ConvGeometry) -> _Phases:
    seen_alike: dict[tuple[ConvGeometry, str], list[Phase]] = {}
    for number, phase in enumerate(g.adjoint()):
        # Slices have no hashes. Filters of several groups would have to lie group by group.
        key = repr(phase.seen) if g.g == 1 else str(number)
        seen_alike.setdefault((phase.geometry, key), []).append(phase)
    of_geometry: dict[ConvGeometry, list[list[Phase]]] = {}
    for (geometry, _), phases in seen_alike.items():
        joint = replace(geometry, oc=len(phases) * geometry.oc)
        of_geometry.setdefault(joint, []).append(phases)
    joints, kept, places, start = [], [], [], 0
    numbers = np.arange(g.taps).reshape(g.kernel)
    for joint, lists in of_geometry.items():
        for phases in lists:
            joints.append(_Joint(joint, tuple(phases), start))
            apart = prod(joint.out_shape[1:])
            for rank, phase in enumerate(phases):
                kept.append(numbers[phase.taps].ravel())
                places.append(
                    Target(
                        start + rank * (apart // len(phases)),
                        _three(phase.geometry.out_extent, 1),
                        _three([side.start for side in phase.target], 0),
                        apart,
                    )
                )
            start += prod(joint.out_shape)
    return _Phases(
        joints=tuple(joints),
        covered=sum(phase.geometry.positions for joint in joints for phase in joint.phases) == prod(g.extent),
        kept=constant(np.array([len(taps) for taps in kept], np.int64)),
        taps=constant(np.concatenate([*kept, []]).astype(np.int64)),
        values=start,
        places=targets(places),
    )


@remembered(REMEMBERED)
def _images(g: ConvGeometry, itemsize: int) -> ConvGeometry:
    """The problem of as many images as are computed together: all of them, or a part into which they can be divided."""
    least = -(-prod(g.x_shape) * itemsize // _RESULTS_BYTES)
    if g.n < 2 or least < 2 or _phases(g).alone:
        return g
    parts = range(min(least, g.n), min(4 * least, g.n) + 1)
    return replace(g, n=g.n // next((count for count in parts if g.n % count == 0), 1))


def _three(values: Sequence[int], depth: int) -> tuple[int, int, int]:
    """The values of a volume's axes: of its last two axes, those of a plane, whose first is `depth`."""
    first, second, third = (depth, *values)[-3:]
    return first, second, third


class Phases(Composite):
    """One convolution per phase of the stride."""

    name = "phases"
    part_kind: Kind = CONVOLUTION

    def refuse(self, geometry: ConvGeometry, dtype: np.dtype) -> str | None:
        return refuse_unless_real(dtype)

    def cost(self, geometry: ConvGeometry, dtype: np.dtype) -> float:
        """Swapping the channels of the weight, and putting the results of phases in their places."""
        g = geometry
        placed = 2 * prod(g.x_shape) * dtype.itemsize / rates().memory if max(g.stride) > 1 else 0.0
        launched = g.n * len(_phases(g).kept) * _VOLUME_SECONDS if g.ndim == 3 else 0.0
        return 4e-6 + prod(g.weight_shape) * _SWAP_SECONDS / ratios().l2 + placed + launched

    def workspace_bytes(self, geometry: ConvGeometry, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        g, of = geometry, _phases(_images(geometry, dtype.itemsize))
        return (g.oc * g.ic // g.g * len(of.taps) + (0 if of.alone else of.values)) * dtype.itemsize

    def parts(self, geometry: ConvGeometry, dtype: np.dtype, planned: Planned) -> tuple[Part, ...]:
        images, kind = _images(geometry, dtype.itemsize), CONVOLUTION_3D if geometry.ndim == 3 else CONVOLUTION
        of, runs, parts = _phases(images), geometry.n // max(1, images.n), []
        for joint, joints in itertools.groupby(of.joints, lambda joint: joint.geometry):
            lists = [each.phases for each in joints]
            times = len(lists) * max(1, runs)
            parts.append(Part(_label(lists), planned(joint, kind), times, times))
        return tuple(parts)

    def run(self, plan: Plan, grad: np.ndarray, weight: np.ndarray, epilogue: Epilogue, out: np.ndarray) -> None:
        """Compute the gradient `out`, given that of the output, in the shapes of the geometry."""
        g = _images(plan.geometry, out.itemsize)
        of = _phases(g)
        if not of.covered:
            unrepeatable()
            out[...] = 0
        weights = _swapped(g, of, np.ascontiguousarray(weight), plan.threads)
        results = None if of.alone else team.aligned_empty(of.values, out.dtype)
        fused = epilogue if of.covered else PLAIN
        of_part = {part.plan.geometry: part.plan for part in plan.parts}
        runs = []
        for joint in of.joints:
            values = prod(joint.geometry.weight_shape)
            swapped, weights = weights[:values].reshape(joint.geometry.weight_shape), weights[values:]
            runs.append((joint, of_part[joint.geometry], swapped, _of_all(fused, len(joint.phases))))
        for first in range(0, plan.geometry.n, max(1, g.n)):
            grads, images = grad[first : first + g.n], out[first : first + g.n]
            for joint, computed, swapped, finish in runs:
                shape, target = joint.geometry.out_shape, images
                if results is not None:
                    target = results[joint.start : joint.start + prod(shape)].reshape(shape)
                computed.run_once(grads[:, :, *joint.seen], swapped, finish, target)
            if results is not None:
                extent, stride = _three(g.extent, 1), _three(g.stride, 1)
                place(results, images, of.places, g.ic, extent, stride, plan.threads)
        if not of.covered:
            finish_planes(out, epilogue, plan.threads)


def _of_all(epilogue: Epilogue, phases: int) -> Epilogue:
    """The epilogue of the filters of so many phases, one phase after another."""
    if epilogue.bias is None or phases == 1:
        return epilogue
    channels = len(epilogue.bias)
    bias = team.aligned_empty(phases * channels, epilogue.bias.dtype)
    same = Places(constant(np.zeros(phases, np.int64)), 0, 0)
    columns = places(0, channels, channels, "constant")
    gather(epilogue.bias[np.newaxis], bias.reshape(phases, channels), same, columns)
    return Epilogue(bias, epilogue.activation, epilogue.parameter)


def _label(lists: list[tuple[Phase, ...]]) -> str:
    """``phase 0,1``, by the first of its inputs; ``each of phases 0,0 0,1``; ``9 phases from 0,0 as one``."""
    names = [",".join(str(side.start) for side in phase.target) for phases in lists for phase in phases]
    if len(names) == 1:
        return f"phase {names[0]}"
    listed = f"phases {' '.join(names)}" if len(names) <= _NAMED else f"{len(names)} phases from {names[0]}"
    return f"{listed} as one" if len(lists) == 1 else f"each of {listed}"


class InputGradient(Kind):
    """Its operands are the gradient with respect to the output, and the weight."""

    name = "input_gradient"
    title = "the input's gradient of"
    solvers: Sequence[Solver] = (Phases(), Columns())

    def parse(self, descriptor: str) -> ConvGeometry:
        return ConvGeometry.parse(descriptor, continues=False).as_2d()

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
    ints = arguments("swap_filters")(groups=g.g, M=g.oc // g.g, C=channels, taps=g.taps, phases=len(of.kept))
    launch = Launch.of("swap_filters", weight.dtype, ints, g.g * -(-channels // SWAPPED_CHANNELS))
    swapped = team.aligned_empty(g.oc * channels * len(of.taps), weight.dtype)
    launch.run((weight, swapped, of.kept, of.taps), workers_for(swapped.nbytes / rates().memory, threads))
    return swapped
