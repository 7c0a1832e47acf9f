"""The command line: ``fastconv compare``, ``plan``, ``run``, ``train``, ``calibrate`` and ``info``.

Results go to stdout, everything else to stderr. Every mistake a user can make ends in one line and exit code 2.
"""

from __future__ import annotations

import argparse
import codecs
import importlib.metadata
import io
import json
import os
import platform
import sys
import textwrap
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from math import prod
from pathlib import Path
from typing import NoReturn

import numpy as np

import fastconv
from fastconv.engine import rates
from fastconv.engine.convolution import BY_NAME, STRATEGIES
from fastconv.engine.geometry import ConvGeometry
from fastconv.engine.plan import format_bytes, format_seconds
from fastconv.lab import calibration, chart, digits, learning, photograph, portrait, running
from fastconv.lab.comparison import Comparison
from fastconv.lab.kinds import KINDS
from fastconv.networks import NETWORKS
from fastconv.receptive import Network

# Goes up when what a reader of `fastconv compare --json` relies on changes its meaning or leaves.
_SCHEMA = 1

_INTERRUPTED, _BROKEN_PIPE = 130, 141  # 128 plus the signal, as a shell reports it

_DESCRIPTION = fastconv.__doc__.splitlines()[0]

# Types of problems with random data; the first two are those of photographs and networks, too.
_DTYPES = (
    *("float32", "float64", "complex64", "complex128"),
    *(f"{sign}int{bits}" for bits in (8, 16, 32, 64) for sign in ("", "u")),
)

# What `fastconv` alone prints, below its name.
_HELP = """\
  fastconv compare                                every strategy on a photograph
  fastconv compare --layer "ic64 oc64 i56 k3 p1"  the same on a layer of yours
  fastconv plan "ic64 oc64 i56 k3 p1"             what would run there, and why
  fastconv run resnet50 --profile                 where a network's time goes
  fastconv train lenet5 --picture lenet5.png      learn to read digits

fastconv info describes this machine; fastconv COMMAND --help lists options.
In Python: import fastconv; help(fastconv)"""


# What stands for characters that a terminal cannot show; those of tables are one column wide.
_SPELLINGS = str.maketrans(dict(zip("µσε×−–…─━│├└▕▏", "usex--.--|||||", strict=True)) | {"±": "+-"})
_PLAIN = "fastconv.plain"


