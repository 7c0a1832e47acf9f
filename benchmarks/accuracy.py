"""``python -m benchmarks.accuracy``: maximum errors of fastconv and its peers on the same layers, in σ of the output.

Data are normal, and errors are differences from fastconv's float64 reference. fastconv promises its tolerance: if it
exceeds that, the exit status is 1.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace

import numpy as np

import fastconv
from benchmarks.layers import TABLES
from benchmarks.libraries import Fastconv, Library, Prepared, PreparedLoosely
from benchmarks.peers import available_peers
from benchmarks.problems import Problem, matching_problems


def errors(problem: Problem, libraries: list[Library]) -> dict[str, float]:
    """The error of every library that takes part in `problem`."""
    arrays, truth = problem.arrays(), reference(problem)
    found = {}
    for library in libraries:
        if library.refuse(problem) is None:
            call = library.prepare(problem, *arrays)
            found[library.name] = problem.error(call(), truth)
    return found


def reference(problem: Problem) -> np.ndarray:
    """The result for the same data in float64, by direct sums where the reference takes too much memory."""
    arrays = [array.astype(np.float64) for array in problem.arrays()]
    in_float64 = replace(problem, dtype="float64")
    try:
        return Fastconv(fastconv.get_num_threads(), "reference").prepare(in_float64, *arrays)()
    except fastconv.UnsupportedError:
        return Fastconv(fastconv.get_num_threads(), "direct").prepare(in_float64, *arrays)()


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.accuracy", description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=fastconv.get_num_threads(), help="threads per library")
    layers = [table for table in TABLES if table not in ("filters", "pools")]
    parser.add_argument("--table", choices=layers, default="conv")
    parser.add_argument("--only", metavar="PATTERN", default="", help="rows whose name this regular expression matches")
    options = parser.parse_args(arguments)
    try:
        problems = matching_problems(options.only, options.table)
    except ValueError as error:
        parser.error(str(error))
    ours = [library(options.threads) for library in (Fastconv, Prepared, PreparedLoosely)]
    peers, missing = available_peers(options.threads)
    libraries = [*ours, *(peer for peer in peers if "conv" in peer.operations)]
    for name, reason in missing.items():
        print(f"missing: {name}: {reason}")
    width = max(map(len, problems))
    print(f"{options.table}, maximum error in σ of the output; float32")
    print(f"{'layer':<{width}}", *(f"{library.name:>13}" for library in libraries))
    kept = True
    for name, problem in problems.items():
        row = errors(problem, libraries)
        print(
            f"{name:<{width}}",
            *(f"{row[a.name]:>13.1e}" if a.name in row else f"{'–':>13}" for a in libraries),
            flush=True,
        )
        kept &= all(row[a.name] <= a.error(problem) for a in ours)
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
