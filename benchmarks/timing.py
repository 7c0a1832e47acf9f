"""Interleaved bursts: timings that can be compared on a machine that is not alone.

A core's speed drifts by tens of per cent within seconds (clocks, neighbours, caches). Contenders timed one after
another are then compared with the weather. Here every round gives each contender one short burst, in rotating order, so
that within a round all saw the same weather: ratios are taken within rounds, and medians over them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from statistics import median
from typing import Any

from fastconv.kernels.cpu import measure_peak_flops

# A contender this slow is timed in one round only: no weather changes its place.
_SLOW_SECONDS = 0.5

# Threads of the previous contender may spin for some milliseconds after its last call; they are waited out.
_QUIET_SECONDS = 0.005


@dataclass(frozen=True)
class Timings:
    """Seconds per call of every contender, and the core's multiply-add peak, each one value a round."""

    rounds: Mapping[str, list[float]]
    peaks: list[float]

    def seconds(self, name: str) -> float:
        return median(self.rounds[name])

    def speedup(self, name: str, other: str) -> float:
        """How many times faster `name` is than `other`."""
        return median(b / a for a, b in zip(self.rounds[name], self.rounds[other], strict=True))

    @property
    def peak_flops(self) -> float:
        return median(self.peaks)


def interleave(
    calls: Mapping[str, Callable[[], Any]], *, itemsize: int = 4, rounds: int = 7, burst_seconds: float = 0.02
) -> Timings:
    """Time `calls`, which are warm: whatever they compile or load at first has been done.

    Parameters
    ----------
    calls : mapping from names to callables without arguments
    itemsize : {4, 8}
        Of the floating-point type whose peak is measured along.
    rounds : int
        Bursts of every contender.
    burst_seconds : float
        Length of a burst; a call that takes longer is a burst by itself.

    Returns
    -------
    Timings
    """
    names = list(calls)
    times: dict[str, list[float]] = {name: [] for name in names}
    peaks = []
    for start in range(rounds):
        peaks.append(measure_peak_flops(itemsize, seconds=0.001, bursts=5))
        for name in (names[(start + i) % len(names)] for i in range(len(names))):
            if times[name] and times[name][-1] > _SLOW_SECONDS:
                times[name].append(times[name][-1])
                continue
            time.sleep(_QUIET_SECONDS)
            times[name].append(_burst(calls[name], burst_seconds))
    return Timings(times, peaks)


def _burst(call: Callable[[], Any], seconds: float) -> float:
    """The median call of a burst, without the first, which brings its data back into the caches, if there are more."""
    times = []
    begin = time.perf_counter()
    while True:
        start = time.perf_counter()
        call()
        end = time.perf_counter()
        times.append(end - start)
        if end - begin >= seconds:
            return median(islice(times, 1, None)) if len(times) > 1 else times[0]
