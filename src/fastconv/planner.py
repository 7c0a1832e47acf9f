"""Which strategy: the cheapest of those that can, within the tolerance and the workspace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache, partial
from numbers import Real

import numpy as np
import numpy.typing as npt

from fastconv.epilogue import Epilogue
from fastconv.errors import UnsupportedError
from fastconv.geometry import REMEMBERED, ConvGeometry, checked_bytes
from fastconv.plan import Candidate, Plan, format_bytes
from fastconv.strategies import BY_NAME, STRATEGIES
from fastconv.strategies.base import DEFAULT_MAX_WORKSPACE, Strategy, sum_error
from fastconv.strategies.separable import FIND_SECONDS
from fastconv.timing import Contender, interleave

DEFAULT_FLOAT32_TOLERANCE = 1e-5

# Below this much work, waking a second thread costs more than it saves.
_SECONDS_A_THREAD = 2e-5


def checked_strategy(strategy: str) -> str:
    """`strategy`, if there is one of that name."""
    if not isinstance(strategy, str) or (strategy != "auto" and strategy not in BY_NAME):
        raise ValueError(f"strategy={strategy!r}: expected 'auto' or one of {', '.join(BY_NAME)}")
    return strategy


def checked_tolerance(tolerance: float | None) -> float | None:
    """`tolerance`, if it can bound an error; ``None`` leaves the bound to the function."""
    if tolerance is None:
        return None
    if not (isinstance(tolerance, Real) and tolerance >= 0):
        raise ValueError(f"tolerance={tolerance!r}: expected a number of at least 0, in σ of the output")
    return float(tolerance)


def default_tolerance(geometry: ConvGeometry, dtype: np.dtype) -> float:
    """1e-5 σ in float32, else what a plain sum of products errs by."""
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

    A one-shot call pays for the preparation of its weight, a `prepared` one does not.
    """
    checked_strategy(strategy)
    if mode not in ("estimate", "measure"):
        raise ValueError(f"mode={mode!r}: expected 'estimate' or 'measure'")
    limit = checked_bytes("max_workspace", max_workspace)
    return _plan(geometry, dtype, strategy, checked_tolerance(tolerance), threads, limit, mode, prepared)


def separable_terms(plan: Plan) -> int | None:
    """Of how many outer products a one-channel kernel may be the sum, for `separable` to cost less than `plan`.

    0 stands for a single one that is exact, which needs no tolerance; ``None`` if not even that costs less.
    """
    strategy, g, dtype = BY_NAME["separable"], plan.geometry, np.dtype(plan.dtype)
    if strategy.refuse(g, dtype) is not None or min(g.kernel) == 1:
        return None
    # Finding them is paid whether there are so few or not.
    seconds = next(c.seconds for c in plan.candidates if c.name == plan.strategy.name)
    if strategy.cost_of_terms(g, dtype, 1) + FIND_SECONDS >= seconds:
        return None
    terms, budget = 0, seconds - strategy.prepare_cost(g, dtype)
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
    dtype: str,
    strategy: str,
    tolerance: float | None,
    threads: int,
    max_workspace: int,
    mode: str,
    prepared: bool,
) -> Plan:
    type_ = np.dtype(dtype)
    limit = default_tolerance(geometry, type_) if tolerance is None else tolerance
    candidates = {
        s.name: candidate(s, geometry, type_, limit, threads, max_workspace, s.name == strategy, prepared)
        for s in STRATEGIES
    }
    if strategy == "auto":
        able = [name for name, c in candidates.items() if c.refusal is None]
        if not able:
            reasons = "; ".join(f"{name}: {c.refusal}" for name, c in candidates.items())
            raise UnsupportedError(f"no strategy computes {geometry} in {type_}: {reasons}")
    elif (refusal := candidates[strategy].refusal) is not None:
        raise UnsupportedError(f"strategy={strategy!r} cannot compute {geometry} in {type_}: {refusal}")
    else:
        able = [strategy]
    # Priced as one image: the choice, and with it every bit of the result, is the same in any batch.
    image = geometry if geometry.n <= 1 else replace(geometry, n=1)
    if mode == "measure":
        price = _measure([BY_NAME[name] for name in able], image, type_, threads, max_workspace, prepared)
        for name in able:
            candidates[name] = replace(candidates[name], seconds=price[name] * geometry.n if name in price else None)
    else:
        price = {
            name: candidates[name].seconds if image is geometry else _estimate(BY_NAME[name], image, type_, prepared)
            for name in able
        }
    chosen = min(price, key=price.__getitem__)
    seconds = _estimate(BY_NAME[chosen], geometry, type_, prepared) if mode == "measure" else candidates[chosen].seconds
    return Plan(
        geometry=geometry,
        dtype=type_.name,
        strategy=BY_NAME[chosen],
        threads=max(1, min(threads, int(seconds / _SECONDS_A_THREAD))),
        tolerance=limit,
        max_workspace=max_workspace,
        mode=mode,
        prepared=prepared,
        candidates=tuple(candidates.values()),
    )


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
    # A caller who names a strategy has weighed its error; scratch memory stays bounded all the same.
    if not forced and not facts["componentwise"] and (tolerance == 0 or facts["error"] > tolerance):
        refusal = f"expected error above the tolerance of {tolerance:.1e} σ"
        if tolerance == 0:  # no other image will change that: its price would only make the first call slower
            return Candidate(strategy.name, refusal, **facts)
    workspace = strategy.workspace_bytes(geometry, dtype, threads, max_workspace)
    if workspace > max_workspace:
        refusal = f"needs {format_bytes(workspace)} of workspace, the limit is {format_bytes(max_workspace)}"
    return Candidate(strategy.name, refusal, _estimate(strategy, geometry, dtype, prepared), workspace, **facts)


def _estimate(strategy: Strategy, geometry: ConvGeometry, dtype: np.dtype, prepared: bool) -> float:
    """Estimated seconds of a call on one thread."""
    return strategy.cost(geometry, dtype) + (0.0 if prepared else strategy.prepare_cost(geometry, dtype))


def _measure(
    strategies: list[Strategy],
    geometry: ConvGeometry,
    dtype: np.dtype,
    threads: int,
    max_workspace: int,
    prepared: bool,
) -> dict[str, float]:
    """Seconds of a warm call, for those whose estimate is within 20 times the best estimate."""
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
