"""A cache that is limited by the bytes it holds.

`functools.lru_cache` counts entries. That is no limit if entries grow with an image or a kernel: the weights of a
single Gaussian may take 64 MB.
"""

from __future__ import annotations

import functools
import os
import threading
from collections.abc import Callable
from typing import Any, ParamSpec, Protocol, TypeVar, cast

_Arguments = ParamSpec("_Arguments")
_Value = TypeVar("_Value")

# Default limit on the total size of a cache's entries.
MOST_BYTES = 4 << 20

# What tuples mostly hold, and nobody counts.
_SMALL = {int, str, float, bool, type(None)}

# Held while an entry is added to a cache, any of them; across a fork, so that no child waits for a thread it has not.
_adding = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_adding.acquire, after_in_parent=_adding.release, after_in_child=_adding.release)


class Remembered(Protocol[_Arguments, _Value]):
    """A function whose values are cached."""

    __wrapped__: Callable[_Arguments, _Value]

    def __call__(self, *args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Value:
        """The value of the function, which is called by position."""

    def cache_clear(self) -> None:
        """Forget all values."""


def remembered(
    most: int, most_bytes: int = MOST_BYTES
) -> Callable[[Callable[_Arguments, _Value]], Remembered[_Arguments, _Value]]:
    """Decorate a function of positional, hashable arguments: repeated calls return the value of the first.

    At most `most` entries are held, of at most `most_bytes` in total. A full cache is emptied, and entries in use come
    back with their next call: dropping the least recently used entries instead would make every hit record the order of
    use. A value larger than the whole cache is computed again each time. Calls that raise are not cached.

    Parameters
    ----------
    most : int
        Limit on the number of entries.
    most_bytes : int
        Limit on the size of values, as counted by `held_bytes`, and of arguments that are bytes.

    Returns
    -------
    callable
        The decorator. Decorated functions have `cache_clear`, and the original function as `__wrapped__`.

    Examples
    --------
    >>> import numpy as np
    >>> ramp = remembered(most=10, most_bytes=1000)(np.arange)
    >>> ramp(100) is ramp(100), ramp(200) is ramp(200)
    (True, False)
    """

    def decorate(function: Callable[_Arguments, _Value]) -> Remembered[_Arguments, _Value]:
        entries: dict[tuple[Any, ...], _Value] = {}
        held = 0

        @functools.wraps(function)
        def lookup(*arguments: Any) -> _Value:
            try:
                return entries[arguments]
            except KeyError:
                pass
            return compute(arguments)

        def compute(arguments: tuple[Any, ...]) -> _Value:
            nonlocal held
            value = function(*arguments)  # type: ignore[call-arg] # by position, which ParamSpec cannot say
            size = held_bytes(value) + sum([len(part) for part in arguments if type(part) is bytes])
            if size > most_bytes:
                return value
            with _adding:
                if arguments in entries:  # another thread was faster
                    return entries[arguments]
                if len(entries) >= most or held + size > most_bytes:
                    cache_clear()
                held += size  # first: whatever interrupts us, no byte goes uncounted
                entries[arguments] = value
            return value

        def cache_clear() -> None:
            nonlocal held
            with _adding:
                entries.clear()
                held = 0

        lookup.cache_clear = cache_clear  # type: ignore[attr-defined] # functions may have attributes
        return cast(Remembered[_Arguments, _Value], lookup)

    return decorate


def held_bytes(value: Any) -> int:
    """The size of objects that may be large: bytes, anything with `nbytes` such as arrays, and tuples of these.

    Examples
    --------
    >>> import numpy as np
    >>> held_bytes((1, "one", b"four", (np.zeros(2), None)))
    20
    """
    size, items = 0, [value]
    for item in items:
        kind = type(item)
        if kind in _SMALL:
            continue
        if kind is bytes:
            size += len(item)
        elif isinstance(item, tuple) and not hasattr(kind, "nbytes"):
            items += item
        else:
            size += getattr(item, "nbytes", 0)
    return size
