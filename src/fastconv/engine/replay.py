"""The decorator of public functions whose repeated calls are played from recordings (see kernels/recordings.pyx)."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from fastconv.kernels.recordings import Repeated, constant, note, repeatable, unrepeatable

__all__ = ["constant", "note", "repeatable", "repeated", "unrepeatable"]

_Function = TypeVar("_Function", bound=Callable[..., Any])


# The names of arguments that functions pass to kernels without a look at their values.
_OPERANDS = frozenset(
    (
        *("x", "input", "in1", "weight", "bias", "target", "indices", "_random_samples", "grad_output", "key"),
        *("running_mean", "running_var", "out", "output"),
    )
)


def repeated(*, by_value: tuple[str, ...] = ()) -> Callable[[_Function], _Function]:
    """Let repeated calls of a function play the launches of earlier ones.

    Calls whose arrays hold different values are of the same kind for operands only, to which those `by_value` do not
    belong in this function.
    """

    def decorate(function: _Function) -> _Function:
        code = inspect.unwrap(function).__code__
        repeats = Repeated(function, code.co_varnames[: code.co_argcount], _OPERANDS.difference(by_value))
        call = repeats.call

        @functools.wraps(function)
        def repeated(*args: Any, **kwargs: Any) -> Any:
            return call(args, kwargs)

        repeated.repeats = repeats  # type: ignore[attr-defined]
        return repeated  # type: ignore[return-value]

    return decorate