def _spell(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    text = error.object[error.start : error.end].translate(_SPELLINGS)
    return text.encode("ascii", "replace").decode("ascii"), error.end


codecs.register_error(_PLAIN, _spell)


class _Parser(argparse.ArgumentParser):
    """Reports an error in one line, without the usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {' '.join(message.split())}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code, or raises ``SystemExit`` with it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # σ and µ must not crash where the terminal cannot show them
            stream.reconfigure(errors=_PLAIN)
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
        # The reader has gone, so the interpreter must find nothing to flush into the closed pipe when it exits.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _BROKEN_PIPE
    return 0


def _parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    try:
        options, unknown = _parser().parse_known_args(arguments)
    except SystemExit:
        print(end="", flush=True)  # the help, too, may go to a closed pipe
        raise
    if unknown:
        options.parser.error(f"unknown arguments: {' '.join(unknown)}")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="fastconv", description=_DESCRIPTION, allow_abbrev=False)
    parser.add_argument("--version", action="version", version=f"fastconv {fastconv.__version__}")
    parser.set_defaults(run=_help, parser=parser)
    commands = parser.add_subparsers(metavar="COMMAND")

    compare = commands.add_parser(
        "compare",
        help="every strategy on a photograph or a layer: time, workspace, errors, or why it refuses",
        description="Compare every strategy, and scipy.signal, on a photograph (a 5×5 filter of its grey version, and "
        "a VGG-like layer of 64 filters of 3×3 on its colours), on one layer, or on each distinct convolution of a "
        "classical network, below a table of the network's receptive fields and costs. With --kind, compare the "
        "solvers of another kind of problem on random data.",
        allow_abbrev=False,
    )
    problem = compare.add_mutually_exclusive_group()
    problem.add_argument("--image", metavar="FILE", help="another photograph: a picture, or a .npy array (H, W[, 3])")
    problem.add_argument(
        "--layer",
        metavar="DESCRIPTOR",
        help='random data for this problem instead, such as "n1 ic64 oc64 ih56 iw56 kh3 kw3 s1 p1"',
    )
    problem.add_argument(
        "--csv", metavar="FILE", help="random data for each line of this file: DESCRIPTOR, or NAME,DESCRIPTOR"
    )
    problem.add_argument("--network", choices=NETWORKS, help="random data for each convolution of this network instead")
    compare.add_argument("--strategies", metavar="A,B", help=f"only these, of {', '.join(BY_NAME)}")
    compare.add_argument("--repeats", metavar="N", type=_repeats, default=5, help="timed bursts each (default: 5)")
    compare.add_argument("--json", action="store_true", help="print one JSON document instead of the report")
    compare.add_argument("--plot", metavar="FILE", help="draw the comparison as well, as .png, .svg or .pdf")
    compare.set_defaults(run=_compare, parser=compare)

    plan = commands.add_parser(
        "plan",
        help="which strategy would compute a layer, and why",
        description="Print the plan of a problem: the strategy that would run, with the estimated time, workspace "
        "and error of every other one, or the reason why it was left out. Nothing is computed, unless times are to be "
        'measured. Correlations take descriptors such as "i512 k9 p4 reflect", and "terms1 exact" behind them for a '
        "kernel that is an outer product; fastconv.plan documents them.",
        allow_abbrev=False,
    )
    plan.add_argument("layer", metavar="DESCRIPTOR", help='such as "n1 ic64 oc64 ih56 iw56 kh3 kw3 s1 p1"')
    plan.add_argument("--tolerance", metavar="E", type=float, help="largest error expected, in σ of the output")
    plan.add_argument("--strategy", metavar="NAME", default="auto", help="this one, instead of the cheapest")
    plan.add_argument(
        "--mode", choices=("estimate", "measure"), default="estimate", help="where times come from (default: estimate)"
    )
    plan.set_defaults(run=_plan, parser=plan)

    run = commands.add_parser(
        "run",
        help="a network on pictures: its classes, and where its time goes",
        description="Run an ONNX model, or a classical network with random weights, on pictures or arrays, and print "
        "the likeliest classes of each. With --profile, also print a table of each layer's time on the first picture.",
        allow_abbrev=False,
    )
    run.add_argument("model", metavar="MODEL", help=f"a file.onnx, or one of {', '.join(NETWORKS)}")
    run.add_argument("images", metavar="FILE", nargs="*", help="pictures, or .npy arrays (N, C, H, W)")
    run.add_argument("--shape", metavar="N,C,H,W", type=_shape, help="a random array of this shape instead")
    run.add_argument("--size", metavar="N", type=_extent, help="give pictures a shorter side of N pixels")
    run.add_argument("--crop", metavar="N", type=_extent, help="keep the middle N×N pixels")
    run.add_argument("--mean", metavar="R,G,B", type=_floats, default=(0.0,), help="less these values (default: 0)")
    run.add_argument("--std", metavar="R,G,B", type=_floats, default=(1.0,), help="divided by these (default: 1)")
    run.add_argument("--bgr", action="store_true", help="blue first")
    run.add_argument("--labels", metavar="FILE", help="names of classes, one a line")
    run.add_argument("--top", metavar="K", type=_repeats, default=5, help="so many classes (default: 5)")
    run.add_argument("--profile", action="store_true", help="print the time of each layer")
    run.add_argument("--dense", action="store_true", help="full connections as convolutions, for images of any extent")
    run.set_defaults(run=_run, parser=run)

    train = commands.add_parser(
        "train",
        help="train a network on handwritten digits",
        description="Train LeNet-5 on scikit-learn's 1,797 handwritten digits, enlarged from 8×8 to 20×20 pixels in a "
        "frame of 28×28, or on MNIST or a set of its form, and print how well it reads digits that were held out: a "
        "fifth of them, or the test files of the set. All randomness follows from the seed, on any number of threads.",
        allow_abbrev=False,
    )
    train.add_argument("model", metavar="MODEL", choices=learning.MODELS, help=" or ".join(learning.MODELS))
    train.add_argument("--data", metavar="PATH", help="MNIST as .npz, or a folder with its IDX files")
    train.add_argument("--epochs", metavar="N", type=_repeats, default=20, help="passes over the images (default: 20)")
    train.add_argument("--batch", metavar="N", type=_extent, default=64, help="images of a step (default: 64)")
    train.add_argument("--seed", metavar="N", type=_seed, default=0, help="of all randomness (default: 0)")
    train.add_argument("--save", metavar="FILE", help="write a checkpoint.npz")
    train.add_argument("--onnx", metavar="FILE", help="write the network as an ONNX model")
    train.add_argument(
        "--picture", metavar="FILE", help="draw learning curve, confusions, filters and maps, as .png, .svg or .pdf"
    )
    train.set_defaults(run=_train, parser=train)

    for command in (compare, plan):
        command.add_argument(
            "--kind",
            metavar="KIND",
            choices=KINDS,
            default="convolution",
            help=f"what DESCRIPTOR describes: {', '.join(KINDS)} (default: convolution)",
        )
        command.add_argument(
            "--dtype",
            metavar="TYPE",
            choices=_DTYPES,
            default="float32",
            help=f"{', '.join(_DTYPES)} (default: float32)",
        )

    for command in (compare, plan, run, train):
        command.add_argument("--threads", metavar="N", type=_threads, help="use at most N threads")

    calibrate = commands.add_parser(
        "calibrate",
        help="measure the rates of this machine, by which strategies are chosen from now on",
        description="Measure how fast this machine multiplies, copies and wakes a thread, and keep these rates for the "
        "choices of strategies in processes that start from now on. Prints them, and how much longer the chosen "
        "strategies take than the best ones, before and after. The environment variable FASTCONV_RATES=default makes "
        "a process ignore the rates that are kept.",
        allow_abbrev=False,
    )
    calibrate.set_defaults(run=_calibrate, parser=calibrate)

    info = commands.add_parser("info", help="versions, CPU, measured peak, threads, strategies", allow_abbrev=False)
    info.set_defaults(run=_info, parser=info)
    return parser


def _help(options: argparse.Namespace) -> str:
    return f"fastconv {fastconv.__version__}: {_DESCRIPTION}\n\n{_HELP}"


def _integer(text: str, low: int, high: int) -> int:
    if not text.isdecimal() or len(text) > 9 or not low <= int(text) <= high:
        raise argparse.ArgumentTypeError(f"{text!r}: expected an integer from {low} to {high}")
    return int(text)


def _threads(text: str) -> int:
    return _integer(text, 1, 1024)


def _repeats(text: str) -> int:
    return _integer(text, 1, 1000)


def _extent(text: str) -> int:
    return _integer(text, 1, 100_000)


def _seed(text: str) -> int:
    return _integer(text, 0, 999_999_999)


def _shape(text: str) -> tuple[int, ...]:
    extents = tuple(_integer(extent.strip(), 1, 1 << 28) for extent in text.split(","))
    if prod(extents) > 1 << 28:
        raise argparse.ArgumentTypeError(f"{text!r}: expected at most {1 << 28} values")
    return extents


def _floats(text: str) -> tuple[float, ...]:
    try:
        return tuple(map(float, text.split(",")))
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: expected numbers with commas between them") from None


# A title, and a function that compares with these options.
_Job = tuple[str, Callable[..., Comparison]]


def _compare(options: argparse.Namespace) -> str:
    """Run the comparisons and return the report, or the JSON document."""
    strategies = _names(options)
    described = options.layer is not None or options.csv is not None
    if options.kind != "convolution" and not described:
        raise ValueError(f"--kind {options.kind}: expected --layer DESCRIPTOR with it")
    if options.dtype not in _DTYPES[:2] and not described:
        raise ValueError(f"--dtype {options.dtype}: expected --layer DESCRIPTOR with it")
    if options.plot is not None:
        chart.file_format(options.plot)
        _check_target("--plot", options.plot)
    network = None if options.network is None else NETWORKS[options.network]()
    results: list[tuple[str, Comparison]] = []
    jobs = _jobs(options, network)
    for number, (title, run) in enumerate(jobs):
        with _Bar(f"{number + 1}/{len(jobs)}") as bar:
            comparison = run(strategies=strategies, num_threads=options.threads, repeats=options.repeats, progress=bar)
        results.append((title, comparison))
    if options.plot is not None:
        chart.draw(options.plot, results)
    if options.json:
        from fastconv.kernels import cpu

        document: dict[str, object] = {
            "schema": _SCHEMA,
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "fastconv": fastconv.__version__,
            "versions": {"python": platform.python_version()} | {name: _version(name) for name in ("numpy", "scipy")},
            "cpu": _cpu_model(),
            "instruction_set": cpu.isa(),
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
    """Total time of a network's convolutions: for each strategy that can compute them all, and for auto's choices."""
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
    connected = sum(isinstance(layer.geometry, ConvGeometry) for layer in network.layers) - count
    rest = f" (not its {connected} full connections, which see whole images)" if connected else ""
    return textwrap.fill(
        f"All {count} convolutions of {network.title}{rest}: {ranking or 'no strategy computes them all'}",
        80,
        subsequent_indent=" " * 4,
    )


def _names(options: argparse.Namespace) -> list[str] | None:
    """The strategies to compare; ``None`` for all."""
    if options.strategies is None:
        return None
    known = fastconv.strategies(options.kind)
    names = [name.strip() for name in options.strategies.split(",")]
    for name in names:
        if name not in known:
            raise ValueError(f"argument --strategies: {name!r}: expected some of {', '.join(known)}")
    return names


def _jobs(options: argparse.Namespace, network: Network | None) -> list[_Job]:
    """The comparisons to make: of a layer, of those of a network, or of a photograph."""
    if network is not None:
        return [
            (f"{network.title} {', '.join(names)}", partial(fastconv.compare, geometry, dtype=options.dtype))
            for geometry, names in network.convolutions.items()
        ]
    if options.layer is not None:
        run = partial(fastconv.compare, options.layer, options.kind, dtype=options.dtype)
        return [("Random normal data", run)]
    if options.csv is not None:
        return [
            (title, partial(fastconv.compare, descriptor, options.kind, dtype=options.dtype))
            for title, descriptor in _described(options.csv, options.kind)
        ]
    return _photograph(options)


def _described(path: str, kind: str) -> list[tuple[str, str]]:
    """The titles and descriptors in a CSV file; all are parsed before minutes are spent on the first."""
    found = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8-sig").splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, descriptor = (part.strip(' "') for part in line.rpartition(","))
        try:
            KINDS[kind].parse(descriptor)
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from None
        found.append((name or descriptor, descriptor))
    if not found:
        raise ValueError(f'{path}: expected lines such as "conv1,ic64 oc64 i56 k3 p1"')
    return found


def _photograph(options: argparse.Namespace) -> list[_Job]:
    """An image filter on the grey picture, and a layer on its colours."""
    colour = photograph.load(options.image)
    name = "Grace Hopper" if options.image is None else Path(options.image).name
    size = f"{name}, {colour.shape[2]}×{colour.shape[1]}"
    bell = np.exp(-(np.arange(-2, 3) ** 2) / 2)
    gaussian = np.outer(bell, bell) / bell.sum() ** 2
    filters = np.random.default_rng(0).standard_normal((64, 3, 3, 3))
    problems = [
        (f"5×5 Gaussian filter, grey photograph ({size})", photograph.grey(colour), gaussian[None, None]),
        (f"VGG-like layer, 64 filters of 3×3, colour photograph ({size})", colour, filters),
    ]
    return [
        (
            title,
            partial(fastconv.compare_conv2d, x.astype(options.dtype), weight.astype(options.dtype), padding="same"),
        )
        for title, x, weight in problems
    ]


def _plan(options: argparse.Namespace) -> str:
    """The plan of the problem that a descriptor names."""
    return repr(
        fastconv.plan(
            options.layer,
            options.kind,
            dtype=options.dtype,
            strategy=options.strategy,
            tolerance=options.tolerance,
            num_threads=options.threads,
            mode=options.mode,
        )
    )


def _run(options: argparse.Namespace) -> str:
    """What a network says of each picture, and with --profile, where its time goes."""
    labels = running.labels_in(options.labels)
    program = running.program_of(options.model, options.dense)
    preprocessing = (options.size, options.crop, options.mean, options.std, options.bgr)
    given = [(Path(path).name, running.image(path, *preprocessing)) for path in options.images]
    shape = options.shape
    if shape is None and not given:
        if options.model not in NETWORKS:
            raise ValueError(f"{options.model}: expected pictures, or --shape N,C,H,W")
        geometry = NETWORKS[options.model]().layers[0].geometry
        shape = geometry.x_shape
    if shape is not None:
        noise = np.random.default_rng(0).standard_normal(shape, np.float32)
        given.append((f"random {'×'.join(map(str, shape))}", noise))
    sections = []
    with fastconv.num_threads(options.threads or fastconv.get_num_threads()):
        for title, image in given:
            results = program(image)
            result = results[0] if isinstance(results, tuple) else results
            sections.append(running.report(title, result, options.top, labels))
        if options.profile:
            sections.append(str(program.profile(given[0][1])))
    return "\n\n".join(sections)


def _train(options: argparse.Namespace) -> str:
    """Train a network on digits, and write what was asked for."""
    targets = {name: getattr(options, name) for name in ("save", "onnx", "picture") if getattr(options, name)}
    for name, path in targets.items():
        _check_target(f"--{name}", path)
    if options.picture is not None:
        chart.file_format(options.picture)
    if options.onnx is not None:
        save = running.onnx_writer(options.onnx)
    data = digits.load(options.data, options.seed)
    with fastconv.num_threads(options.threads or fastconv.get_num_threads()), _Bar("train") as bar:
        settings = {"epochs": options.epochs, "batch": options.batch, "seed": options.seed}
        learnt = learning.train(options.model, data, **settings, progress=bar)
    if options.save is not None:
        fastconv.training.save(options.save, learnt.trainable, learnt.optimiser)
    if options.onnx is not None:
        save(learnt.network, options.onnx, shape=("batch", 1, digits.EXTENT, digits.EXTENT))
    if options.picture is not None:
        portrait.draw(options.picture, learnt)
    return "\n".join((learnt.report(), *(f"written: {path}" for path in targets.values())))


def _calibrate(options: argparse.Namespace) -> str:
    """Measure the rates of this machine, keep them, and report what they change."""
    rates.writable_directory()  # raises before seconds are spent on measuring
    with _Bar("calibrate") as bar:
        measured = calibration.measure(bar)
        found = calibration.regrets(measured, bar)
    return f"{calibration.report(measured, found)}\n\nkept in {rates.keep(measured)}"


def _check_target(option: str, path: str) -> None:
    """Raise if a file cannot be written, before minutes are spent on what it shall hold."""
    folder = os.path.dirname(path) or "."
    if os.path.isdir(path) or not os.access(path if os.path.exists(path) else folder, os.W_OK):
        raise ValueError(f"{option} {path}: cannot be written")


class _Bar:
    """A progress bar on stderr if that is a terminal; it erases itself."""

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
        ("rates", rates.in_use().origin),
        ("threads", str(fastconv.get_num_threads())),
        ("compiled kernels", _kernel_cache()),
        ("strategies", ""),
    ]
    rows += [(f"  {s.name}", _summary(s)) for s in STRATEGIES]
    rows += [(f"of {name}", ", ".join(fastconv.strategies(name))) for name in KINDS if name != "convolution"]
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}".rstrip() for name, value in rows)


def _kernel_cache() -> str:
    """How many kernels compiled on demand are cached, their size, and where."""
    from fastconv.kernels.jit import store

    directory = store.writable_directory()
    if directory is None:
        return "not cached: no writable directory; NUMBA_CACHE_DIR may name one"
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
