"""A plan: which solver computes a problem, with what parts, and why. Its repr is the report.

Every *kind* of problem, a convolution, a gradient or pooling, has an ordered list of *solvers*. A solver tells whether
it can compute a problem (`refuse`), and whether it should (`cost`, `error`, `workspace_bytes`). A solver that leaves
work to others is `Composite`: its plan has parts, which are plans themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np

from fastconv.engine.epilogue import PLAIN, Epilogue
from fastconv.engine.replay import note


@dataclass(frozen=True, slots=True)
class Candidate:
    """What the planner knew of one strategy: a reason to leave it out, or its price.

    Attributes
    ----------
    name : str
    refusal : str or None
        Why it was left out.
    seconds : float or None
        Estimated or measured time of a call; ``None`` if the strategy cannot, or is not accurate enough.
    workspace_bytes : int or None
        Scratch memory, likewise.
    error : float or None
        Expected maximum error in standard deviations σ of the output, for independent data of mean 0 and equal
        variance. Data with a mean, or of uneven magnitude, err in proportion to the largest root of the sum of the
        squares of an output's products, which is σ there; ``None`` if the strategy cannot.
    componentwise : bool
        Whether each output errs by a few roundings of the sum of its own products' magnitudes.
    local : bool
        Whether NaN and infinity reach only the outputs that see them.
    """

    name: str
    refusal: str | None
    seconds: float | None = None
    workspace_bytes: int | None = None
    error: float | None = None
    componentwise: bool = False
    local: bool = False


class Solver(Protocol):
    """One way to compute the problems of a kind, which a geometry and a type describe."""

    name: str
    local: bool
    """Whether NaN and infinity reach only the outputs that see them."""

    def componentwise(self, geometry: Any) -> bool:
        """Whether each output errs by a few roundings of the sum of its own products' magnitudes."""

    def refuse(self, geometry: Any, dtype: np.dtype) -> str | None:
        """Why the problem cannot be computed this way, or ``None``."""

    def cost(self, geometry: Any, dtype: np.dtype) -> float:
        """Estimated seconds on one thread."""

    def least_cost(self, geometry: Any, dtype: np.dtype) -> float:
        """A lower bound of `cost` that is quicker to compute; 0 if `cost` itself is quick."""

    def prepare_cost(self, geometry: Any, dtype: np.dtype) -> float:
        """Estimated seconds of work that a prepared call does not repeat."""

    def error(self, geometry: Any, dtype: np.dtype) -> float:
        """Expected maximum error for normal data, in standard deviations of the output."""

    def workspace_bytes(self, geometry: Any, dtype: np.dtype, threads: int, max_workspace: int) -> int:
        """Scratch bytes of a call that tries to stay within `max_workspace`."""


class SumsDirectly:
    """Mixin for solvers whose every output is rounded as a plain sum is, with costs that are quick to compute."""

    local = True

    def componentwise(self, geometry: Any) -> bool:
        return True

    def least_cost(self, geometry: Any, dtype: np.dtype) -> float:
        return 0.0

    def prepare_cost(self, geometry: Any, dtype: np.dtype) -> float:
        return 0.0


class Part(NamedTuple):
    """A part of a plan, and what it computes."""

    label: str
    """What it computes; empty if it is the whole problem in other words."""
    plan: Plan
    times: int = 1
    """How often a call of the whole runs it."""
    preparations: int = 1
    """How often a call of the whole prepares a weight for it."""

    @property
    def seconds(self) -> float:
        """The time of all its runs."""
        plan = self.plan
        if self.times == self.preparations:
            return self.times * plan.seconds
        preparation = 0.0 if plan.prepared else plan.strategy.prepare_cost(plan.geometry, np.dtype(plan.dtype))
        return self.times * plan.seconds - (self.times - self.preparations) * min(preparation, plan.seconds)


class Planned(Protocol):
    """The planner, as a composite solver sees it: under the options of the whole, it plans a part."""

    def __call__(
        self, geometry: Any, kind: Kind | None = None, dtype: np.dtype | None = None, prepared: bool = False
    ) -> Plan:
        """The plan of a problem, by default of the solver's `part_kind` and in the type of the whole.

        `prepared` if its weight is used many times.
        """


