"""Shared by the suites: the number of threads, and a fixture that times a library within a budget."""

from __future__ import annotations

import functools
import time

import pytest

import fastconv
from benchmarks.libraries import Fastconv, Library
from benchmarks.problems import Problem

# A case takes about this long, however fast its call is; calls slower than this are made twice.
BUDGET_SECONDS = 0.25

# Calls of a microsecond are timed by the thousand, for the clock's sake.
ROUND_SECONDS = 1e-3


def pytest_addoption(parser):
    parser.addoption(
        "--fastconv-threads",
        type=int,
        default=fastconv.get_num_threads(),
        help="threads of fastconv and its peers (default: FASTCONV_NUM_THREADS, or all)",
    )


@pytest.fixture(scope="session")
def threads(request):
    return request.config.getoption("--fastconv-threads")


@pytest.fixture
def time_call(benchmark, threads):
    """``time_call(group, problem, library)``: check against fastconv, then time; skipped where refused.

    `make` builds the library for a number of threads; the group collects all libraries of a layer.
    """

    def time_call(group: str, problem: Problem, make) -> None:
        try:
            library: Library = make(threads)
        except ImportError as error:
            pytest.skip(str(error))
        if (reason := library.refuse(problem)) is not None:
            pytest.skip(reason)
        arrays = problem.arrays()
        call = library.prepare(problem, *arrays)
        fault = problem.fault(call(), expected_result(problem, threads), library.error(problem))
        assert fault is None, f"{library.name} {fault}"
        start = time.perf_counter()
        call()
        seconds = time.perf_counter() - start
        iterations = max(1, int(ROUND_SECONDS / seconds))
        benchmark.group = group
        benchmark.extra_info |= {
            "descriptor": str(problem.geometry),
            "operation": problem.operation,
            "dtype": problem.dtype,
            "threads": threads,
            "library": library.name,
            "version": library.version,
        }
        benchmark.pedantic(
            call, rounds=max(1, min(100, int(BUDGET_SECONDS / (seconds * iterations)))), iterations=iterations
        )
        if benchmark.stats is not None and problem.flops is not None:
            benchmark.extra_info["GFLOP/s"] = problem.flops / benchmark.stats.stats.median / 1e9

    return time_call


@functools.cache
def expected_result(problem: Problem, threads: int):
    """fastconv's result for `problem`."""
    return Fastconv(threads).prepare(problem, *problem.arrays())()
