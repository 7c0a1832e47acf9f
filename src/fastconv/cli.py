"""The command line: ``fastconv compare`` and ``fastconv info``.

Results go to stdout, everything else to stderr. What a user can get wrong ends in one line and exit code 2.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import io
import json
import os
import platform
import sys
from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import NoReturn

import numpy as np

import fastconv
from fastconv import chart, photograph
from fastconv.compare import Comparison, compare_conv2d
from fastconv.geometry import ConvGeometry
from fastconv.networks import NETWORKS
from fastconv.plan import format_bytes, format_seconds
from fastconv.receptive import Network
from fastconv.strategies import BY_NAME, STRATEGIES

_INTERRUPTED, _BROKEN_PIPE = 130, 141  # 128 plus the signal, as a shell reports it

# What the arrays of a `--layer` may take, the float64 reference included.
_MAX_LAYER_BYTES = 4 << 30


class _Parser(argparse.ArgumentParser):
    """Errors are one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code, or raises ``SystemExit`` with it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # σ and µ must not crash a terminal that lacks them
            stream.reconfigure(errors="replace")
    try:
        options = _parsed(arguments)
        try:
            print(options.run(options), flush=True)
        except BrokenPipeError:
            raise
        except OSError as error:
            options.parser.error(f"{error.filename}: {error.strerror}" if error.filename else str(error))
        except (ValueError, NotImplementedError, ImportError, MemoryError) as error:
            options.parser.error(str(error) or type(error).__name__)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:
        # The reader has gone. Nothing may be left for the interpreter to flush into the closed pipe at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    return 0


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    try:
        options, unknown = _parser().parse_known_args(arguments)
    except SystemExit:
        print(end="", flush=True)  # the help may meet a closed pipe too
        raise
    if unknown:
        options.parser.error(f"unknown arguments: {' '.join(unknown)}")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="fastconv", description=fastconv.__doc__.splitlines()[0], allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"fastconv {fastconv.__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    compare = commands.add_parser(
        "compare",
        help="every strategy on a photograph or a layer: time, workspace, error, why refused",
        description="Compare every strategy, and scipy.signal, on two problems made of a photograph (a 5×5 filter "
        "on its grey version, a VGG-like layer of 64 3×3 filters on its colours), on one layer, or on the distinct "
        "convolutions of a classical network, after a table of what its layers see and cost.",
        allow_abbrev=False,
    )
    problem = compare.add_mutually_exclusive_group()
    problem.add_argument("--image", metavar="FILE", help="the photograph: a picture, or a .npy array (H, W[, 3])")
    problem.add_argument(
        "--layer",
        metavar="DESCRIPTOR",
        help='random data of this geometry instead, such as "n1 ic64 oc64 ih56 iw56 kh3 kw3 s1 p1"',
    )
    problem.add_argument("--network", choices=NETWORKS, help="random data for each convolution of this network instead")
    compare.add_argument("--strategies", metavar="A,B", type=_names, help=f"some of {', '.join(BY_NAME)}")
    compare.add_argument("--threads", metavar="N", type=_threads, help="at most as many threads")
    compare.add_argument("--dtype", choices=("float32", "float64"), default="float32", help="default: float32")
    compare.add_argument("--repeats", metavar="N", type=_repeats, default=5, help="timed bursts each (default: 5)")
    compare.add_argument("--json", action="store_true", help="print one JSON document instead of the report")
    compare.add_argument("--plot", metavar="FILE", help="draw the comparison too: a .png, .svg or .pdf")
    compare.set_defaults(run=_compare, parser=compare)

    info = commands.add_parser("info", help="versions, CPU, measured peak, threads, strategies", allow_abbrev=False)
    info.set_defaults(run=_info, parser=info)
    return parser


def _integer(text: str, low: int, high: int) -> int:
    if not text.isdecimal() or len(text) > 9 or not low <= int(text) <= high:
        raise argparse.ArgumentTypeError(f"{text!r}: expected an integer from {low} to {high}")
    return int(text)


