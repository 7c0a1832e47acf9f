"""Launches of kernels, and the number of threads that they are worth."""

from __future__ import annotations

from fastconv.kernels import threads


def available_threads(num_threads: int | None) -> int:
    """Check the argument `num_threads`; by default every thread that a call may use."""
    return threads.get_num_threads() if num_threads is None else threads.limited(threads.checked_threads(num_threads))
