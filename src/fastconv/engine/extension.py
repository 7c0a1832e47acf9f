"""How signals continue past their ends: by repeating samples, or along a slope.

================ ======================= ==============================
name             continued               boundary.py, or as
================ ======================= ==============================
constant         k k k | a b c d | k k   constant
wrap             b c d | a b c d | a b   wrap
symmetric        c b a | a b c d | d c   reflect
reflect          d c b | a b c d | c b   mirror
edge             a a a | a b c d | d d   nearest
antisymmetric    -c -b -a | … | -d -c    symmetric, with its sign changed past every edge
antireflect      …, 2a - b | … | 2d - c  reflect, turned upside down about every edge
smooth           …, 2a - b | … | 2d - c  a line through the two samples next to the edge
line             a - s | … | d + s       a line through the first sample and the last one
================ ======================= ==============================
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from fastconv.engine.boundary import edge_indices
from fastconv.engine.remembering import remembered
from fastconv.engine.replay import constant

_REPEATING = {"constant": "constant", "symmetric": "reflect", "edge": "nearest", "wrap": "wrap", "reflect": "mirror"}

EXTENSIONS = (*_REPEATING, "antisymmetric", "antireflect", "smooth", "line")


class Extension(NamedTuple):
    """Each position past the ends as a weighted sum of up to three samples: first the positions before the signal."""

    sources: np.ndarray
    """The samples; -1 for the fill value."""
    weights: np.ndarray
    """Zero where there are fewer samples."""


@remembered(256)
def extension(before: int, after: int, extent: int, name: str) -> Extension:
    """The `before` positions before a signal of `extent` samples, and the `after` positions after it.

    A single sample continues as a constant, except in "antisymmetric".

    Examples
    --------
    >>> signal = np.array([1.0, 2.0, 4.0])
    >>> for name in ("antisymmetric", "antireflect", "smooth", "line"):
    ...     sources, weights = extension(2, 2, 3, name)
    ...     print((weights * signal[sources]).sum(axis=1))
    [-2. -1. -4. -2.]
    [-2.  0.  6.  7.]
    [-1.  0.  6.  8.]
    [-2.  -0.5  5.5  7. ]
    """
    at = np.concatenate([np.arange(-before, 0), np.arange(extent, extent + after)])
    sources, weights = np.zeros((2, len(at), 3), np.int64)
    weights = weights.astype(np.float64)
    last = extent - 1
    if extent == 1 and name not in (*_REPEATING, "antisymmetric"):
        name = "edge"
    if name in _REPEATING or name == "antisymmetric":
        sources[:, 0] = edge_indices(before, extent + after, extent, _REPEATING.get(name, "reflect"))
        weights[:, 0] = np.where(at // extent % 2, -1, 1) if name == "antisymmetric" else 1
    elif name == "antireflect":
        turns, place = np.divmod(at, last)
        odd = turns % 2
        sources[:] = np.stack([np.where(odd, last - place, place), np.full_like(at, last), np.zeros_like(at)], 1)
        weights[:] = np.stack([1 - 2 * odd, turns + odd, odd - turns], 1)
    else:
        edge = np.where(at < 0, 0, last)
        other = np.abs(edge - 1) if name == "smooth" else last - edge
        slopes = np.abs(at - edge) / np.abs(other - edge)
        sources[:, :2] = np.stack([edge, other], 1)
        weights[:, :2] = np.stack([1 + slopes, -slopes], 1)
    return Extension(constant(sources), constant(weights))
