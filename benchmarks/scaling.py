"""``python -m benchmarks.scaling NETWORK...``: the speed-up that tiling allows at 1 to 128 threads, and a measured one.

What tiling allows needs no threads: each layer is planned for that many, but its kernels run on one, while their tiles
are counted. Tiles count as equal, and time in neither kernels nor Python as serial.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
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

# Calls per layer and number of threads; the one that was disturbed least counts.
_CALLS = 3

# Calls that repeat are played from recordings, without the time that Python takes between kernels. Time outside of them
# beyond this is work, such as that of BLAS.
_PYTHON_SECONDS = 2e-4

_WORST = 6


class Region(NamedTuple):
    """What one launch took on one thread, and how it is shared."""

    seconds: float
    """The processor's time, which others on the machine disturb least."""
    tiles: int
    threads: int
    grain: int

    @property
    def allowed(self) -> float:
        """The speed-up by `threads` that take `grain` equal tiles at a time."""
        chunks = -(-self.tiles // self.grain)
        most = -(-chunks // min(self.threads, chunks)) if chunks else 0
        return self.tiles / min(self.tiles, most * self.grain) if self.tiles else 1.0


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
        return self.seconds / (self.outside + sum(region.seconds / region.allowed for region in self.regions))


@contextmanager
def listed_regions() -> Iterator[list[Region]]:
    """List what is launched in the ``with`` block, and run it on one thread."""
    regions: list[Region] = []
    run_tiles = team.run_tiles

    def listing(kernel: Any, arrays: Any, ints: Any, scalars: Any, tiles: int, threads: int, grain: int = 1) -> None:
        start = time.process_time()
        run_tiles(kernel, arrays, ints, scalars, tiles, 1, grain)
        regions.append(Region(time.process_time() - start, tiles, threads, grain))

    team.run_tiles = listing
    try:
        yield regions
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


def planned_layer(geometry: ConvGeometry, threads: int) -> Layer:
    """The layer as it is tiled for so many threads, timed on one."""
    plan, call = planned_call(geometry, threads)
    call()
    layers = []
    for _ in range(_CALLS):
        with listed_regions() as regions:
            start = time.process_time()
            call()
            seconds = time.process_time() - start
        outside = seconds - sum(region.seconds for region in regions) - _PYTHON_SECONDS
        layers.append(Layer(plan, tuple(regions), max(0.0, outside)))
    return min(layers, key=lambda layer: layer.seconds)


def allowed_by_network(layers: Sequence[tuple[int, float, float]]) -> float:
    """The speed-up of a network, from its layers' repeats, seconds on one thread, and own speed-ups."""
    total = sum(repeats * seconds for repeats, seconds, _ in layers)
    return total / sum(repeats * seconds / allowed for repeats, seconds, allowed in layers)


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
    layers = {geometry: {threads: planned_layer(geometry, threads) for threads in counts} for geometry in repeats}
    single = {geometry: by_threads[counts[0]].seconds for geometry, by_threads in layers.items()}

    def allowed(threads: int) -> float:
        return allowed_by_network([(repeats[g], single[g], layers[g][threads].allowed) for g in repeats])

    print(f"{name:<18} allowed  ", *(f"{allowed(threads):>6.2f}" for threads in counts), flush=True)
    present = [threads for threads in counts if threads <= cores]
    sums = dict.fromkeys(present, 0.0)
    for geometry, times in repeats.items():
        for threads, seconds in measured(geometry, present).items():
            sums[threads] += times * seconds
    print(f"{'':<18} measured ", *(f"{sums[present[0]] / sums[threads]:>6.2f}" for threads in present))
    most = counts[-1]
    times = {g: repeats[g] * single[g] / layers[g][most].allowed for g in repeats}
    total, whole = sum(times.values()), sum(repeats[g] * single[g] for g in repeats)
    print(f"  most of the time on {most} threads:")
    for geometry in sorted(times, key=times.get, reverse=True)[:_WORST]:
        layer = layers[geometry][most]
        tiles = "+".join(f"{r.tiles}/{r.grain}" if r.grain > 1 else f"{r.tiles}" for r in layer.regions) or "none"
        print(
            f"  {times[geometry] / total:>4.0%} (of one thread's: {repeats[geometry] * single[geometry] / whole:.0%}) "
            f"{repeats[geometry]} × {geometry}: {layer.plan.strategy.name}, {tiles} tiles for {layer.plan.threads} "
            f"threads allow {layer.allowed:.1f}"
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
