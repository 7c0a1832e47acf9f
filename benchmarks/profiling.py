"""``python -m benchmarks.profiling DESCRIPTOR``: where the time of one layer goes.

The layer is prepared, and called for some seconds under Linux' ``perf``, which sees the kernels. Without ``perf``, or
with ``--python``, it is called under cProfile, which sees the Python on the way to them.
"""

from __future__ import annotations

import argparse
import cProfile
import pstats
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import fastconv
from fastconv.engine.geometry import ConvGeometry
from fastconv.engine.plan import format_seconds

# Functions that a profile lists.
_LINES = 25


def layer(descriptor: str, strategy: str, threads: int) -> Callable[[], object]:
    """A call of the prepared layer on random data."""
    g = ConvGeometry.parse(descriptor).as_2d()
    rng = np.random.default_rng(0)
    x, weight = (rng.standard_normal(shape, np.float32) for shape in (g.x_shape, g.weight_shape))
    window = {"stride": g.stride, "padding": g.padding, "dilation": g.dilation, "groups": g.g}
    prepared = fastconv.prepare_conv2d(weight, **window, strategy=strategy, num_threads=threads)
    out = prepared(x)
    print(prepared.plan(x.shape), flush=True)
    return lambda: prepared(x, out=out)


def repeat(call: Callable[[], object], seconds: float) -> float:
    """Call for some `seconds`; the mean time of a call."""
    calls, start = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        call()
        calls += 1
    return elapsed / calls


def under_perf(arguments: list[str]) -> int:
    """Run this module again under perf, and print perf's report."""
    with tempfile.TemporaryDirectory() as folder:
        record = ["perf", "record", "--quiet", "--output", str(Path(folder) / "perf.data"), "--"]
        run = subprocess.run([*record, sys.executable, "-m", "benchmarks.profiling", *arguments, "--bare"])
        if run.returncode == 0:
            report = ["perf", "report", "--stdio", "--percent-limit", "1", "--input", record[4]]
            lines = subprocess.run(report, capture_output=True, text=True).stdout.splitlines()
            print("\n".join(line for line in lines if line and not line.startswith("#")))
        return run.returncode


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("descriptor", help='such as "ic64 oc64 i56 k3 p1"')
    parser.add_argument("--strategy", default="auto", help="default: auto")
    parser.add_argument("--threads", type=int, default=1, help="default: 1")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long it is called (default: 3)")
    parser.add_argument("--python", action="store_true", help="profile Python, not the kernels")
    parser.add_argument("--bare", action="store_true", help="only call the layer")
    options = parser.parse_args()
    if not options.bare and not options.python and shutil.which("perf"):
        return under_perf(sys.argv[1:])
    call = layer(options.descriptor, options.strategy, options.threads)
    if options.bare:
        g = ConvGeometry.parse(options.descriptor)
        seconds = repeat(call, options.seconds)
        print(f"{format_seconds(seconds)} per call, {g.flops / seconds / 1e9:.3g} GFLOP/s", flush=True)
        return 0
    repeat(call, 0.1)  # whatever is imported or cached at the first calls
    with cProfile.Profile() as profile:
        repeat(call, options.seconds)
    pstats.Stats(profile).sort_stats("tottime").print_stats(_LINES)
    return 0


if __name__ == "__main__":
    sys.exit(main())
