"""Times of several calls, taken so that they can be compared.

A call is timed once when it is new, then in bursts, one of every contender in turn: the noise of the machine
falls on all alike. Each round begins with another contender, so that nobody always inherits the caches of the same.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import numpy as np

# A burst shorter than this says more about the clock and the scheduler than about the call.
_BURST_SECONDS = 5e-3

# A contender that has taken this long is not called again: slow ones get fewer repeats.
_CONTENDER_SECONDS = 1.0


class Contender:
    """A call that is timed. Its first call, which may compile and import, is made here."""

    def __init__(self, name: str, call: Callable[[], object]) -> None:
        self.name = name
        self.call = call
        self.calls = 1
        self.samples: list[float] = []
        self.first_seconds = self._burst()

    @property
    def seconds(self) -> float:
        """The median of the samples: seconds of one warm call."""
        return float(np.median(self.samples))

    def _burst(self) -> float:
        """Seconds of one call: the median of a burst, which calls that the scheduler interrupts do not move."""
        # The other contenders have taken the caches, and a core that slept takes milliseconds to come up to speed.
        for _ in range(self.calls // 2):
            self.call()
        times = []
        for _ in range(self.calls):
            start = time.perf_counter()
            self.call()
            times.append(time.perf_counter() - start)
        return float(np.median(times))

    def calibrate(self) -> None:
        """Choose the calls of a burst by one call, which counts if it is a burst by itself."""
        seconds = self._burst()
        self.calls = math.ceil(_BURST_SECONDS / max(seconds, 1e-7))
        self.samples = [seconds] if self.calls == 1 else []

    def sample(self, repeats: int) -> None:
        """Time another burst, unless there are `repeats` of them or they would cost too much."""
        samples = self.samples
        cost = (sum(samples) + samples[-1]) * self.calls if samples else 0.0
        if len(samples) < repeats and cost <= _CONTENDER_SECONDS:
            samples.append(self._burst())


def interleave(contenders: Sequence[Contender], repeats: int, step: Callable[[str], object] = str) -> None:
    """Time all `contenders`, `repeats` times each or fewer; ``step(name)`` is called before each burst."""
    for contender in contenders:
        step(contender.name)
        contender.calibrate()
    for repeat in range(repeats):
        first = repeat % len(contenders)
        for contender in (*contenders[first:], *contenders[:first]):
            step(contender.name)
            contender.sample(repeats)
