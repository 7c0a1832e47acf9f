"""Timing several calls so that the times can be compared.

A contender's first call is timed by itself, then contenders take turns in bursts, so that the noise of the machine
affects them all alike. Each round begins with a different contender, so that none always inherits the caches of the
same predecessor.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

# In a shorter burst, the clock and the scheduler would weigh more than the call.
_BURST_SECONDS = 5e-3

# A contender that has taken this long is not called again: slow ones get fewer repeats.
_CONTENDER_SECONDS = 1.0


class Contender:
    """A function to be timed, by default by the wall clock.

    Creating a contender makes its first call, which may compile and import.
    """

    def __init__(self, name: str, call: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> None:
        self.name = name
        self.call = call
        self.clock = clock
        self.calls: int = 1
        self.samples: list[float] = []
        self.output: Any = None  # what the latest call returned
        self.first_seconds: float = self._burst()

    @property
    def seconds(self) -> float:
        """Seconds per warm call: the median of the samples."""
        return float(np.median(self.samples))

    def _burst(self) -> float:
        """Seconds per call: the median over a burst, which is insensitive to calls that the scheduler interrupts."""
        # Other contenders have filled the caches, and a core that slept takes milliseconds to come up to speed.
        for _ in range(self.calls // 2):
            self.call()
        times, clock = [], self.clock
        for _ in range(self.calls):
            start = clock()
            self.output = self.call()
            times.append(clock() - start)
        return float(np.median(times))

    def calibrate(self) -> None:
        """Choose the number of calls per burst from one call, which counts as a sample if it fills a burst."""
        seconds = self._burst()
        self.calls = math.ceil(_BURST_SECONDS / max(seconds, 1e-7))
        self.samples = [seconds] if self.calls == 1 else []

    def sample(self, repeats: int) -> None:
        """Time another burst, unless there are `repeats` samples already or another would take too long."""
        samples = self.samples
        cost = (sum(samples) + samples[-1]) * self.calls if samples else 0.0
        if len(samples) < repeats and cost <= _CONTENDER_SECONDS:
            samples.append(self._burst())


def interleave(contenders: Sequence[Contender], repeats: int, step: Callable[[str], object] = str) -> None:
    """Time every contender at most `repeats` times, in turn; ``step(name)`` is called before each burst."""
    for contender in contenders:
        step(contender.name)
        contender.calibrate()
    for repeat in range(repeats):
        first = repeat % len(contenders)
        for contender in (*contenders[first:], *contenders[:first]):
            step(contender.name)
            contender.sample(repeats)
