"""``python -m benchmarks.scaling NETWORK...``: the speed-up that tiling allows at 1 to 128 threads, and a measured one.

What tiling allows needs no threads: each layer is planned for that many, but its kernels run on one, while their tiles
are counted and timed. Launches follow each other, and time in neither kernels nor Python is serial.

By counts, the tiles of a launch are equal, and only their number limits the speed-up. By times, threads take the tiles
in order, whoever is free the next ones, and each takes as long as it took. Waking threads, handing out tiles and
waiting for the last one cost something, and the speed-up is relative to the layer as it is planned for one thread, so
work that smaller tiles repeat counts against them.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from heapq import heapreplace
from typing import Any, NamedTuple

import numpy as np

import fastconv
from benchmarks.libraries import window
from benchmarks.networks import NETWORKS
from benchmarks.problems import Problem
from fastconv.engine import planner
from fastconv.engine.convolution3d import CONVOLUTION_3D
from fastconv.engine.epilogue import PLAIN
from fastconv.engine.geometry import ConvGeometry
from fastconv.engine.plan import Plan
from fastconv.engine.timing import Contender, interleave
from fastconv.kernels import threads as team

_THREADS = (1, 2, 4, 8, 16, 32, 64, 128)

# Calls per layer and number of threads, interleaved; of each chunk, the one that was disturbed least counts.
_CALLS = 15

# Calls that repeat are played from recordings, without the time that Python takes between kernels. Time outside of them
# beyond this is work, such as that of BLAS.
_PYTHON_SECONDS = 2e-4

_WORST = 6

# The signature of a tile kernel (kernels/threads.pyx).
_KERNEL = ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 3, *[ctypes.c_int64] * 3)


class Costs(NamedTuple):
    """What it costs to share work, in seconds."""

    wake: float
    """From a thread's being woken until those are that it wakes in turn: two each. Leaving takes as long."""
    hand_out: float
    """To take a chunk."""


# Of threads that still spin after the layer before: three transfers of a cache line between cores, and one.
_SPINNING = Costs(3e-7, 1e-7)


