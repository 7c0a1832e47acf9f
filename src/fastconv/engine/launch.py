"""Launches of kernels, and the number of threads that their work is worth."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastconv.engine.rates import ratios
from fastconv.kernels import threads as team

# The dtype of scratch memory, whose parts have several types.
BYTE = np.dtype(np.uint8)

# Work is shared if that saves so many seconds, on the machine of reference. Twice as many threads then save a half of
# what each of them does, and take a step more to wake each other: a thread must have as much to do as a step takes.
_SECONDS_SAVED, _SECONDS_PER_THREAD = 2e-5, 5e-6


class Launch(NamedTuple):
    """A kernel, and all of its arguments that depend neither on values nor on where arrays are."""

    kernel: int
    arguments: Any
    """A named tuple of integers."""
    tiles: int
    grain: int = 1
    """The number of tiles that a thread takes at a time."""
    scratch: int = 0
    """Bytes of scratch memory per thread, in the kernel's last array; 0 if the kernel takes none."""
    tables: tuple[Any, ...] = ()
    """The arrays and addresses that are the same in every call; a kernel lists them before its scratch memory."""

    @classmethod
    def of(
        cls,
        name: str,
        dtype: npt.DTypeLike,
        arguments: tuple[int, ...],
        tiles: int,
        grain: int = 1,
        tables: tuple[Any, ...] = (),
    ) -> Launch:
        """The launch of a kernel that kernels/slots.pyx finds, with as much scratch memory as it asks for."""
        from fastconv.kernels.slots import kernel, scratch

        return cls(kernel(name, dtype), arguments, tiles, grain, scratch(name, dtype, arguments), tables)

    def workspace(self, threads: int) -> int:
        """Bytes of scratch memory on at most `threads` threads: no more of them run than there is something to take."""
        return min(threads, -(-self.tiles // self.grain) or 1) * self.scratch

    def run(self, arrays: tuple[Any, ...], threads: int, scalars: tuple[float, ...] = ()) -> None:
        """Run on at most `threads` threads. `arrays` holds arrays, addresses and ``None``, as the kernel lists them."""
        kernel, arguments, tiles, grain, scratch, tables = self
        if scratch:
            arrays = (*arrays, *tables, team.aligned_empty(self.workspace(threads), BYTE))
        elif tables:
            arrays += tables
        team.run_tiles(kernel, arrays, arguments, scalars, tiles, threads, grain)


def available_threads(num_threads: int | None) -> int:
    """Check the argument `num_threads`; by default every thread that a call may use."""
    return team.get_num_threads() if num_threads is None else team.limited(team.checked_threads(num_threads))


def workers_for(seconds: float, threads: int | None = None) -> int:
    """How many of at most `threads` threads to wake for work that takes one thread `seconds`; results are the same."""
    most = team.get_num_threads() if threads is None else threads
    relative = seconds / ratios().wake
    workers = max(1, min(most, int(relative / _SECONDS_PER_THREAD)))
    return workers if relative * (1 - 1 / workers) >= _SECONDS_SAVED else 1