class Composite(SumsDirectly):
    """A solver that leaves work to parts; its price is that of its parts and its own `cost`, and it errs as they do.

    A caller who names it leaves open how its parts are computed. Any other name is passed on to its parts, and the
    solver is refused if they cannot be computed that way. The bound on scratch memory holds for each of its parts, not
    for what lies between them.
    """

    name: str
    part_kind: Kind | None = None
    """The kind of its parts, whose solvers a caller may name; ``None`` if that is the kind of the whole."""

    def parts(self, geometry: Any, dtype: np.dtype, planned: Planned) -> tuple[Part, ...]:
        """The parts of a problem."""
        raise NotImplementedError

    def error(self, geometry: Any, dtype: np.dtype) -> float:
        """That of the solver without its parts."""
        return 0.0


class Kind:
    """A kind of problem: its solvers, in order, and how to make and compute problems of it."""

    name: str
    """As `fastconv.plan` calls it."""
    title: str
    """As reports call it."""
    solvers: Sequence[Solver]
    by_price: ClassVar[bool] = True
    """Whether estimates choose the cheapest solver; otherwise the first one that is not `declined`."""
    limits_workspace: ClassVar[bool] = True
    """Whether a solver is refused for its scratch memory; not where there is no other way."""

    def describe(self, geometry: Any) -> str:
        """The problem, as reports name it."""
        return f"{self.title} {geometry}"

    def parse(self, descriptor: str) -> Any:
        """The geometry that a descriptor names."""
        raise NotImplementedError

    def default_tolerance(self, geometry: Any, dtype: np.dtype) -> float | None:
        """The error that a call allows by default, in σ of the output; ``None`` if that is for its parts to say."""
        return None

    def strategies(self) -> tuple[str, ...]:
        """The names that a caller may ask for: those of the solvers, and of the strategies of their parts."""
        names = [s.name for s in self.solvers]
        kinds = [s.part_kind for s in self.solvers if isinstance(s, Composite) and s.part_kind is not None]
        return tuple(dict.fromkeys([*names, *(name for kind in kinds for name in kind.strategies())]))

    def alternatives(self, plan: Plan) -> tuple[Part, ...]:
        """What a call runs instead if its values allow it, which no plan knows; reports list it after the parts."""
        return ()

    def declined(self, solver: Solver, geometry: Any, dtype: np.dtype) -> str | None:
        """Why a problem that `solver` could compute is left to those after it, unless solvers are chosen by price."""
        return None

    def one_image(self, geometry: Any) -> Any:
        """The problem for one image, by which solvers are priced: any batch then gets the bits of its images."""
        return geometry if geometry.n <= 1 else replace(geometry, n=1)

    def overhead(self, solver: Any, geometry: Any, dtype: np.dtype) -> tuple[float, int]:
        """Estimated seconds and scratch bytes of what has to be done around a solver."""
        return 0.0, 0

    def operations(self, geometry: Any) -> int | None:
        """Multiplications and additions of the direct algorithm; ``None`` if a share of the peak would say nothing."""
        return None

    def shapes(self, geometry: Any) -> tuple[tuple[int, ...], ...]:
        """The shapes of the operands and, last, of the output."""
        raise NotImplementedError

    def operands(self, geometry: Any, dtype: np.dtype, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Random operands: standard normal deviates, or small integers."""
        *shapes, _ = self.shapes(geometry)
        if dtype.kind in "fc":
            return tuple(rng.standard_normal(shape).astype(dtype) for shape in shapes)
        return tuple(rng.integers(0, 9, shape).astype(dtype) for shape in shapes)

    def run(self, plan: Plan, x: np.ndarray, weight: np.ndarray, epilogue: Epilogue, out: np.ndarray) -> None:
        """Compute a problem of two operands, in the `shapes` of its geometry (see `Plan.run_once`)."""
        plan.strategy.run(plan, x, weight, epilogue, out)

    def call(self, plan: Plan, operands: tuple[np.ndarray, ...]) -> Callable[[], np.ndarray]:
        """A function that computes the problem of `plan` by it, and returns the output, the same array every time."""
        x, weight = operands
        out = np.empty(self.shapes(plan.geometry)[-1], plan.dtype)

        def call() -> np.ndarray:
            plan.run_once(x, weight, PLAIN, out)
            return out

        return call


@dataclass(frozen=True, repr=False)
class Plan:
    """How one problem is computed; immutable, shareable between threads.

    Attributes
    ----------
    kind : Kind
        What is computed.
    geometry : ConvGeometry, PoolGeometry or another
        The problem.
    dtype : str
        Type of the operands and the output.
    strategy : Solver
        The one that was chosen.
    threads : int
        At most as many run.
    parts : tuple of Part
        The plans of what the solver leaves to others.
    tolerance : float or None
        Bound on the expected maximum error, in standard deviations of the output; it does not bind solvers that are
        componentwise accurate, and 0 admits only these. With ``None``, each part has its own.
    max_workspace : int
        Bound on scratch memory, in bytes; of a composite solver, on that of each part. Only kinds that limit it do.
    mode : {"estimate", "measure"}
        Whether seconds are estimated or measured, here and in `candidates`.
    request : str
        The strategy that the caller named, or "auto".
    prepared : bool
        Whether calls bring a weight that was prepared before, so that its preparation is not in their price.
    seconds : float
        Estimated or measured time of a call.
    list_candidates : callable
        Makes `candidates`.
    """

    kind: Kind
    geometry: Any
    dtype: str
    strategy: Any
    threads: int
    parts: tuple[Part, ...]
    tolerance: float | None
    max_workspace: int
    mode: str
    request: str
    prepared: bool
    seconds: float
    list_candidates: Callable[[], tuple[Candidate, ...]] = field(compare=False)

    @cached_property
    def candidates(self) -> tuple[Candidate, ...]:
        """Every solver, with its price or the reason why it was left out; few calls ask for it."""
        return self.list_candidates()

    @property
    def componentwise(self) -> bool:
        """Whether each output errs by a few roundings of the sum of its own products' magnitudes."""
        return bool(self.strategy.componentwise(self.geometry)) and all(part.plan.componentwise for part in self.parts)

    @property
    def local(self) -> bool:
        """Whether NaN and infinity reach only the outputs that see them."""
        return self.strategy.local and all(part.plan.local for part in self.parts)

    @property
    def error(self) -> float:
        """Expected maximum error, in standard deviations σ of the output."""
        own: float = self.strategy.error(self.geometry, np.dtype(self.dtype))
        return max([own, *(part.plan.error for part in self.parts)])

    @property
    def bound(self) -> float:
        """The tolerance, or if that is left to the parts, the largest of theirs."""
        return max((part.plan.bound for part in self.parts), default=0.0) if self.tolerance is None else self.tolerance

    @property
    def workspace_bytes(self) -> int:
        """Scratch bytes of a call: those of the solver, and the most that one of its parts takes at a time."""
        limits = np.dtype(self.dtype), self.threads, self.max_workspace
        own: int = self.strategy.workspace_bytes(self.geometry, *limits)
        _, around = self.kind.overhead(self.strategy, self.geometry, limits[0])
        return own + around + max((part.plan.workspace_bytes for part in self.parts), default=0)

    def note(self, by: str = "") -> None:
        """Have the line that `FASTCONV_VERBOSE` asks for say that the call under way is computed by this plan.

        `by` names what computes it in place of the solver, if the values of its operands suggested that.
        """
        solver = by or self.strategy.name
        note(self.kind.name, " ", self.geometry, ", ", self.dtype, ", by ", solver, threads=self.threads)

    def run_once(self, x: np.ndarray, weight: np.ndarray, epilogue: Epilogue, out: np.ndarray, **options: Any) -> None:
        """Compute a convolution, or a gradient of one, from its two operands; a weight's gradient has no epilogue.

        `options` are those of the kind's `run`. Arrays may lack the batch axis, and the height of a 1-D problem.
        """
        axes = self.geometry.ndim + 2
        if weight.ndim != axes or x.ndim != axes or out.ndim != axes:
            shapes = self.kind.shapes(self.geometry)
            x, weight, out = x.reshape(shapes[0]), weight.reshape(shapes[1]), out.reshape(shapes[2])
        self.note()
        self.kind.run(self, x, weight, epilogue, out, **options)

    def __repr__(self) -> str:
        accuracy = "componentwise" if self.componentwise else f"expected error at most {self.bound:.1e} σ"
        word = "estimated" if self.mode == "estimate" else "measured"
        limit = f", workspace at most {format_bytes(self.max_workspace)}" if self.kind.limits_workspace else ""
        in_order = not self.kind.by_price and self.mode == "estimate" and self.request == "auto"
        first = ", the first that is not left out," if in_order else ""
        width = max(12, *(len(c.name) for c in self.candidates))
        lines = [
            f"Plan for {self.kind.describe(self.geometry)}, {self.dtype}{', weight prepared' if self.prepared else ''}",
            f"  {self._solvers()}{first} on {_threads(self.threads)}, accuracy: {accuracy}{limit}",
            f"  {'strategy':<{width}}{word:>9}  {'workspace':>9}  {'error/σ':>7}  {'accuracy':<13}  {'NaN':<7}",
        ]
        for c in self.candidates:
            mark = "*" if c.name == self.strategy.name else " "
            facts = ""
            if c.error is not None:
                seconds = "" if c.seconds is None else format_seconds(c.seconds)
                workspace = "" if c.workspace_bytes is None else format_bytes(c.workspace_bytes)
                accuracy = "componentwise" if c.componentwise else "normwise"
                nan = "stays" if c.local else "spreads"
                facts = f"{seconds:>9}  {workspace:>9}  {c.error:7.1e}  {accuracy:<13}  {nan:<7}"
            reason = "" if c.refusal is None else f"  {c.refusal}"
            lines.append(f"{mark} {c.name:<{width}}{facts}{reason}")
        return "\n".join(line.rstrip() for line in lines + self._tree("  "))

    def _tree(self, indent: str) -> list[str]:
        """Two lines for each part, and below them those of its own parts."""
        lines = []
        parts = self._branches()
        for number, (label, plan, *_) in enumerate(parts, 1):
            branch, rest = ("└─", "   ") if number == len(parts) else ("├─", "│  ")
            facts = f"{plan._solvers()} on {_threads(plan.threads)}, {format_seconds(plan.seconds)}"
            dtype = "" if plan.dtype == self.dtype else f", {plan.dtype}"
            lines.append(f"{indent}{branch} {label}: {facts}")
            lines.append(f"{indent}{rest}{'│  ' if plan._branches() else '   '}{plan.geometry}{dtype}")
            lines += plan._tree(indent + rest)
        return lines

    def _whole(self) -> Plan | None:
        """The plan of a part without a label, which is the whole problem in other words."""
        return self.parts[0].plan if len(self.parts) == 1 and not self.parts[0].label else None

    def _branches(self) -> tuple[Part, ...]:
        """The parts with a label, and what values may replace."""
        whole = self._whole()
        return (*(self.parts if whole is None else whole._branches()), *self.kind.alternatives(self))

    def _solvers(self) -> str:
        """The names of the solver, and of the one that solves the problem for it."""
        whole, name = self._whole(), str(self.strategy.name)
        return name if whole is None else f"{name} by {whole._solvers()}"


def _threads(count: int) -> str:
    return f"{count} thread{'s' if count > 1 else ''}"


def format_bytes(count: int) -> str:
    """``1.5 MiB``"""
    value, units = float(count), ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]
    while value >= 1024 and len(units) > 1:
        value /= 1024
        units.pop(0)
    return f"{value:.0f} {units[0]}" if value >= 100 or units[0] == "B" else f"{value:.1f} {units[0]}"


def format_seconds(seconds: float) -> str:
    """``1.5 ms``"""
    for unit, scale in (("µs", 1e-6), ("ms", 1e-3), ("s", 1.0)):
        value = seconds / scale
        if value < 999.5:  # three digits at most, once rounded
            return f"{value:.3g} {unit}"
    return f"{value:,.0f} s"


def format_percent(share: float) -> str:
    """``54.8 %``, ``155 %``"""
    percent = 100 * share
    return f"{percent:.0f} %" if percent >= 99.95 else f"{percent:.1f} %"
