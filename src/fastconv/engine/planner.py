"""Choosing a solver: the cheapest that can compute the problem within the tolerance and the workspace.

Kinds of problems whose solvers are not chosen by price have them in order of preference instead.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from heapq import heapify, heappop, heappush
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt

from fastconv.engine.arrays import type_name
from fastconv.engine.convolution import CONVOLUTION, SEPARABLE
from fastconv.engine.convolution.base import DEFAULT_MAX_WORKSPACE
from fastconv.engine.convolution.separable import FIND_SECONDS
from fastconv.engine.geometry import REMEMBERED, checked_bytes
from fastconv.engine.launch import workers_for
from fastconv.engine.plan import Candidate, Composite, Kind, Part, Plan, Solver, format_bytes
from fastconv.engine.timing import Contender, interleave
from fastconv.errors import UnsupportedError


def checked_strategy(strategy: str, kind: Kind = CONVOLUTION) -> str:
    """`strategy`, after checking that a solver of that kind has the name."""
    names = kind.strategies()
    if not isinstance(strategy, str) or (strategy != "auto" and strategy not in names):
        raise ValueError(f"strategy={strategy!r}: expected 'auto' or one of {', '.join(names)}")
    return strategy


def checked_tolerance(tolerance: float | None) -> float | None:
    """`tolerance`, after checking that it can bound an error; ``None`` leaves the bound to the function."""
    if tolerance is None:
        return None
    if not (isinstance(tolerance, Real) and tolerance >= 0):
        raise ValueError(f"tolerance={tolerance!r}: expected a number of at least 0, in σ of the output")
    return float(tolerance)


def plan(
    geometry: Any,
    dtype: npt.DTypeLike,
    *,
    kind: Kind = CONVOLUTION,
    strategy: str = "auto",
    tolerance: float | None = None,
    threads: int = 1,
    max_workspace: int = DEFAULT_MAX_WORKSPACE,
    mode: str = "estimate",
    prepared: bool = False,
) -> Plan:
    """The plan for `geometry`; equal arguments return the same plan.

    The price of a one-shot call includes the preparation of its weight, that of a `prepared` call does not.
    """
    if strategy != "auto":
        checked_strategy(strategy, kind)
    if mode not in ("estimate", "measure"):
        raise ValueError(f"mode={mode!r}: expected 'estimate' or 'measure'")
    limit = checked_bytes("max_workspace", max_workspace)
    return _plan(
        kind, geometry, np.dtype(dtype), strategy, checked_tolerance(tolerance), threads, limit, mode, prepared
    )


def forget_plans() -> None:
    """Plan anew, as there are other strategies."""
    _plan.cache_clear()


def separable_terms(plan: Plan) -> int | None:
    """The most outer products in a one-channel kernel for which `separable` costs less than `plan`.

    0 means a single, exact one, which needs no tolerance; ``None`` that not even this costs less.
    """
    g, dtype = plan.geometry, np.dtype(plan.dtype)
    if SEPARABLE.refuse(g, dtype) is not None or min(g.kernel) == 1:
        return None
    # Finding the factors costs the same whether there are few enough or not.
    if SEPARABLE.cost_of_terms(g, dtype, 1) + FIND_SECONDS >= plan.seconds:
        return None
    terms, budget = 0, plan.seconds - SEPARABLE.prepare_cost(g, dtype)
    while (
        terms + 1 < min(g.kernel)
        and SEPARABLE.cost_of_terms(g, dtype, terms + 1) < budget
        and SEPARABLE.error_of_terms(g, dtype, terms + 1) <= plan.bound
    ):
        terms += 1
    return terms


@lru_cache(maxsize=REMEMBERED)
def _plan(*problem: Any) -> Plan:
    """What `plan` remembers."""
    return _Problem(*problem).plan()


@dataclass(eq=False)
class _Problem:
    """A problem with the options of its plan, and what has been found out about its solvers, by name."""

    kind: Kind
    geometry: Any
    dtype: np.dtype
    strategy: str
    tolerance: float | None
    threads: int
    max_workspace: int
    mode: str
    prepared: bool
    limit: float | None = field(init=False)
    """The tolerance, or the one that the kind has by default."""
    part_lists: dict[str, tuple[Part, ...]] = field(init=False, default_factory=dict)
    part_errors: list[UnsupportedError] = field(init=False, default_factory=list)
    prices: dict[str, float] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        given = self.tolerance
        self.limit = self.kind.default_tolerance(self.geometry, self.dtype) if given is None else given

    def plan(self) -> Plan:
        """Plan anew.

        A new extent should cost little: only solvers that qualify are priced, and only the cheapest of those are asked
        for their workspace, which requires their tiling. The report asks for the rest.
        """
        measured = None
        if self.mode == "measure":
            image = self._of_one_image()
            images = 1 if image is self else self.geometry.n
            taken = image._measured(s for s in self.kind.solvers if self._qualifies(s) and self._fits(s))
            measured = {name: seconds * images for name, seconds in taken.items()}
            able = [s for s in self.kind.solvers if s.name in measured]
            chosen = min(able, key=lambda s: measured[s.name], default=None)
        elif self.kind.by_price:
            solvers = [s for s in self.kind.solvers if self._qualifies(s)]
            chosen = next(filter(self._fits, self._of_one_image()._by_price(solvers)), None)
        else:
            wanted = (s for s in self.kind.solvers if self._declined(s) is None and self._qualifies(s))
            chosen = next(filter(self._fits, wanted), None)
        if chosen is None:
            raise self._error(self._candidates(measured))
        seconds = self._price(chosen) if measured is None else measured[chosen.name]
        return self._planned_by(chosen, seconds, partial(self._candidates, measured))

    def _planned_by(self, solver: Solver, seconds: float, candidates: Callable[[], tuple[Candidate, ...]]) -> Plan:
        return Plan(
            kind=self.kind,
            geometry=self.geometry,
            dtype=type_name(self.dtype),
            strategy=solver,
            threads=workers_for(self._price(solver), self.threads),
            parts=self._parts(solver),
            tolerance=self.limit,
            max_workspace=self.max_workspace,
            mode=self.mode,
            request=self.strategy,
            prepared=self.prepared,
            seconds=seconds,
            list_candidates=candidates,
        )

    def _of_one_image(self) -> _Problem:
        """The problem for one image, by which solvers are priced and measured."""
        geometry = self.kind.one_image(self.geometry)
        return self if geometry is self.geometry else replace(self, geometry=geometry)

    def _part(
        self,
        whole: Composite,
        geometry: Any,
        kind: Kind | None = None,
        dtype: np.dtype | None = None,
        prepared: bool = False,
    ) -> Plan:
        """The plan of a part of the solver `whole` (see `Planned`)."""
        kind = kind or whole.part_kind or self.kind
        # A report plans the parts of solvers that were not named, too.
        passed_on = self.strategy not in ("auto", whole.name) and self.strategy in kind.strategies()
        return plan(
            geometry,
            self.dtype if dtype is None else dtype,
            kind=kind,
            strategy=self.strategy if passed_on else "auto",
            tolerance=self.tolerance,
            threads=self.threads,
            max_workspace=self.max_workspace,
            mode=self.mode,
            prepared=prepared,
        )

    def _parts(self, solver: Solver) -> tuple[Part, ...]:
        """The parts of a composite solver; they are planned once."""
        if not isinstance(solver, Composite):
            return ()
        parts = self.part_lists.get(solver.name)
        if parts is None:
            planned = partial(self._part, solver)
            parts = self.part_lists[solver.name] = solver.parts(self.geometry, self.dtype, planned)
        return parts

    def _has_parts(self, solver: Solver) -> bool:
        """Whether the parts of a solver can be computed as the caller demands."""
        try:
            self._parts(solver)
        except UnsupportedError as error:
            self.part_errors.append(error)
            return False
        return True

    def _price(self, solver: Solver) -> float:
        """Estimated seconds per call on one thread."""
        seconds = self.prices.get(solver.name)
        if seconds is None:
            seconds = solver.cost(self.geometry, self.dtype)
            seconds += self.kind.overhead(solver, self.geometry, self.dtype)[0]
            if not self.prepared:
                seconds += solver.prepare_cost(self.geometry, self.dtype)
            for part in self._parts(solver):
                seconds += part.seconds
            self.prices[solver.name] = seconds
        return seconds

    def _workspace_limit(self, solver: Solver) -> int:
        """Bytes of scratch memory that a solver may use; of composite ones, only the parts are limited."""
        limited = self.kind.limits_workspace and not isinstance(solver, Composite)
        return self.max_workspace if limited else sys.maxsize

    def _fits(self, solver: Solver) -> bool:
        limit = self._workspace_limit(solver)
        return limit == sys.maxsize or solver.workspace_bytes(self.geometry, self.dtype, self.threads, limit) <= limit

    def _names(self, solver: Solver) -> bool:
        """Whether the caller named this solver, or one for its parts."""
        if self.strategy == solver.name:
            return True
        return isinstance(solver, Composite) and self.strategy in (solver.part_kind or self.kind).strategies()

    def _qualifies(self, solver: Solver) -> bool:
        """Whether `solver` can compute the problem accurately enough, or is named; the cheapest test comes first."""
        if self.strategy != "auto":
            accepts = self._names(solver) and solver.refuse(self.geometry, self.dtype) is None
            return accepts and self._has_parts(solver)
        componentwise, limit = solver.componentwise(self.geometry), self.limit
        if limit == 0 and not componentwise:
            return False
        return solver.refuse(self.geometry, self.dtype) is None and (
            componentwise or limit is None or solver.error(self.geometry, self.dtype) <= limit
        )

    def _declined(self, solver: Solver) -> str | None:
        """Why `solver` leaves the problem to those after it; a caller who names one, or measures, wants to know."""
        if self.strategy != "auto" or self.mode == "measure":
            return None
        return self.kind.declined(solver, self.geometry, self.dtype)

    def _by_price(self, solvers: list[Solver]) -> Iterator[Solver]:
        """Solvers, cheapest first, the earlier first among equals; none is priced if its lower bound excludes it."""
        if len(solvers) == 1:
            yield solvers[0]
            return
        queue = [(s.least_cost(self.geometry, self.dtype), False, rank) for rank, s in enumerate(solvers)]
        heapify(queue)
        while queue:
            _, is_priced, rank = heappop(queue)
            if is_priced:
                yield solvers[rank]
            else:
                heappush(queue, (self._price(solvers[rank]), True, rank))

    def _measured(self, solvers: Iterable[Solver]) -> dict[str, float]:
        """Measured seconds per warm call, of solvers whose estimate is within 20 times the best one."""
        plans = [self._planned_by(s, self._price(s), tuple) for s in solvers]
        least = min((plan.seconds for plan in plans), default=0.0)
        contenders = []
        for plan in plans:
            if plan.seconds <= 20 * least:
                operands = self.kind.operands(self.geometry, self.dtype, np.random.default_rng(0))
                contenders.append(Contender(plan.strategy.name, self.kind.call(plan, operands)))
        interleave(contenders, 3)
        return {contender.name: contender.seconds for contender in contenders}

    def _candidates(self, measured: dict[str, float] | None) -> tuple[Candidate, ...]:
        """All solvers, with their estimated seconds, or the `measured` ones of those that ran."""
        listed = []
        for s in self.kind.solvers:
            named = self.strategy != "auto" and self._names(s)
            limit = self._workspace_limit(s)
            found = candidate(s, self.geometry, self.dtype, self.limit, self.threads, limit, named, self.prepared)
            if found.seconds is not None:
                seconds, size = self.kind.overhead(s, self.geometry, self.dtype)
                workspace = (found.workspace_bytes or 0) + size
                found = replace(found, seconds=found.seconds + seconds, workspace_bytes=workspace)
            if isinstance(s, Composite) and found.refusal is None:
                if self._has_parts(s):
                    found = self._with_parts(found, self._parts(s))
                else:
                    found = Candidate(s.name, str(self.part_errors[-1]))
            if found.refusal is None:
                found = replace(found, refusal=self._declined(s))
            if measured is not None:
                found = replace(found, seconds=measured.get(s.name))
            listed.append(found)
        return tuple(listed)

    @staticmethod
    def _with_parts(found: Candidate, parts: tuple[Part, ...]) -> Candidate:
        """What is known of a composite solver and of its parts."""
        plans = [part.plan for part in parts]
        return replace(
            found,
            seconds=None if found.seconds is None else found.seconds + sum(part.seconds for part in parts),
            workspace_bytes=(found.workspace_bytes or 0) + max((plan.workspace_bytes for plan in plans), default=0),
            error=max((plan.error for plan in plans), default=found.error),
            componentwise=all(plan.componentwise for plan in plans),
            local=all(plan.local for plan in plans),
        )

    def _error(self, candidates: tuple[Candidate, ...]) -> UnsupportedError:
        """Why no solver, or not the named one, can compute the problem."""
        refusals = {c.name: c.refusal for c in candidates}
        if self.strategy in refusals:
            reason = refusals[self.strategy]
            return UnsupportedError(
                f"strategy={self.strategy!r} cannot compute {self.geometry} in {self.dtype}: {reason}"
            )
        if self.part_errors:  # it was named for parts
            return self.part_errors[0]
        reasons = "; ".join(f"{name}: {refusal}" for name, refusal in refusals.items())
        return UnsupportedError(f"no strategy computes {self.geometry} in {self.dtype}: {reasons}")


def candidate(
    solver: Solver,
    geometry: Any,
    dtype: np.dtype,
    tolerance: float | None,
    threads: int,
    max_workspace: int,
    forced: bool,
    prepared: bool = False,
) -> Candidate:
    """What speaks against `solver`, or its estimated price; `tolerance` does not bind one that is `forced`."""
    refusal = solver.refuse(geometry, dtype)
    if refusal is not None:
        return Candidate(solver.name, refusal)
    error, componentwise, local = solver.error(geometry, dtype), solver.componentwise(geometry), solver.local
    # A caller who names a strategy accepts its error; scratch memory is still limited.
    bound = None if forced or componentwise else tolerance
    if bound is not None and (bound == 0 or error > bound):
        refusal = f"expected error above the tolerance of {bound:.1e} σ"
        if bound == 0:  # no extent will change that, and pricing it would only slow down the first call
            return Candidate(solver.name, refusal, None, None, error, componentwise, local)
    workspace = solver.workspace_bytes(geometry, dtype, threads, max_workspace)
    if workspace > max_workspace:
        refusal = f"needs {format_bytes(workspace)} of workspace, the limit is {format_bytes(max_workspace)}"
    seconds = solver.cost(geometry, dtype) + (0.0 if prepared else solver.prepare_cost(geometry, dtype))
    return Candidate(solver.name, refusal, seconds, workspace, error, componentwise, local)
