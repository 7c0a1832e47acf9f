"""``fastconv calibrate``: the rates of this machine, and what they are worth.

Rates are the best of many short bursts, which other programs interrupt least, and all of them are measured in each
round. What they are worth is the regret of "auto": the measured time of the strategy that it chooses, relative to the
best one, over layers of all kinds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from math import exp, fsum, inf, log
from typing import NamedTuple

import numpy as np

from fastconv.engine import planner
from fastconv.engine.convolution.base import finish_planes
from fastconv.engine.epilogue import Epilogue, parse_activation
from fastconv.engine.geometry import ConvGeometry
from fastconv.engine.plan import format_seconds
from fastconv.engine.rates import Rates, defaults, substituted
from fastconv.kernels import threads as team

# Layers whose measurements take some seconds together, among them all kinds between which the choice is close.
LAYERS = {
    "VGG conv1_1": "ic3 oc64 i224 k3 p1",
    "VGG conv5": "ic512 oc512 i14 k3 p1",
    "ResNet conv1": "ic3 oc64 i224 k7 s2 p3",
    "ResNet conv2 3x3": "ic64 oc64 i56 k3 p1",
    "ResNet conv4 1x1": "ic1024 oc256 i14 k1",
    "ResNet conv2 1x1": "ic64 oc256 i56 k1",
    "GoogLeNet 5x5": "ic32 oc96 i28 k5 p2",
    "depthwise 3x3": "g128 ic128 oc128 i56 k3 p1",
    "3x3 stride 2": "ic64 oc64 i56 k3 s2 p1",
    "LeNet conv1": "ic1 oc6 i28 k5 p2",
    "7x7 filter": "ic1 oc1 i512 k7 p3",
    "31x31 filter": "ic1 oc1 i256 k31 p15",
}

_ROUNDS = 8

# What each rate takes of a round.
_ROUND_SECONDS = 0.05

# Regions of one and of two threads per round, and the values of a tile, which takes longer than waking a thread.
_REGIONS, _TILE = 300, 1 << 14

Progress = Callable[[int, int, str], object]


class Regret(NamedTuple):
    """What "auto" chooses for a layer, and how much longer it takes than the best, with either rates."""

    layer: str
    best: str
    seconds: float
    before: str
    before_ratio: float
    after: str
    after_ratio: float


def measure(progress: Progress) -> Rates:
    """The rates of this machine; takes some four seconds."""
    from fastconv.kernels import cpu

    _, l2, l3 = cpu.cache_bytes()
    # Two arrays that fill most of L2, that are far from fitting L2 but fit L3, and that are far from fitting L3.
    sizes = {"l2": l2 * 3 // 8, "l3": max(l2, l3 * 3 // 16), "memory": min(max(4 * l3, 64 << 20), 256 << 20)}
    source, target = np.ones(sizes["memory"], np.int8), np.ones(sizes["memory"], np.int8)
    best = dict.fromkeys((*sizes, "float32", "float64"), 0.0)
    region, least = _region(), {1: inf, 2: inf}
    for step in range(_ROUNDS):
        progress(step, _ROUNDS, "rates")
        for name, itemsize in (("float32", 4), ("float64", 8)):
            best[name] = max(best[name], cpu.measure_peak_flops(itemsize, _ROUND_SECONDS / 20, 20))
        for name, size in sizes.items():
            best[name] = max(best[name], size / _least_seconds(target[:size], source[:size]))
        for _ in range(_REGIONS):
            for threads in least:
                least[threads] = min(least[threads], region(threads))
    # With a single thread nothing is woken, and nothing is known.
    usual = defaults().wake
    woken = least[2] - least[1] / 2 if team.get_num_threads() > 1 else usual
    return Rates(**best, wake=max(woken, usual / 10))


def _least_seconds(target: np.ndarray, source: np.ndarray) -> float:
    """The shortest of the copies that fit a round, and of three at least."""
    least, copies, started = inf, 0, time.perf_counter()
    while copies < 3 or time.perf_counter() - started < _ROUND_SECONDS:
        start = time.perf_counter()
        np.copyto(target, source)
        least = min(least, time.perf_counter() - start)
        copies += 1
    return least


def _region() -> Callable[[int], float]:
    """The seconds of a region of two tiles on so many threads."""
    planes = np.zeros((1, 2, 1, _TILE), np.float32)
    epilogue = Epilogue(None, *parse_activation("gelu"))

    def seconds(threads: int) -> float:
        start = time.perf_counter()
        finish_planes(planes, epilogue, threads)
        return time.perf_counter() - start

    return seconds


def regrets(measured: Rates, progress: Progress) -> list[Regret]:
    """What "auto" chooses with the reference's rates and with `measured`, beside the measured best, on one thread."""
    dtype, found = np.dtype(np.float32), []
    for step, (name, descriptor) in enumerate(LAYERS.items()):
        progress(step, len(LAYERS), name)
        g = ConvGeometry.parse(descriptor).as_2d()
        before, after = (_chosen(g, dtype, rates) for rates in (defaults(), measured))
        candidates = planner.plan(g, dtype, mode="measure").candidates
        times = {c.name: c.seconds for c in candidates if c.refusal is None and c.seconds is not None}
        for choice in (before, after):
            if choice not in times:
                times[choice] = planner.plan(g, dtype, strategy=choice, mode="measure").seconds
        best = min(times, key=times.__getitem__)
        least = times[best]
        found.append(Regret(name, best, least, before, times[before] / least, after, times[after] / least))
    return found


def _chosen(g: ConvGeometry, dtype: np.dtype, rates: Rates) -> str:
    """What "auto" chooses with these rates."""
    planner.forget_plans()
    try:
        with substituted(rates):
            return str(planner.plan(g, dtype).strategy.name)
    finally:
        planner.forget_plans()


def report(measured: Rates, found: list[Regret]) -> str:
    """The tables of both, for a terminal."""
    lines = [f"{'rate of one core':<26}  {'default':>12}  {'measured':>12}"]
    for label, name, shown in _ROWS:
        lines.append(f"{label:<26}  {shown(getattr(defaults(), name)):>12}  {shown(getattr(measured, name)):>12}")
    lines += ["", f"{'time of auto / best':<18}{'default rates':>20}{'measured rates':>20}  {'best':<10}{'time':>8}"]
    for r in found:
        before, after = f"{r.before} {r.before_ratio:.2f}", f"{r.after} {r.after_ratio:.2f}"
        lines.append(f"{r.layer:<18}{before:>20}{after:>20}  {r.best:<10}{format_seconds(r.seconds):>8}")
    ratios = [r.before_ratio for r in found], [r.after_ratio for r in found]
    for label, summary in (("geometric mean", _geometric_mean), ("worst", max)):
        lines.append(f"{label:<18}" + "".join(f"{summary(column):>20.2f}" for column in ratios))
    return "\n".join(lines)


def _geometric_mean(values: list[float]) -> float:
    return exp(fsum(map(log, values)) / len(values))


def _giga(unit: str) -> Callable[[float], str]:
    return lambda rate: f"{rate / 1e9:.3g} {unit}"


_ROWS = (
    ("multiply-adds, float32", "float32", _giga("GFLOP/s")),
    ("multiply-adds, float64", "float64", _giga("GFLOP/s")),
    ("copies in L2", "l2", _giga("GB/s")),
    ("copies in L3", "l3", _giga("GB/s")),
    ("copies in memory", "memory", _giga("GB/s")),
    ("sharing with a thread", "wake", format_seconds),
)
