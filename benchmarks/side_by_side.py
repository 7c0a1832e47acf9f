"""``python -m benchmarks.side_by_side``: fastconv and its peers on the same layers, one row each.

Results are compared before anything is timed: a peer that contradicts fastconv is not timed, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import os
import platform
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from math import exp, log
from pathlib import Path
from statistics import fmean, median

import numpy as np

import fastconv
from benchmarks.isolated import Isolated
from benchmarks.layers import REPEATS, TABLES
from benchmarks.libraries import Fastconv, Library, Loosely, Prepared, PreparedLoosely
from benchmarks.peers import available_peers
from benchmarks.problems import Problem, matching_problems
from fastconv.engine.timing import Contender, interleave
from fastconv.kernels import cpu

# The previous contender's threads may spin for some milliseconds after its last call; wait until they sleep.
_QUIET_SECONDS = 0.005

_MEAN = "geometric mean"

OURS = (Fastconv, Loosely, Prepared, PreparedLoosely)

# Ratios are taken to these peers, in addition to the fastest of each row, under these column names.
YARDSTICKS = {"torch NCHW": "torch", "onnxruntime": "onnx"}


@dataclass(frozen=True)
class Times:
    """Seconds of every library that took part."""

    seconds: dict[str, float]

    @property
    def best_peer(self) -> str | None:
        peers = self.seconds.keys() - {library.name for library in OURS}
        return min(sorted(peers), key=self.seconds.get, default=None)

    def ratio(self, ours: str, peer: str | None) -> float | None:
        """How many times faster `ours` is than `peer`, or the best peer; ``None`` if either does not take part."""
        peer = peer or self.best_peer
        return self.seconds[peer] / self.seconds[ours] if {ours, peer} <= self.seconds.keys() else None


@dataclass(frozen=True)
class Row(Times):
    """Seconds per call of every library that took part in a problem, and why some peers did not.

    `errors` holds the largest error of each library's result, in σ of the output, if a true result was at hand.
    """

    problem: Problem
    peak_flops: float
    refusals: dict[str, str]
    faults: dict[str, str]
    errors: dict[str, float]

    def cell(self, name: str) -> str:
        if name not in self.seconds:
            return "wrong" if name in self.faults else "–"
        seconds = self.seconds[name]
        figure = f"{self.problem.flops / seconds / 1e9:.1f}" if self.problem.shows_rates else f"{seconds * 1e3:.3g}"
        return figure + ("*" if name == self.best_peer else " ")

    def of_peak(self, threads: int) -> float:
        return self.problem.flops / self.seconds[Fastconv.name] / (self.peak_flops * threads)


def measure(
    problem: Problem,
    libraries: list[Library | Isolated],
    repeats: int = 7,
    truth: np.ndarray | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Row:
    """Prepare all libraries that take part, check them against the first, then time them together."""
    arrays = problem.arrays()
    errors: dict[str, float] = {}

    def enter(library: Library | Isolated) -> tuple[Contender | Isolated, np.ndarray]:
        if isinstance(library, Isolated):
            contender = library
            result = library.enter(problem)
        else:
            contender = Contender(library.name, library.prepare(problem, *arrays), clock)
            result = contender.call()
        if truth is not None:
            errors[library.name] = problem.error(result, truth)
        return contender, result

    first, *others = (library for library in libraries if problem.operation in library.operations)
    contender, expected = enter(first)
    contenders = [contender]
    refusals, faults = {}, {}
    for other in others:
        if (reason := other.refuse(problem)) is not None:
            refusals[other.name] = reason
            continue
        contender, result = enter(other)
        if (fault := problem.fault(result, expected, other.error(problem))) is not None:
            faults[other.name] = fault
            continue
        contenders.append(contender)
    peaks = []

    def before_burst(name: str) -> None:
        time.sleep(_QUIET_SECONDS)
        if name == first.name:
            peaks.append(cpu.measure_peak_flops(np.dtype(problem.dtype).itemsize, seconds=0.001, bursts=5))

    interleave(contenders, repeats, before_burst)
    return Row({c.name: c.seconds for c in contenders}, problem, median(peaks), refusals, faults, errors)


def print_table(
    problems: dict[str, Problem],
    ours: list[Fastconv],
    libraries: list[Library | Isolated],
    repeats: dict[str, int],
) -> bool:
    """Measure and print row by row; return whether all peers agreed with fastconv.

    `libraries` are timed: `ours` (or their stand-ins), which can also plan, and peers. `repeats`, how often a network
    contains a layer, adds a line with sums.
    """
    operations = {problem.operation for problem in problems.values()}
    ours, libraries = ([a for a in those if operations.intersection(a.operations)] for those in (ours, libraries))
    planned = all(problem.planned for problem in problems.values())
    chosen = {name: chosen_strategies(problem, ours) if planned else "" for name, problem in problems.items()}
    names = [library.name for library in libraries]
    headers = [
        *(["strategy"] if planned else []),
        *(name.removeprefix("scipy ") for name in names),
        *(["of peak"] if planned else []),
    ]
    widths = [max(9, len(header)) for header in headers]
    widths[0] = max(widths[0], *map(len, chosen.values()))
    first = max(map(len, [_MEAN, *problems]))
    yardsticks = [None, *(name for name in names if name in YARDSTICKS)]
    ratio_headers = [YARDSTICKS.get(yardstick, "best") for yardstick in yardsticks]

    def print_row(name: str, cells: list[str], ratios: list[list[str]]) -> None:
        aligned = " ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        groups = (" ".join(f"{ratio:>5}" for ratio in group) for group in ratios)
        print(f"{name:<{first}} {aligned}", *groups, sep="  ", flush=True)

    def ratios(times: Times) -> list[list[str]]:
        return [[format_ratio(times.ratio(a.name, y)) for y in yardsticks] for a in ours]

    blank = [""] * len(widths)
    print_row("", blank, [[f"{a.name} to".rjust(6 * len(yardsticks) - 1)] for a in ours])
    print_row("layer", headers, [ratio_headers] * len(ours))
    rows = {}
    for name, problem in problems.items():
        rows[name] = row = measure(problem, libraries)
        cells = [row.cell(library) for library in names]
        if planned:
            cells = [chosen[name], *cells, f"{row.of_peak(ours[0].threads):.0%}"]
        print_row(name, cells, ratios(row))
    print()
    if repeats:
        total = network_times(rows, repeats)
        sums = [f"{total.seconds[n] * 1e3:.1f} " if n in total.seconds else "– " for n in names]
        if planned:
            sums = ["", *sums, ""]
        print_row(f"{sum(repeats.get(name, 1) for name in rows)} layers, ms", sums, ratios(total))
    for title, summary in (("least", min), (_MEAN, geometric_mean)):
        print_row(title, blank, [[summarise(summary, rows, a.name, y) for y in yardsticks] for a in ours])
    print_notes("does not take part", {name: row.refusals for name, row in rows.items()})
    print_notes("WRONG", {name: row.faults for name, row in rows.items()})
    return not any(row.faults for row in rows.values())


def chosen_strategies(problem: Problem, ours: list[Fastconv]) -> str:
    """What "auto" chooses for one-shot calls and, if it differs, for prepared ones."""
    return "/".join(dict.fromkeys(library.plan(problem).strategy.name for library in ours))


def network_times(rows: dict[str, Row], repeats: dict[str, int]) -> Times:
    """The sums over a network's layers, for libraries that take part in all of them."""
    names = set.intersection(*(set(row.seconds) for row in rows.values()))
    return Times({n: sum(repeats.get(layer, 1) * row.seconds[n] for layer, row in rows.items()) for n in names})