def _threads(text: str) -> int:
    return _integer(text, 1, 1024)


def _repeats(text: str) -> int:
    return _integer(text, 1, 1000)


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in BY_NAME:
            raise argparse.ArgumentTypeError(f"{name!r}: expected some of {', '.join(BY_NAME)}")
    return names


def _compare(options: argparse.Namespace) -> str:
    """Run the comparisons; the report, or the JSON document."""
    if options.plot is not None:
        _check_target(options.plot)
    results: list[tuple[str, Comparison]] = []
    network = None if options.network is None else NETWORKS[options.network]()
    if network is not None:
        problems = [
            _random(f"{network.title} {', '.join(names)}", f"--network {options.network}", g, options.dtype)
            for g, names in network.convolutions.items()
        ]
    else:
        problems = _layer(options) if options.layer is not None else _photograph(options)
    for number, (title, x, weight, window) in enumerate(problems):
        with _Bar(f"{number + 1}/{len(problems)}") as bar:
            comparison = compare_conv2d(
                x.astype(options.dtype),
                weight.astype(options.dtype),
                **window,
                strategies=options.strategies,
                num_threads=options.threads,
                repeats=options.repeats,
                progress=bar,
            )
        results.append((title, comparison))
    if options.plot is not None:
        chart.draw(options.plot, results)
    if options.json:
        document = {
            "fastconv": fastconv.__version__,
            "cpu": _cpu_model(),
            "comparisons": [{"title": title} | comparison.to_dict() for title, comparison in results],
        }
        if network is not None:
            document["network"] = network.to_dict()
        return json.dumps(document, indent=2, allow_nan=False)
    sections = [f"{title}\n{'─' * len(title)}\n{comparison}" for title, comparison in results]
    if network is not None:
        sections = [repr(network), *sections, _sums(network, [comparison for _, comparison in results])]
    return "\n\n".join(sections)


def _sums(network: Network, comparisons: Sequence[Comparison]) -> str:
    """The time of all convolutions of a network, by each strategy that computed every one, and by what auto chooses."""
    seconds: dict[str, list[float]] = {}
    for comparison, names in zip(comparisons, network.convolutions.values(), strict=True):
        ran = {m.name: m.seconds * len(names) for m in comparison.measurements if m.seconds is not None}
        if comparison.auto in ran:
            ran["auto"] = ran[comparison.auto]
        for name, time in ran.items():
            seconds.setdefault(name, []).append(time)
    whole = {name: sum(times) for name, times in seconds.items() if len(times) == len(comparisons)}
    ranking = ", ".join(f"{name} {format_seconds(whole[name])}" for name in sorted(whole, key=whole.__getitem__))
    count = sum(map(len, network.convolutions.values()))
    return f"All {count} convolutions of {network.title}: {ranking or 'no strategy computes them all'}"


def _photograph(options: argparse.Namespace) -> list[tuple]:
    """An image filter on the grey picture, and a layer on its colours: title, x, weight, window."""
    colour = photograph.load(options.image)
    name = "Grace Hopper" if options.image is None else Path(options.image).name
    size = f"{name}, {colour.shape[2]}×{colour.shape[1]}"
    bell = np.exp(-(np.arange(-2, 3) ** 2) / 2)
    gaussian = np.outer(bell, bell) / bell.sum() ** 2
    filters = np.random.default_rng(0).standard_normal((64, 3, 3, 3))
    return [
        (f"5×5 Gaussian filter, grey photograph ({size})", photograph.grey(colour), gaussian[None, None], _SAME),
        (f"VGG-like layer, 64 filters of 3×3, colour photograph ({size})", colour, filters, _SAME),
    ]


_SAME = {"padding": "same"}


def _layer(options: argparse.Namespace) -> list[tuple]:
    """Random normal data of the geometry that a descriptor names."""
    g = ConvGeometry.parse(options.layer).as_2d()
    if g.ndim != 2:
        raise ValueError(f"--layer {options.layer!r}: expected one or two spatial axes, got {g.ndim}")
    return [_random("Random normal data", f"--layer {options.layer!r}", g, options.dtype)]


