"""Choosing a strategy: the cheapest that can compute the problem within the tolerance and the workspace."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache, partial
from heapq import heapify, heappop, heappush
from numbers import Real

import numpy as np
import numpy.typing as npt

from fastconv.engine.convolution import BY_NAME, STRATEGIES
from fastconv.engine.convolution.base import DEFAULT_MAX_WORKSPACE, Strategy, sum_error
from fastconv.engine.convolution.separable import FIND_SECONDS
from fastconv.engine.epilogue import Epilogue
from fastconv.engine.geometry import REMEMBERED, ConvGeometry, checked_bytes
from fastconv.engine.plan import Candidate, Plan, format_bytes
from fastconv.engine.rates import ratios
from fastconv.engine.timing import Contender, interleave
from fastconv.errors import UnsupportedError

DEFAULT_FLOAT32_TOLERANCE = 1e-5

# With less work than this, waking a second thread costs more than it saves, on the machine of reference.
_SECONDS_A_THREAD = 2e-5


def checked_strategy(strategy: str) -> str:
    """`strategy`, after checking that the name exists."""
    if not isinstance(strategy, str) or (strategy != "auto" and strategy not in BY_NAME):
        raise ValueError(f"strategy={strategy!r}: expected 'auto' or one of {', '.join(BY_NAME)}")
    return strategy


def checked_tolerance(tolerance: float | None) -> float | None:
    """`tolerance`, after checking that it can bound an error; ``None`` leaves the bound to the function."""
    if tolerance is None:
        return None
    if not (isinstance(tolerance, Real) and tolerance >= 0):
        raise ValueError(f"tolerance={tolerance!r}: expected a number of at least 0, in σ of the output")
    return float(tolerance)


def default_tolerance(geometry: ConvGeometry, dtype: np.dtype) -> float:
    """1e-5 σ in float32, otherwise the expected error of a plain sum of products."""
    return DEFAULT_FLOAT32_TOLERANCE if dtype == np.float32 else sum_error(geometry, dtype)


def plan(
    geometry: ConvGeometry,
    dtype: npt.DTypeLike,
    *,
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
    checked_strategy(strategy)
    if mode not in ("estimate", "measure"):
        raise ValueError(f"mode={mode!r}: expected 'estimate' or 'measure'")
    limit = checked_bytes("max_workspace", max_workspace)
    return _plan(geometry, np.dtype(dtype), strategy, checked_tolerance(tolerance), threads, limit, mode, prepared)


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
    geometry: ConvGeometry,
    dtype: np.dtype,
    strategy: str,
    tolerance: float | None,
    threads: int,
    max_workspace: int,
    mode: str,
    prepared: bool,
) -> Plan:
    """What `plan` remembers.

    A new extent should cost little: only strategies that qualify are priced, and only the cheapest of those are asked
    for their workspace, which requires their tiling. The report asks for the rest.
    """
    limit = default_tolerance(geometry, dtype) if tolerance is None else tolerance
    listed = partial(_candidates, geometry, dtype, limit, threads, max_workspace, strategy, prepared)
    # Priced for one image, so that the choice, and with it every bit of the result, is the same in any batch.
    image = geometry if geometry.n <= 1 else replace(geometry, n=1)
    if strategy == "auto":
        qualified = [s for s in STRATEGIES if _qualifies(s, geometry, dtype, limit)]
    else:
        qualified = [s for s in (BY_NAME[strategy],) if s.refuse(geometry, dtype) is None]

    def fits(s: Strategy) -> bool:
        return s.workspace_bytes(geometry, dtype, threads, max_workspace) <= max_workspace

    if mode == "measure":
        price = _measure([s for s in qualified if fits(s)], image, dtype, threads, max_workspace, prepared)
        listed = partial(listed, measured={name: seconds * geometry.n for name, seconds in price.items()})
        chosen = BY_NAME[min(price, key=price.__getitem__)] if price else None
    else:
        chosen = next(filter(fits, _by_price(qualified, image, dtype, prepared)), None)
    if chosen is None:
        raise UnsupportedError(_reasons(geometry, dtype, strategy, listed()))
    estimate = _estimate(chosen, geometry, dtype, prepared)
    return Plan(
        geometry=geometry,
        dtype=dtype.name,
        strategy=chosen,
        threads=max(1, min(threads, int(estimate / (_SECONDS_A_THREAD * ratios().wake)))),
        tolerance=limit,
        max_workspace=max_workspace,
        mode=mode,
        prepared=prepared,
        seconds=price[chosen.name] * geometry.n if mode == "measure" else estimate,
        list_candidates=listed,
    )


def _qualifies(strategy: Strategy, geometry: ConvGeometry, dtype: np.dtype, tolerance: float) -> bool:
    """Whether `strategy` can compute the problem accurately enough; the cheapest test comes first."""
    componentwise = strategy.componentwise(geometry)
    if tolerance == 0 and not componentwise:
        return False
    return strategy.refuse(geometry, dtype) is None and (componentwise or strategy.error(geometry, dtype) <= tolerance)


def _by_price(
    strategies: list[Strategy], geometry: ConvGeometry, dtype: np.dtype, prepared: bool
) -> Iterator[Strategy]:
    """Strategies, cheapest first, the earlier first among equals; none is priced if its lower bound excludes it."""
    queue = [(s.least_cost(geometry, dtype), False, rank) for rank, s in enumerate(strategies)]
    heapify(queue)
    while queue:
        _, is_priced, rank = heappop(queue)
        if is_priced:
            yield strategies[rank]
        else:
            heappush(queue, (_estimate(strategies[rank], geometry, dtype, prepared), True, rank))


def _reasons(geometry: ConvGeometry, dtype: np.dtype, strategy: str, candidates: tuple[Candidate, ...]) -> str:
    """Why no strategy, or not the named one, can compute the problem."""
    refusals = {c.name: c.refusal for c in candidates}
    if strategy != "auto":
        return f"strategy={strategy!r} cannot compute {geometry} in {dtype}: {refusals[strategy]}"
    reasons = "; ".join(f"{name}: {refusal}" for name, refusal in refusals.items())
    return f"no strategy computes {geometry} in {dtype}: {reasons}"


def _candidates(
    geometry: ConvGeometry,
    dtype: np.dtype,
    tolerance: float,
    threads: int,
    max_workspace: int,
    strategy: str,
    prepared: bool,
    measured: dict[str, float] | None = None,
) -> tuple[Candidate, ...]:
    """All strategies, with their estimated seconds, or the `measured` ones."""
    listed = [
        candidate(s, geometry, dtype, tolerance, threads, max_workspace, s.name == strategy, prepared)
        for s in STRATEGIES
    ]
    if measured is not None:
        able = {strategy} if strategy != "auto" else {c.name for c in listed if c.refusal is None}
        listed = [replace(c, seconds=measured.get(c.name)) if c.name in able else c for c in listed]
    return tuple(listed)


def candidate(
    strategy: Strategy,
    geometry: ConvGeometry,
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


def _estimate(strategy: Strategy, geometry: ConvGeometry, dtype: np.dtype, prepared: bool) -> float:
    """Estimated seconds per call on one thread."""
    return strategy.cost(geometry, dtype) + (0.0 if prepared else strategy.prepare_cost(geometry, dtype))


def _measure(
    strategies: list[Strategy],
    geometry: ConvGeometry,
    dtype: np.dtype,
    threads: int,
    max_workspace: int,
    prepared: bool,
) -> dict[str, float]:
    """Measured seconds per warm call, for strategies whose estimate is within 20 times the best one."""
    costs = {s.name: _estimate(s, geometry, dtype, prepared) for s in strategies}
    rng = np.random.default_rng(0)
    x, weight = (rng.standard_normal(shape).astype(dtype) for shape in (geometry.x_shape, geometry.weight_shape))
    out = np.empty(geometry.out_shape, dtype)

    def call(s: Strategy) -> Callable[[], None]:
        if not prepared:
            return partial(s.run_once, geometry, x, weight, out, Epilogue(), threads, max_workspace)
        packed = s.prepare(geometry, weight, threads)
        return partial(s.run, geometry, x, packed, out, Epilogue(), threads, max_workspace)

    contenders = [Contender(s.name, call(s)) for s in strategies if costs[s.name] <= 20 * min(costs.values())]
    interleave(contenders, 3)
    return {contender.name: contender.seconds for contender in contenders}
