"""Registering strategies of other packages (docs/strategies.md)."""

from __future__ import annotations

from typing import Any

from fastconv.engine import planner
from fastconv.engine.convolution import BY_NAME, STRATEGIES
from fastconv.engine.convolution.base import Strategy
from fastconv.engine.replay import unrepeatable

# What a strategy has to have: the methods of the protocol, and its two attributes.
_STRATEGY_PARTS = (
    *("name", "local", "componentwise", "refuse", "cost", "least_cost", "prepare_cost", "error"),
    *("workspace_bytes", "prepare", "run", "run_once"),
)


class _Guest:
    """A registered strategy. It may look at values, so its calls are never played from recordings."""

    def __init__(self, strategy: Strategy) -> None:
        self._strategy = strategy

    def __getattr__(self, name: str) -> Any:
        return getattr(self._strategy, name)

    def run(self, *arguments: Any) -> None:
        unrepeatable()
        self._strategy.run(*arguments)

    def run_once(self, *arguments: Any) -> None:
        unrepeatable()
        self._strategy.run_once(*arguments)


def register(strategy: Strategy) -> None:
    """Add a strategy of your own, which the planner may choose and callers may name.

    It is listed before "reference", which accepts everything. Existing plans do not change.

    Parameters
    ----------
    strategy : object
        An object with the protocol of `fastconv.engine.convolution.base.Strategy`, whose mixins provide most of the
        methods.

    Raises
    ------
    TypeError
        A method or an attribute is missing.
    ValueError
        The name is taken, or is not an identifier.

    See Also
    --------
    unregister

    Examples
    --------
    >>> import fastconv
    >>> from fastconv.engine.convolution.direct import Direct
    >>> class Mine(Direct):
    ...     name = "mine"
    >>> fastconv.register(Mine())
    >>> fastconv.plan_conv2d((1, 1, 9, 9), (1, 1, 3, 3), strategy="mine").strategy.name
    'mine'
    >>> fastconv.unregister("mine")
    """
    missing = [name for name in _STRATEGY_PARTS if not hasattr(strategy, name)]
    if missing:
        raise TypeError(f"strategy={type(strategy).__name__}: expected a strategy, it lacks {', '.join(missing)}")
    name = strategy.name
    if not isinstance(name, str) or not name.isidentifier() or name == "auto" or name in BY_NAME:
        raise ValueError(f"strategy.name={name!r}: expected an identifier that no other strategy has")
    STRATEGIES.insert(len(STRATEGIES) - 1, _Guest(strategy))
    BY_NAME[name] = STRATEGIES[-2]
    planner.forget_plans()


def unregister(name: str) -> None:
    """Undo `register`.

    Parameters
    ----------
    name : str
        Name of a registered strategy.

    Raises
    ------
    ValueError
        No strategy is registered under that name.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.unregister("implicit")
    Traceback (most recent call last):
    ...
    ValueError: name='implicit': expected one of the registered strategies, of which there are none
    """
    registered = [s.name for s in STRATEGIES if isinstance(s, _Guest)]
    if name not in registered:
        listed = ", ".join(registered) or "of which there are none"
        raise ValueError(f"name={name!r}: expected one of the registered strategies, {listed}")
    STRATEGIES.remove(BY_NAME.pop(name))
    planner.forget_plans()
