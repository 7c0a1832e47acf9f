"""Schedules: learning rates as functions of the number of steps so far, which optimisers take in place of a number."""

from __future__ import annotations

from collections.abc import Callable
from math import cos, pi

from fastconv.nn.arguments import checked_integer, checked_real

Schedule = Callable[[int], float]


def stepped(rate: float, every: int, factor: float = 0.1) -> Schedule:
    """`rate`, multiplied by `factor` after each `every` steps.

    Raises
    ------
    GeometryError
        `every` is not an int of at least 1; a ``ValueError``.
    ValueError
        Another argument is not a number.

    Examples
    --------
    >>> schedule = stepped(8.0, every=10, factor=0.5)
    >>> [schedule(step) for step in (0, 9, 10, 25)]
    [8.0, 8.0, 4.0, 2.0]
    """
    rate, factor, every = checked_real("rate", rate), checked_real("factor", factor), checked_integer("every", every, 1)
    return lambda step: rate * factor ** (step // every)


def cosine(rate: float, steps: int, *, warm_up: int = 0, last: float = 0.0) -> Schedule:
    """From `rate` down to `last` along half a cosine, in so many `steps`.

    Parameters
    ----------
    rate, last : float
    steps : int
        After them the rate is `last`.
    warm_up : int
        The first steps, in which the rate rises evenly to `rate`.

    Raises
    ------
    GeometryError
        `steps` or `warm_up` is not an int in order; a ``ValueError``.
    ValueError
        Another argument is not a number.

    References
    ----------
    Loshchilov and Hutter, SGDR: stochastic gradient descent with warm restarts, 2017.

    Examples
    --------
    >>> schedule = cosine(8.0, 10, warm_up=2)
    >>> [round(schedule(step), 3) for step in (0, 1, 2, 6, 10, 99)]
    [4.0, 8.0, 8.0, 4.0, 0.0, 0.0]
    """
    rate, last = checked_real("rate", rate), checked_real("last", last)
    warm_up = checked_integer("warm_up", warm_up, 0)
    falling = checked_integer("steps", steps, warm_up + 1) - warm_up

    def schedule(step: int) -> float:
        if step < warm_up:
            return rate * (step + 1) / warm_up
        return last + (rate - last) * (1 + cos(pi * min(1.0, (step - warm_up) / falling))) / 2

    return schedule