class Region(NamedTuple):
    """What one launch took on one thread, and how it is shared."""

    chunks: tuple[float, ...]
    """Seconds per `grain` tiles, in order: the processor's time, which others on the machine disturb least."""
    tiles: int
    threads: int
    grain: int

    @property
    def seconds(self) -> float:
        """On one thread."""
        return sum(self.chunks)

    @property
    def allowed(self) -> float:
        """The speed-up by `threads` that take `grain` equal tiles at a time."""
        chunks = -(-self.tiles // self.grain)
        most = -(-chunks // min(self.threads, chunks)) if chunks else 0
        return self.tiles / min(self.tiles, most * self.grain) if self.tiles else 1.0

    def span(self, costs: Costs) -> float:
        """The seconds until the last of the threads has done its last chunk, and left."""
        woken = range(1, 1 + min(self.threads, len(self.chunks)))
        free = [(worker.bit_length() - 1) * costs.wake for worker in woken]
        if not free:
            return 0.0
        leaving = free[-1]
        for seconds in self.chunks:
            heapreplace(free, free[0] + costs.hand_out + seconds)
        return max(free) + leaving


class Layer(NamedTuple):
    """A layer, planned for some number of threads: its regions, and the seconds of work outside of them."""

    plan: Plan
    regions: tuple[Region, ...]
    outside: float

    @property
    def seconds(self) -> float:
        """On one thread."""
        return self.outside + sum(region.seconds for region in self.regions)

    @property
    def allowed(self) -> float:
        """By counts."""
        return self.seconds / (self.outside + sum(region.seconds / region.allowed for region in self.regions))

    def span(self, costs: Costs = _SPINNING) -> float:
        """By times, the seconds on as many threads as the layer is planned for."""
        return self.outside + sum(region.span(costs) for region in self.regions)


def _seconds(function: Callable[..., Any], *arguments: Any) -> float:
    start = time.thread_time()
    function(*arguments)
    return time.thread_time() - start


@cache
def _calling_seconds() -> float:
    """What it takes to call and time a kernel that does nothing: C's abs, which looks at one argument."""
    nothing = _KERNEL(ctypes.cast(ctypes.CDLL(None).abs, ctypes.c_void_p).value)
    return min(_seconds(nothing, 0, 0, 0, 0, 0, 0) for _ in range(1000))


@dataclass
class Listing:
    """What was launched, and the seconds of the processor's time in launches, which listing makes longer."""

    regions: list[Region] = field(default_factory=list)
    seconds: float = 0.0


@contextmanager
def listed() -> Iterator[Listing]:
    """List what is launched in the ``with`` block, and run it on one thread."""
    listing, run_tiles, calling = Listing(), team.run_tiles, _calling_seconds()

    def run(kernel: Any, arrays: Any, ints: Any, scalars: Any, tiles: int, threads: int, grain: int = 1) -> None:
        function, chunks = _KERNEL(kernel), []

        @_KERNEL
        def timed(*arguments: Any) -> None:
            chunks.append(max(0.0, _seconds(function, *arguments) - calling))

        start = time.process_time()
        run_tiles(ctypes.cast(timed, ctypes.c_void_p).value, arrays, ints, scalars, tiles, 1, grain)
        listing.seconds += time.process_time() - start
        listing.regions.append(Region(tuple(chunks), tiles, threads, grain))

    team.run_tiles = run
    try:
        yield listing
    finally:
        team.run_tiles = run_tiles


def planned_call(geometry: ConvGeometry, threads: int) -> tuple[Plan, Callable[[], Any]]:
    """The plan for so many threads, and a call by it that is never played from a recording.

    Weights are prepared, except those of volumes.
    """
    x, weight = Problem("conv", geometry).arrays()
    if geometry.ndim == 3:
        plan = planner.plan(geometry, x.dtype, kind=CONVOLUTION_3D, threads=threads)
        return plan, CONVOLUTION_3D.call(plan, (x, weight))
    plan = planner.plan(geometry, x.dtype, threads=threads, prepared=True)
    prepared = plan.strategy.prepare(geometry, weight, 1)
    out = np.empty(geometry.out_shape, x.dtype)
    run = plan.strategy.run
    return plan, partial(run, geometry, x, prepared, out, PLAIN, plan.threads, plan.max_workspace)


def listed_layer(plan: Plan, call: Callable[[], Any]) -> Layer:
    """The layer as one call of it runs on one thread."""
    with listed() as listing:
        start = time.process_time()
        call()
        seconds = time.process_time() - start
    return Layer(plan, tuple(listing.regions), max(0.0, seconds - listing.seconds - _PYTHON_SECONDS))


def least(layers: Sequence[Layer]) -> Layer:
    """The least that each chunk, and the work outside of them, took in several calls of one layer."""
    regions = []
    for same in zip(*(layer.regions for layer in layers), strict=True):
        chunks = zip(*(region.chunks for region in same), strict=True)
        regions.append(same[0]._replace(chunks=tuple(map(min, chunks))))
    return Layer(layers[0].plan, tuple(regions), min(layer.outside for layer in layers))


def planned_layers(geometry: ConvGeometry, counts: Sequence[int]) -> dict[int, Layer]:
    """The layer as it is tiled for each number of threads, timed on one."""
    calls = {threads: planned_call(geometry, threads) for threads in counts}
    listed: dict[int, list[Layer]] = {threads: [] for threads in counts}
    for _, call in calls.values():
        call()
    for _ in range(_CALLS):
        for threads, (plan, call) in calls.items():
            listed[threads].append(listed_layer(plan, call))
    return {threads: least(layers) for threads, layers in listed.items()}


def measured(geometry: ConvGeometry, counts: Sequence[int]) -> dict[int, float]:
    """Seconds of a call by numbers of threads, interleaved."""
    x, weight = Problem("conv", geometry).arrays()
    out, contenders = np.empty(geometry.out_shape, x.dtype), {}
    for threads in counts:
        if geometry.ndim == 3:
            call = partial(fastconv.conv3d, x, weight, **window(geometry), num_threads=threads, out=out)
        else:
            call = partial(fastconv.prepare_conv2d(weight, **window(geometry), num_threads=threads), x, out)
        contenders[threads] = Contender(f"{threads} threads", call)
    interleave(list(contenders.values()), 5)
    return {threads: contender.seconds for threads, contender in contenders.items()}


def print_network(name: str, counts: Sequence[int], cores: int) -> None:
    """What tiling allows, what was measured, and the layers that lose most at the largest number of threads."""
    repeats = {geometry.as_2d(): times for geometry, times in NETWORKS[name]().convolutions.items()}
    layers = {geometry: planned_layers(geometry, counts) for geometry in repeats}

    single = {geometry: by_threads[counts[0]].seconds for geometry, by_threads in layers.items()}
    total = sum(repeats[g] * single[g] for g in repeats)

    def by_counts(threads: int) -> float:
        return total / sum(repeats[g] * single[g] / layers[g][threads].allowed for g in repeats)

    def by_times(threads: int) -> float:
        return total / sum(repeats[g] * layers[g][threads].span() for g in repeats)

    print(f"{name:<18} by counts", *(f"{by_counts(threads):>6.2f}" for threads in counts))
    print(f"{'':<18} by times ", *(f"{by_times(threads):>6.2f}" for threads in counts), flush=True)
    present = [threads for threads in counts if threads <= cores]
    sums = dict.fromkeys(present, 0.0)
    for geometry, times in repeats.items():
        for threads, taken in measured(geometry, present).items():
            sums[threads] += times * taken
    print(f"{'':<18} measured ", *(f"{sums[present[0]] / sums[threads]:>6.2f}" for threads in present))
    most = counts[-1]
    spans = {g: repeats[g] * layers[g][most].span() for g in repeats}
    print(f"  most of the time on {most} threads:")
    for geometry in sorted(spans, key=spans.get, reverse=True)[:_WORST]:
        layer, times = layers[geometry][most], repeats[geometry]
        tiles = "+".join(f"{r.tiles}/{r.grain}" if r.grain > 1 else f"{r.tiles}" for r in layer.regions) or "none"
        share, alone = spans[geometry] / sum(spans.values()), times * single[geometry] / total
        print(
            f"  {share:>4.0%} (of one thread's: {alone:.0%}) {times} × {geometry}: {layer.plan.strategy.name}, {tiles} "
            f"tiles for {layer.plan.threads} threads allow {layer.allowed:.1f}, by times "
            f"{single[geometry] / layer.span():.1f}"
        )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", metavar="NETWORK", default=["vgg16", "googlenet", "resnet50"])
    parser.add_argument("--threads", type=int, nargs="+", default=_THREADS, help="numbers of threads")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.networks if name not in NETWORKS]:
        parser.error(f"{unknown[0]}: expected some of {', '.join(NETWORKS)}")
    counts = sorted({1, *options.threads})
    for threads in counts:
        try:
            team.checked_threads(threads, "--threads")
        except ValueError as error:
            parser.error(str(error))
    cores = len(os.sched_getaffinity(0))
    print("speed-up of all convolutions, prepared, batch 1, float32")
    print(f"{'threads':<28}", *(f"{threads:>6}" for threads in counts))
    for name in options.networks:
        print_network(name, counts, cores)
    return 0


if __name__ == "__main__":
    sys.exit(main())
