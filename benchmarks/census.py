"""``python -m benchmarks.census``: fastconv and its peers on a sample of the convolutions that networks are made of.

The sample is stratified: equally many layers of each kind, each drawn with a probability in proportion to its uses.
Layers come from `benchmarks.networks`, or from a CSV file with the columns ``kind,uses,models,descriptor``. With
``--network NAME``, the sample is all convolutions of one network, and the table ends with their sums.
"""

from __future__ import annotations

import argparse
import csv
import json
import math
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from operator import mul
from pathlib import Path
from typing import NamedTuple

import numpy as np

import fastconv
from benchmarks.accuracy import reference
from benchmarks.isolated import Isolated
from benchmarks.libraries import Fastconv, Prepared, PreparedChannelsLast
from benchmarks.networks import NETWORKS
from benchmarks.peers import LiteRt, OnnxRuntime, Torch, TorchChannelsLast, available_peers
from benchmarks.problems import Problem
from benchmarks.side_by_side import Row, format_ratio, geometric_mean, measure, print_facts, print_notes
from fastconv.engine.geometry import ConvGeometry

KINDS = ("1x1", "dense", "strided", "grouped", "depthwise", "dilated", "volume")

_OURS = (Fastconv, Prepared, PreparedChannelsLast)
_PEERS = (Torch, TorchChannelsLast, OnnxRuntime, LiteRt)

# Below this ratio, a row counts as lost by much.
_LOST = 0.8

_WORST = 4


@dataclass(frozen=True)
class Used:
    """A convolution, and how often networks contain it."""

    kind: str
    uses: int
    geometry: ConvGeometry


def kind_of(geometry: ConvGeometry) -> str:
    """The first of these that a convolution is: volume, depthwise, grouped, 1×1, dilated, strided; or else dense."""
    if geometry.ndim == 3:
        return "volume"
    if geometry.g > 1:
        return "depthwise" if geometry.g == geometry.ic else "grouped"
    if set(geometry.kernel) == {1}:
        return "1x1"
    if set(geometry.dilation) != {1}:
        return "dilated"
    return "dense" if set(geometry.stride) == {1} else "strided"


def layers_of_networks(names: Iterable[str] = NETWORKS) -> list[Used]:
    """The convolutions of these of the `NETWORKS`."""
    uses: Counter[ConvGeometry] = Counter()
    for name in names:
        for geometry, times in NETWORKS[name]().convolutions.items():
            uses[geometry.as_2d()] += times
    return [Used(kind_of(geometry), times, geometry) for geometry, times in uses.items()]


def layers_of_file(path: Path) -> list[Used]:
    """The convolutions that a CSV file lists; ValueError names the line that is wrong."""
    with path.open(newline="") as file:
        rows = csv.DictReader(file)
        if missing := {"kind", "uses", "descriptor"}.difference(rows.fieldnames or ()):
            raise ValueError(f"{path}: expected the columns kind,uses,models,descriptor; {min(missing)} is missing")
        layers = []
        for row in rows:
            try:
                geometry = ConvGeometry.parse(row["descriptor"]).as_2d()
                layers.append(Used(row["kind"], int(row["uses"]), geometry))
            except ValueError as error:
                raise ValueError(f"{path}, line {rows.line_num}: {error}") from None
    return layers