def _random(title: str, argument: str, g: ConvGeometry, type_name: str) -> tuple:
    """Random normal data of geometry `g`, which the user asked for by `argument`."""
    arrays = (g.x_shape, g.weight_shape, g.out_shape, g.out_shape)
    dtype = np.dtype(type_name)
    needed = sum(map(prod, arrays)) * dtype.itemsize
    needed += BY_NAME["reference"].workspace_bytes(g, dtype, 1, 0)
    if needed > _MAX_LAYER_BYTES:
        raise ValueError(
            f"{argument}: takes {format_bytes(needed)} with its float64 reference, "
            f"the limit is {format_bytes(_MAX_LAYER_BYTES)}"
        )
    rng = np.random.default_rng(0)
    x, weight = (rng.standard_normal(shape, np.float32) for shape in (g.x_shape, g.weight_shape))
    window = {"stride": g.stride, "padding": g.padding, "dilation": g.dilation, "groups": g.g}
    return title, x, weight, window


def _check_target(path: str) -> None:
    """Refuse a chart that cannot be written before minutes are spent on it."""
    chart.file_format(path)
    folder = os.path.dirname(path) or "."
    if os.path.isdir(path) or not os.access(path if os.path.exists(path) else folder, os.W_OK):
        raise ValueError(f"--plot {path}: cannot be written")


class _Bar:
    """A progress bar on stderr, if that is a terminal; nothing is left of it."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.visible = sys.stderr.isatty()

    def __enter__(self) -> _Bar:
        return self

    def __call__(self, done: int, total: int, name: str) -> None:
        if self.visible:
            filled = 30 * done // total
            bar = "━" * filled + " " * (30 - filled)
            sys.stderr.write(f"\r\x1b[K{self.prefix} ▕{bar}▏ {100 * done // total:3} %  {name}")
            sys.stderr.flush()

    def __exit__(self, *exception: object) -> None:
        if self.visible:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


def _info(options: argparse.Namespace) -> str:
    from fastconv.kernels import cpu

    l1, l2, l3 = map(format_bytes, cpu.cache_bytes())
    sets = ", ".join(cpu.available_isas())
    peaks = (
        f"{cpu.measure_peak_flops(size) / 1e9:.3g} GFLOP/s {name}" for size, name in ((4, "float32"), (8, "float64"))
    )
    libraries = ("numpy", "scipy", "numba", "matplotlib", "pillow")
    rows = [
        ("fastconv", fastconv.__version__),
        ("Python", f"{platform.python_version()} ({platform.system()} {platform.machine()})"),
        ("libraries", ", ".join(f"{name} {_version(name)}" for name in libraries)),
        ("CPU", _cpu_model()),
        ("instructions", f"{cpu.isa()} in use; this CPU runs {sets}"),
        ("data caches", f"L1 {l1}, L2 {l2}, L3 {l3}"),
        ("measured peak", f"{', '.join(peaks)}, one core"),
        ("threads", str(fastconv.get_num_threads())),
        ("compiled kernels", _kernel_cache()),
        ("strategies", ""),
    ]
    rows += [(f"  {s.name}", _summary(s)) for s in STRATEGIES]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}".rstrip() for name, value in rows)


def _kernel_cache() -> str:
    """Where kernels are kept that were compiled when they were first needed, and how many there are."""
    from fastconv.kernels import store

    directory = store.writable_directory()
    if directory is None:
        return "none are kept: no directory for them can be written; NUMBA_CACHE_DIR may name one"
    sizes = [kernel.stat().st_size for kernel in store.contents(directory)]
    return f"{len(sizes)}, {format_bytes(sum(sizes))}, in {directory}"


def _summary(strategy: object) -> str:
    """The first sentence of the strategy's module."""
    return (sys.modules[type(strategy).__module__].__doc__ or "").split("\n", 1)[0]


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    models = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())
