"""The peak of a core, measured in the same rounds as the contenders whose share of it is reported.

A peak that was measured before them says nothing of a core that is throttled, or shared, while they run.
"""

from __future__ import annotations

import statistics
import time

from fastconv.engine.timing import Contender
from fastconv.lab.comparison import relative_spread

# The best of a few bursts that are shorter than what a scheduler lets other programs run: like the median over short
# calls, it says what the core does when it is ours. How often it is not is `Peak.shared`.
_BURST_SECONDS, _BURSTS = 2e-4, 5


class Peak:
    """What a core can do meanwhile; its `contender` is to be timed along with the others."""

    def __init__(self, itemsize: int) -> None:
        self.itemsize: int = 4 if itemsize == 4 else 8
        self.samples: list[float] = []
        self.wall: float = 0.0
        self.busy: float = 0.0
        self.contender: Contender = Contender("peak", self.measure)

    def measure(self) -> None:
        """Add a sample, in floating-point operations per second."""
        from fastconv.kernels.cpu import measure_peak_flops

        wall, busy = time.perf_counter(), time.thread_time()
        self.samples.append(measure_peak_flops(self.itemsize, _BURST_SECONDS, _BURSTS))
        self.busy += time.thread_time() - busy
        self.wall += time.perf_counter() - wall

    @property
    def flops(self) -> float:
        """The median of the samples."""
        return statistics.median(self.samples)

    @property
    def noise(self) -> float:
        """How much the samples spread, relative to their median."""
        return relative_spread(self.samples) or 0.0

    @property
    def shared(self) -> float:
        """The share of the time in which this thread waited for a core."""
        return max(0.0, 1 - self.busy / self.wall)