def shares(available: dict[str, int], n: int) -> dict[str, int]:
    """How many of each kind make `n` together: equally many, as far as there are so many.

    Examples
    --------
    >>> shares({"many": 90, "few": 3, "more": 100}, 20)
    {'few': 3, 'many': 8, 'more': 9}
    """
    taken: dict[str, int] = {}
    for kind, count in sorted(available.items(), key=lambda item: item[1]):
        kinds_left = len(available) - len(taken)
        taken[kind] = min(count, (n - sum(taken.values())) // kinds_left)
    return taken


def sample(layers: Sequence[Used], n: int, seed: int) -> list[Used]:
    """`n` layers, or all; within a kind without repetition, weighted by their uses (Efraimidis and Spirakis 2006)."""
    rng = random.Random(seed)
    keyed = [(math.log(1 - rng.random()) / layer.uses, layer) for layer in layers]
    keyed.sort(key=lambda item: item[0], reverse=True)
    left = shares(Counter(layer.kind for layer in layers), n)
    drawn = []
    for _, layer in keyed:
        if left[layer.kind]:
            left[layer.kind] -= 1
            drawn.append(layer)
    return sorted(drawn, key=lambda layer: (_rank(layer.kind), -layer.uses))


def _rank(kind: str) -> int:
    return KINDS.index(kind) if kind in KINDS else len(KINDS)


class Comparison(NamedTuple):
    """One way to use fastconv, and the peers of which the fastest in each row is its yardstick."""

    ours: str
    peers: tuple[str, ...]

    def __str__(self) -> str:
        peers = self.peers[0] if len(self.peers) == 1 else f"the fastest of {', '.join(self.peers)}"
        return f"{self.ours} to {peers}"

    def ratio(self, seconds: dict[str, float]) -> float | None:
        """How many times faster ours is; ``None`` if it or all peers do not take part."""
        peers = [seconds[peer] for peer in self.peers if peer in seconds]
        return min(peers) / seconds[self.ours] if peers and self.ours in seconds else None


COMPARISONS = (
    Comparison(Prepared.name, (Torch.name, TorchChannelsLast.name, OnnxRuntime.name)),
    Comparison(Prepared.name, (Torch.name, OnnxRuntime.name)),
    Comparison(PreparedChannelsLast.name, tuple(peer.name for peer in _PEERS)),
    Comparison(Fastconv.name, (Torch.name,)),
)


@dataclass(frozen=True)
class Summary:
    """What the ratios of some rows amount to."""

    rows: int
    geomean: float
    won: float
    lost: float
    least: float

    @classmethod
    def of(cls, ratios: Sequence[float], lost_below: float = _LOST) -> Summary:
        n = len(ratios)
        won, lost = sum(r >= 1 for r in ratios) / n, sum(r < lost_below for r in ratios) / n
        return cls(n, geometric_mean(list(ratios)), won, lost, min(ratios))

    @classmethod
    def weighted(cls, summaries: dict[str, Summary], weights: dict[str, float]) -> Summary:
        """That of all layers, of which each kind is a share by weight."""
        total = sum(weights[kind] for kind in summaries)

        def mean(figure: Callable[[Summary], float]) -> float:
            return sum(weights[kind] * figure(summary) for kind, summary in summaries.items()) / total

        return cls(
            sum(summary.rows for summary in summaries.values()),
            math.exp(mean(lambda s: math.log(s.geomean))),
            mean(lambda s: s.won),
            mean(lambda s: s.lost),
            min(summary.least for summary in summaries.values()),
        )

    def cells(self) -> str:
        return f"{self.rows:>5} {self.geomean:>8.2f} {self.won:>6.0%} {self.lost:>10.0%} {self.least:>6.2f}"


class Measured(NamedTuple):
    layer: Used
    strategy: str
    row: Row


def summaries(rows: Sequence[Measured], comparison: Comparison) -> dict[str, Summary]:
    """By kind."""
    ratios: dict[str, list[float]] = {}
    for layer, _, row in rows:
        if (ratio := comparison.ratio(row.seconds)) is not None:
            ratios.setdefault(layer.kind, []).append(ratio)
    return {kind: Summary.of(found) for kind, found in ratios.items()}


def print_summaries(rows: Sequence[Measured], uses: dict[str, float]) -> None:
    """For each comparison, a table by kind, and its worst rows."""
    for comparison in COMPARISONS:
        kinds = summaries(rows, comparison)
        if not kinds:
            continue
        print(f"\n{comparison}")
        below = f"below {_LOST}"
        print(f"{'kind':<12} {'uses':>6} {'rows':>5} {'geomean':>8} {'won':>6} {below:>10} {'least':>6}")
        for kind, summary in kinds.items():
            print(f"{kind:<12} {uses[kind]:>6.1%} {summary.cells()}")
        ratios = sorted((r, m) for m in rows if (r := comparison.ratio(m.row.seconds)) is not None)
        print(f"{'all rows':<12} {'':>6} {Summary.of([ratio for ratio, _ in ratios]).cells()}")
        print(f"{'all uses':<12} {'':>6} {Summary.weighted(kinds, uses).cells()}")
        for kind in kinds:
            worst = [(ratio, m) for ratio, m in ratios if m.layer.kind == kind and ratio < 1][:_WORST]
            for ratio, (layer, strategy, row) in worst:
                times = ", ".join(
                    f"{name} {row.seconds[name] * 1e6:.4g}"
                    for name in (comparison.ours, *comparison.peers)
                    if name in row.seconds
                )
                print(f"  {ratio:4.2f} {layer.geometry} ({strategy}; µs: {times})")


def sums(rows: Sequence[Measured], libraries: Iterable[str]) -> dict[str, float | None]:
    """The seconds of a library for all uses of the layers; ``None`` if it does not compute all of them."""
    totals: dict[str, float | None] = {}
    for name in libraries:
        times = [row.seconds.get(name) for _, _, row in rows]
        uses = [layer.uses for layer, _, _ in rows]
        totals[name] = None if None in times else sum(map(mul, uses, times))
    return totals


def print_sums(name: str, rows: Sequence[Measured], libraries: Sequence[str]) -> None:
    """The sums of a network, and how they compare."""
    totals = sums(rows, libraries)
    count = sum(layer.uses for layer, _, _ in rows)
    print(f"\nthe {count} convolutions of {name}, ms")
    print(*(f"{library:>13}" for library in libraries))
    print(*(f"{'–' if total is None else f'{total * 1e3:.4g}':>13}" for total in totals.values()))
    known = {library: total for library, total in totals.items() if total is not None}
    for comparison in COMPARISONS:
        if (ratio := comparison.ratio(known)) is not None:
            print(f"{ratio:6.2f}  {comparison}")


def print_errors(rows: Sequence[Measured], names: Sequence[str]) -> None:
    """The largest errors by kind, in σ."""
    print("\nlargest error, σ of the output")
    print(f"{'kind':<12}", *(f"{name:>13}" for name in names))
    for kind in dict.fromkeys(layer.kind for layer, *_ in rows):
        errors = [row.errors for layer, _, row in rows if layer.kind == kind]
        most = {name: [e[name] for e in errors if name in e] for name in names}
        print(f"{kind:<12}", *(f"{max(found):>13.1e}" if found else f"{'–':>13}" for found in most.values()))


def as_json(rows: Iterable[Measured], options: argparse.Namespace, versions: dict[str, str]) -> str:
    """Everything that was measured, and the summaries."""
    rows = list(rows)
    return json.dumps(
        {
            "sample": options.sample,
            "seed": options.seed,
            "threads": options.threads,
            "isolated": options.isolate,
            "cpu_time": options.cpu_time,
            "network": options.network,
            "versions": versions,
            "comparisons": {
                str(comparison): {kind: vars(summary) for kind, summary in summaries(rows, comparison).items()}
                for comparison in COMPARISONS
            },
            "rows": [
                {
                    "kind": layer.kind,
                    "uses": layer.uses,
                    "descriptor": str(layer.geometry),
                    "strategy": strategy,
                    "seconds": row.seconds,
                    "errors": row.errors,
                    "refusals": row.refusals,
                    "faults": row.faults,
                }
                for layer, strategy, row in rows
            ],
        },
        indent=1,
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.census", description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=int, default=70, metavar="N", help="how many layers (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=fastconv.get_num_threads(), help="threads per library")
    parser.add_argument("--file", type=Path, metavar="CSV", help="layers with the columns kind,uses,models,descriptor")
    parser.add_argument("--isolate", action="store_true", help="one process per library, stopped while others run")
    parser.add_argument("--cpu-time", action="store_true", help="do not count waiting for a core; for one thread")
    parser.add_argument("--network", choices=NETWORKS, metavar="NAME", help=f"all layers of one: {', '.join(NETWORKS)}")
    parser.add_argument("--gflop", type=float, default=8.0, help="leave larger layers out (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything that was measured")
    options = parser.parse_args(arguments)
    try:
        if options.network is not None:
            if options.file is not None:
                raise ValueError("--network and --file: expected one of them")
            layers = layers_of_networks([options.network])
            options.sample, options.gflop = len(layers), math.inf
        else:
            layers = layers_of_networks() if options.file is None else layers_of_file(options.file)
        if options.sample < 1:
            raise ValueError(f"--sample {options.sample}: expected at least 1")
        if options.cpu_time and (options.threads > 1 or options.isolate):
            raise ValueError("--cpu-time: expected --threads 1 in one process")
    except (OSError, ValueError) as error:
        parser.error(str(error))
    small = [layer for layer in layers if layer.geometry.flops <= options.gflop * 1e9]
    drawn = sample(small, options.sample, options.seed)
    if not drawn:
        parser.error(f"none of {len(layers)} layers takes at most {options.gflop} GFLOP")
    planners = [library(options.threads) for library in _OURS]
    start = Isolated if options.isolate else type.__call__
    ours = [start(library, options.threads) for library in _OURS]
    peers, missing = available_peers(options.threads, start, _PEERS)
    print_facts(options.threads, "float32", [planners[0], *peers], missing)
    print(f"{len(drawn)} of {len(small)} layers, seed {options.seed}; {len(layers) - len(small)} are larger\n")
    libraries = [*ours, *peers]
    clock = time.process_time if options.cpu_time else time.perf_counter
    uses: Counter[str] = Counter()
    for layer in layers:
        uses[layer.kind] += layer.uses
    shares_of_uses = {kind: times / uses.total() for kind, times in uses.items()}
    width = max(len(str(layer.geometry)) for layer in drawn)
    print(f"{'kind':<10} {'layer':<{width}} {'strategy':<18}", *(f"{a.name:>13}" for a in libraries), "µs")
    rows = []
    for layer in drawn:
        problem = Problem("conv", layer.geometry)
        strategy = "/".join(dict.fromkeys(p.plan(problem).strategy.name for p in planners if p.refuse(problem) is None))
        row = measure(problem, libraries, truth=reference(problem), clock=clock)
        rows.append(Measured(layer, strategy, row))
        times = (f"{row.seconds[a.name] * 1e6:.4g}" if a.name in row.seconds else "–" for a in libraries)
        ratios = " ".join(f"{format_ratio(ratio) if (ratio := c.ratio(row.seconds)) else '–':>5}" for c in COMPARISONS)
        print(
            f"{layer.kind:<10} {layer.geometry!s:<{width}} {strategy:<18}",
            *(f"{time:>13}" for time in times),
            ratios,
            flush=True,
        )
    print_summaries(rows, shares_of_uses)
    if options.network is not None:
        print_sums(options.network, rows, [a.name for a in libraries])
    print_errors(rows, [a.name for a in libraries])
    broken = [
        (layer.geometry, planner.name, row.errors[planner.name])
        for layer, _, row in rows
        for planner in planners
        if row.errors.get(planner.name, 0.0) > planner.error(row.problem)
    ]
    for geometry, name, error in broken:
        print(f"BROKEN PROMISE: {name}: {error:.1e} σ on {geometry}")
    named = {str(layer.geometry): row for layer, _, row in rows}
    print_notes("does not take part", {name: row.refusals for name, row in named.items()})
    print_notes("WRONG", {name: row.faults for name, row in named.items()})
    if options.json is not None:
        versions = {a.name: a.version for a in libraries} | {"numpy": np.__version__}
        options.json.write_text(as_json(rows, options, versions))
    return 1 if broken or any(row.faults for _, _, row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
