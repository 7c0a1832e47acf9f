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
from dataclasses import dataclass
from math import exp, log
from pathlib import Path
from statistics import fmean, median

import numpy as np

import fastconv
from benchmarks.layers import TABLES
from benchmarks.libraries import Fastconv, Library
from benchmarks.peers import available_peers
from benchmarks.problems import Problem, table_problems
from fastconv.kernels import cpu
from fastconv.timing import Contender, interleave

# Threads of the previous contender may spin for some milliseconds after its last call; they are waited out.
_QUIET_SECONDS = 0.005


@dataclass(frozen=True)
class Row:
    """Seconds a call of everyone who took part in a problem, and why some peers did not."""

    problem: Problem
    seconds: dict[str, float]
    peak_flops: float
    refusals: dict[str, str]
    faults: dict[str, str]

    def cell(self, name: str) -> str:
        """GFLOP/s of a layer; milliseconds of images and pooling, as their users reckon."""
        if name not in self.seconds:
            return "wrong" if name in self.faults else "–"
        seconds = self.seconds[name]
        return f"{self.problem.flops / seconds / 1e9:.1f}" if shows_rates(self.problem) else f"{seconds * 1e3:.3g}"

    def of_peak(self, threads: int) -> float:
        return self.problem.flops / self.seconds[Fastconv.name] / (self.peak_flops * threads)

    @property
    def best_peer(self) -> str | None:
        return min((name for name in self.seconds if name != Fastconv.name), key=self.seconds.get, default=None)

    @property
    def ratio(self) -> float | None:
        return None if self.best_peer is None else self.seconds[self.best_peer] / self.seconds[Fastconv.name]


def shows_rates(problem: Problem) -> bool:
    return problem.operation == "conv"


def measure(problem: Problem, ours: Fastconv, peers: list[Library], repeats: int = 7) -> Row:
    """Prepare and check everyone who takes part, then time them together."""
    arrays = problem.arrays()
    calls = {ours.name: ours.prepare(problem, *arrays)}
    expected = calls[ours.name]()
    refusals, faults = {}, {}
    for peer in (peer for peer in peers if problem.operation in peer.operations):
        if (reason := peer.refuse(problem)) is not None:
            refusals[peer.name] = reason
            continue
        call = peer.prepare(problem, *arrays)
        if (fault := problem.fault(call(), expected, peer.error(problem))) is not None:
            faults[peer.name] = fault
            continue
        calls[peer.name] = call
    peaks = []

    def before_burst(name: str) -> None:
        time.sleep(_QUIET_SECONDS)
        if name == ours.name:
            peaks.append(cpu.measure_peak_flops(np.dtype(problem.dtype).itemsize, seconds=0.001, bursts=5))

    contenders = [Contender(name, call) for name, call in calls.items()]
    interleave(contenders, repeats, before_burst)
    return Row(problem, {c.name: c.seconds for c in contenders}, median(peaks), refusals, faults)


def print_table(problems: dict[str, Problem], ours: Fastconv, peers: list[Library]) -> bool:
    """Measure and print row by row; whether all peers agreed with fastconv."""
    operations = {problem.operation for problem in problems.values()}
    peers = [peer for peer in peers if operations.intersection(peer.operations)]
    planned = all(problem.flops is not None for problem in problems.values())
    names = [ours.name, *(peer.name for peer in peers)]
    headers = [*(["strategy"] if planned else []), *names, *(["of peak"] if planned else []), "ratio to best peer"]
    first = max(map(len, ["layer", *problems]))

    def print_row(name: str, cells: list[str]) -> None:
        aligned = (f"{cell:>{max(9, len(header))}}" for cell, header in zip(cells, headers, strict=True))
        print(f"{name:<{first}}", *aligned, sep="  ", flush=True)

    print_row("layer", headers)
    rows = {}
    for name, problem in problems.items():
        rows[name] = row = measure(problem, ours, peers)
        cells = [row.cell(library) for library in names]
        if planned:
            cells = [ours.plan(problem).strategy.name, *cells, f"{row.of_peak(ours.threads):.0%}"]
        print_row(name, [*cells, "–" if row.ratio is None else f"{row.ratio:.2f} {row.best_peer}"])
    ratios = [row.ratio for row in rows.values() if row.ratio is not None]
    if ratios:
        mean = exp(fmean(map(log, ratios)))
        ahead = sum(ratio > 1 for ratio in ratios)
        print(f"\nahead of the best peer in {ahead} of {len(ratios)} rows; geometric mean of the ratios {mean:.2f}")
    print_notes("does not take part", {name: row.refusals for name, row in rows.items()})
    print_notes("WRONG", {name: row.faults for name, row in rows.items()})
    return not any(row.faults for row in rows.values())


def print_notes(title: str, notes: dict[str, dict[str, str]]) -> None:
    """One line for every peer and reason, with the layers that it holds for."""
    layers: dict[tuple[str, str], list[str]] = {}
    for layer, reasons in notes.items():
        for item in reasons.items():
            layers.setdefault(item, []).append(layer)
    for (peer, reason), where in layers.items():
        print(f"{title}: {peer}: {reason} ({'every row' if len(where) == len(notes) else ', '.join(where)})")


def print_facts(threads: int, dtype: str, libraries: list[Library], missing: dict[str, str]) -> None:
    """The machine, the versions, and who is absent."""
    peak = cpu.measure_peak_flops(np.dtype(dtype).itemsize) / 1e9
    print(f"{processor()}, {os.cpu_count()} logical CPUs, {cpu.isa()}; load average {os.getloadavg()[0]:.1f}")
    print(f"{threads} thread{'s' if threads > 1 else ''}, {dtype}; multiply-add peak of a core {peak:.0f} GFLOP/s")
    versions = [f"{library.name} {library.version}" for library in libraries]
    print(", ".join([*versions, f"numpy {np.__version__}", f"Python {platform.python_version()}"]))
    for name, reason in missing.items():
        print(f"missing: {name}: {reason}")


def processor() -> str:
    """The processor's name, where Linux tells it."""
    cpuinfo = Path("/proc/cpuinfo")
    match = re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return match[1] if match else platform.processor() or platform.machine()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.side_by_side", description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=fastconv.get_num_threads(), help="of every library")
    parser.add_argument("--table", choices=TABLES, default="conv")
    parser.add_argument("--only", metavar="PATTERN", default="", help="rows whose name this regular expression matches")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32")
    options = parser.parse_args(arguments)
    problems = {
        name: problem
        for name, problem in table_problems(options.table, options.dtype).items()
        if re.search(options.only, name, re.IGNORECASE)
    }
    if not problems:
        parser.error(f"--only {options.only}: matches no row of {', '.join(table_problems(options.table))}")
    ours = Fastconv(options.threads)
    peers, missing = available_peers(options.threads)
    print_facts(options.threads, options.dtype, [ours, *peers], missing)
    unit = "GFLOP/s of the direct algorithm" if all(map(shows_rates, problems.values())) else "ms"
    print(f"\n{options.table}, {unit}")
    return 0 if print_table(problems, ours, peers) else 1


if __name__ == "__main__":
    sys.exit(main())
