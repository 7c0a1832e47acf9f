"""Filters along one axis after another as filters of planes: down the columns, along the rows, or both."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import NamedTuple


class Planes(NamedTuple):
    """An array as planes (count, rows, columns), with the indices of the filters that run `down` and `along` them.

    For a filter along the rows a sample is `inner` columns wide: the axes after its own are flattened into it.
    """

    shape: tuple[int, int, int]
    inner: int
    down: int | None
    along: int | None


def as_planes(axes: Sequence[int], shape: tuple[int, ...], pairs: bool, narrow: int) -> list[Planes]:
    """The planes for filters along `axes`, in this order; with `pairs`, two axes at a time where possible.

    A filter runs along the rows if its samples are at most `narrow` columns wide.

    Examples
    --------
    >>> for planes in as_planes((0, 1, 2), (5, 40, 30), True, 1):
    ...     print(planes)
    Planes(shape=(1, 5, 1200), inner=1, down=0, along=None)
    Planes(shape=(5, 40, 30), inner=1, down=1, along=2)
    """
    found, at = [], 0
    while at < len(axes):
        axis = axes[at]
        before, rows, after = prod(shape[:axis]), shape[axis], prod(shape[axis + 1 :])
        inner = prod(shape[axis + 2 :])
        if pairs and axis + 1 in axes[at + 1 : at + 2] and inner <= narrow:
            found.append(Planes((before, rows, after), inner, at, at + 1))
            at += 1
        elif after <= narrow:
            found.append(Planes((1, before, rows * after), after, None, at))
        else:
            found.append(Planes((before, rows, after), 1, at, None))
        at += 1
    return found