def geometric_mean(ratios: list[float]) -> float:
    return exp(fmean(map(log, ratios)))


def summarise(summary: Callable[[list[float]], float], rows: dict[str, Row], ours: str, peer: str | None) -> str:
    """One figure for all rows in which both libraries take part."""
    ratios = [ratio for row in rows.values() if (ratio := row.ratio(ours, peer)) is not None]
    return format_ratio(summary(ratios) if ratios else None)


def format_ratio(ratio: float | None) -> str:
    return "–" if ratio is None else f"{ratio:.2f}" if ratio < 10 else f"{ratio:.3g}"


def print_notes(title: str, notes: dict[str, dict[str, str]]) -> None:
    """Print one line per peer and reason, with the layers it applies to."""
    layers: dict[tuple[str, str], list[str]] = {}
    for layer, reasons in notes.items():
        for item in reasons.items():
            layers.setdefault(item, []).append(layer)
    for (peer, reason), where in layers.items():
        print(f"{title}: {peer}: {reason} ({'every row' if len(where) == len(notes) else ', '.join(where)})")


def print_facts(threads: int, dtype: str, libraries: list[Library], missing: dict[str, str]) -> None:
    """Print the machine, the versions, and which peers are missing."""
    peak = cpu.measure_peak_flops(np.dtype(dtype).itemsize) / 1e9
    print(f"{processor()}, {os.cpu_count()} logical CPUs, {cpu.isa()}; load average {os.getloadavg()[0]:.1f}")
    print(f"{threads} thread{'s' if threads > 1 else ''}, {dtype}; multiply-add peak of a core {peak:.0f} GFLOP/s")
    versions = [f"{library.name} {library.version}" for library in libraries]
    print(", ".join([*versions, f"numpy {np.__version__}", f"Python {platform.python_version()}"]))
    for name, reason in missing.items():
        print(f"missing: {name}: {reason}")


def processor() -> str:
    """The processor's name, if Linux reports it."""
    cpuinfo = Path("/proc/cpuinfo")
    match = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return match[1] if match else platform.processor() or platform.machine()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.side_by_side", description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=fastconv.get_num_threads(), help="threads per library")
    parser.add_argument("--table", choices=TABLES, default="conv")
    parser.add_argument("--only", metavar="PATTERN", default="", help="rows whose name this regular expression matches")
    parser.add_argument("--isolate", action="store_true", help="one process per library, stopped while others run")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    options = parser.parse_args(arguments)
    try:
        problems = matching_problems(options.only, options.table, options.dtype)
    except ValueError as error:
        parser.error(str(error))
    ours = [library(options.threads) for library in OURS]
    start = Isolated if options.isolate else type.__call__
    contenders = [start(library, options.threads) for library in OURS]
    peers, missing = available_peers(options.threads, start)
    print_facts(options.threads, options.dtype, [ours[0], *peers], missing)
    unit = "GFLOP/s of the direct algorithm" if all(p.shows_rates for p in problems.values()) else "ms"
    print(f"\n{options.table}, {unit}")
    return 0 if print_table(problems, ours, [*contenders, *peers], REPEATS.get(options.table, {})) else 1


if __name__ == "__main__":
    sys.exit(main())
