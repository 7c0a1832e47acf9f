"""Choosing a solver: the cheapest that can compute the problem within the tolerance and the workspace."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache, partial
from heapq import heapify, heappop, heappush
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt

from fastconv.engine.convolution import BY_NAME, CONVOLUTION
from fastconv.engine.convolution.base import DEFAULT_MAX_WORKSPACE
from fastconv.engine.convolution.separable import FIND_SECONDS
from fastconv.engine.geometry import REMEMBERED, checked_bytes
from fastconv.engine.launch import workers_for
from fastconv.engine.plan import Candidate, Kind, Plan, Solver, format_bytes
from fastconv.engine.timing import Contender, interleave
from fastconv.errors import UnsupportedError


def checked_strategy(strategy: str, kind: Kind = CONVOLUTION) -> str:
    """`strategy`, after checking that a solver of that kind has the name."""
    names = [solver.name for solver in kind.solvers]
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
    strategy, g, dtype = BY_NAME["separable"], plan.geometry, np.dtype(plan.dtype)
    if strategy.refuse(g, dtype) is not None or min(g.kernel) == 1:
        return None
    # Finding the factors costs the same whether there are few enough or not.
    if strategy.cost_of_terms(g, dtype, 1) + FIND_SECONDS >= plan.seconds:
        return None
    terms, budget = 0, plan.seconds - strategy.prepare_cost(g, dtype)
    while (
        terms + 1 < min(g.kernel)
        and strategy.cost_of_terms(g, dtype, terms + 1) < budget
        and strategy.error_of_terms(g, dtype, terms + 1) <= plan.tolerance
    ):
        terms += 1
    return terms


@lru_cache(maxsize=REMEMBERED)
def _plan(
    kind: Kind,
    geometry: Any,
    dtype: np.dtype,
    strategy: str,
    tolerance: float | None,
    threads: int,
    max_workspace: int,
    mode: str,
    prepared: bool,
) -> Plan:
    """What `plan` remembers.

    A new extent should cost little: only solvers that qualify are priced, and only the cheapest of those are asked
    for their workspace, which requires their tiling. The report asks for the rest.
    """
    limit = kind.default_tolerance(geometry, dtype) if tolerance is None else tolerance
    listed = partial(_candidates, kind, geometry, dtype, limit, threads, max_workspace, strategy, prepared)
    image = kind.one_image(geometry)
    if strategy == "auto":
        qualified = [s for s in kind.solvers if _qualifies(s, geometry, dtype, limit)]
    else:
        qualified = [s for s in kind.solvers if s.name == strategy and s.refuse(geometry, dtype) is None]

    def fits(s: Solver) -> bool:
        return s.workspace_bytes(geometry, dtype, threads, max_workspace) <= max_workspace

    def made(s: Solver, problem: Any, seconds: float) -> Plan:
        return Plan(
            kind=kind,
            geometry=problem,
            dtype=dtype.name,
            strategy=s,
            threads=workers_for(_estimate(s, problem, dtype, prepared), threads),
            tolerance=limit,
            max_workspace=max_workspace,
            mode=mode,
            prepared=prepared,
            seconds=seconds,
            list_candidates=listed,
        )

    chosen, seconds = None, 0.0
    if mode == "measure":
        price = _measure([made(s, image, _estimate(s, image, dtype, prepared)) for s in qualified if fits(s)])
        images = geometry.n if image is not geometry else 1
        measured = {name: taken * images for name, taken in price.items()}
        listed = partial(listed, measured=measured)
        if price:
            chosen = next(s for s in qualified if s.name == min(price, key=price.__getitem__))
            seconds = measured[chosen.name]
    else:
        chosen = next(filter(fits, _by_price(qualified, image, dtype, prepared)), None)
        if chosen is not None:
            seconds = _estimate(chosen, geometry, dtype, prepared)
    if chosen is None:
        raise UnsupportedError(_reasons(geometry, dtype, strategy, listed()))
    return made(chosen, geometry, seconds)


def _qualifies(strategy: Solver, geometry: Any, dtype: np.dtype, tolerance: float) -> bool:
    """Whether `strategy` can compute the problem accurately enough; the cheapest test comes first."""
    componentwise = strategy.componentwise(geometry)
    if tolerance == 0 and not componentwise:
        return False
    return strategy.refuse(geometry, dtype) is None and (componentwise or strategy.error(geometry, dtype) <= tolerance)


def _by_price(strategies: list[Solver], geometry: Any, dtype: np.dtype, prepared: bool) -> Iterator[Solver]:
    """Solvers, cheapest first, the earlier first among equals; none is priced if its lower bound excludes it."""
    queue = [(s.least_cost(geometry, dtype), False, rank) for rank, s in enumerate(strategies)]
    heapify(queue)
    while queue:
        _, is_priced, rank = heappop(queue)
        if is_priced:
            yield strategies[rank]
        else:
            heappush(queue, (_estimate(strategies[rank], geometry, dtype, prepared), True, rank))


def _reasons(geometry: Any, dtype: np.dtype, strategy: str, candidates: tuple[Candidate, ...]) -> str:
    """Why no solver, or not the named one, can compute the problem."""
    refusals = {c.name: c.refusal for c in candidates}
    if strategy != "auto":
        return f"strategy={strategy!r} cannot compute {geometry} in {dtype}: {refusals[strategy]}"
    reasons = "; ".join(f"{name}: {refusal}" for name, refusal in refusals.items())
    return f"no strategy computes {geometry} in {dtype}: {reasons}"


def _candidates(
    kind: Kind,
    geometry: Any,
    dtype: np.dtype,
    tolerance: float,
    threads: int,
    max_workspace: int,
    strategy: str,
    prepared: bool,
    measured: dict[str, float] | None = None,
) -> tuple[Candidate, ...]:
    """All solvers, with their estimated seconds, or the `measured` ones."""
    listed = [
        candidate(s, geometry, dtype, tolerance, threads, max_workspace, s.name == strategy, prepared)
        for s in kind.solvers
    ]
    if measured is not None:
        able = {strategy} if strategy != "auto" else {c.name for c in listed if c.refusal is None}
        listed = [replace(c, seconds=measured.get(c.name)) if c.name in able else c for c in listed]
    return tuple(listed)


def candidate(
    strategy: Solver,
    geometry: Any,
    dtype: np.dtype,
    tolerance: float,
    threads: int,
    max_workspace: int,
    forced: bool,
    prepared: bool = False,
) -> Candidate:
    """What speaks against `strategy`, or its estimated price; `tolerance` does not bind one that is `forced`."""
    refusal = strategy.refuse(geometry, dtype)
    if refusal is not None:
        return Candidate(strategy.name, refusal)
    facts = {
        "error": strategy.error(geometry, dtype),
        "componentwise": strategy.componentwise(geometry),
        "local": strategy.local,
    }
    # A caller who names a strategy accepts its error; scratch memory is still limited.
    if not forced and not facts["componentwise"] and (tolerance == 0 or facts["error"] > tolerance):
        refusal = f"expected error above the tolerance of {tolerance:.1e} σ"
        if tolerance == 0:  # no extent will change that, and pricing it would only slow down the first call
            return Candidate(strategy.name, refusal, **facts)
    workspace = strategy.workspace_bytes(geometry, dtype, threads, max_workspace)
    if workspace > max_workspace:
        refusal = f"needs {format_bytes(workspace)} of workspace, the limit is {format_bytes(max_workspace)}"
    return Candidate(strategy.name, refusal, _estimate(strategy, geometry, dtype, prepared), workspace, **facts)


def _estimate(strategy: Solver, geometry: Any, dtype: np.dtype, prepared: bool) -> float:
    """Estimated seconds per call on one thread."""
    return strategy.cost(geometry, dtype) + (0.0 if prepared else strategy.prepare_cost(geometry, dtype))


def _measure(plans: list[Plan]) -> dict[str, float]:
    """Measured seconds per warm call, for plans whose estimate is within 20 times the best one, by their solver."""
    least = min((plan.seconds for plan in plans), default=0.0)
    contenders = []
    for plan in plans:
        if plan.seconds <= 20 * least:
            operands = plan.kind.operands(plan.geometry, np.dtype(plan.dtype), np.random.default_rng(0))
            contenders.append(Contender(plan.strategy.name, plan.kind.call(plan, operands)))
    interleave(contenders, 3)
    return {contender.name: contender.seconds for contender in contenders}
