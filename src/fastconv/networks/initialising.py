"""Random weights to begin training with, as the papers draw them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from fastconv.engine.geometry import checked_shape
from fastconv.errors import GeometryError
from fastconv.nn.arguments import checked_integer


def _normal(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    return rng.standard_normal(shape, dtype)


def _uniform(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    weight = rng.random(shape, dtype)
    weight *= 2
    weight -= 1
    return weight


# By name: the distribution, and what it is scaled by for so many inputs of a unit and outputs of an input.
INITIALISERS: dict[str, tuple[Callable[..., np.ndarray], Callable[[int, int], float]]] = {
    "he": (_normal, lambda fan_in, fan_out: (2 / fan_in) ** 0.5),
    "glorot": (_uniform, lambda fan_in, fan_out: (6 / (fan_in + fan_out)) ** 0.5),
    "lecun": (_uniform, lambda fan_in, fan_out: 2.4 / fan_in),
    "normal": (_normal, lambda fan_in, fan_out: 0.01),
}


def initial_weight(
    shape: Sequence[int],
    initialiser: str = "he",
    *,
    groups: int = 1,
    rng: np.random.Generator | int | None = None,
    dtype: npt.DTypeLike = np.float32,
) -> np.ndarray:
    """Random weights of a convolution or of a full connection.

    A unit reads ``fan_in = C / groups * KH * KW`` values, and each value is read by ``fan_out = OC / groups * KH * KW``
    units.

    Parameters
    ----------
    shape : sequence of int
        ``(OC, C / groups, KH, KW)``, or ``(units, inputs)``.
    initialiser : {"he", "glorot", "lecun", "normal"}
        - ``"he"``: normal with variance 2 / fan_in, for layers with ReLUs;
        - ``"glorot"``: uniform from -b to b, b² = 6 / (fan_in + fan_out), for tanh;
        - ``"lecun"``: uniform from -2.4 / fan_in to 2.4 / fan_in, as in LeNet-5;
        - ``"normal"``: normal with a standard deviation of 0.01, as in AlexNet.
    groups : int
        Of the convolution.
    rng : Generator, int or None
        Random generator or seed; ``None`` for a seed of the system's.
    dtype : float32 or float64

    Returns
    -------
    ndarray of `shape`

    Raises
    ------
    ValueError
        `initialiser` is unknown; or, as a GeometryError, `shape` is not that of a weight in so many groups.
    TypeError
        `dtype` is another one.

    References
    ----------
    He, Zhang, Ren and Sun, Delving deep into rectifiers, 2015; Glorot and Bengio, Understanding the difficulty of
    training deep feedforward neural networks, 2010; LeCun, Bottou, Bengio and Haffner, Gradient-based learning applied
    to document recognition, 1998, appendix A; Krizhevsky, Sutskever and Hinton, ImageNet classification with deep
    convolutional neural networks, 2012.

    Examples
    --------
    >>> weight = initial_weight((64, 32, 3, 3), "glorot", rng=0)
    >>> bool(abs(weight).max() <= (6 / (32 * 9 + 64 * 9)) ** 0.5)
    True
    """
    if initialiser not in INITIALISERS:
        raise ValueError(f"initialiser={initialiser!r}: expected one of {', '.join(INITIALISERS)}")
    kind: np.dtype[Any] = np.dtype(dtype)
    if kind not in (np.float32, np.float64):
        raise TypeError(f"dtype={dtype!r}: expected float32 or float64")
    sizes = checked_shape("shape", shape)
    groups = checked_integer("groups", groups, 1)
    if len(sizes) < 2 or min(sizes) < 1 or sizes[0] % groups:
        raise GeometryError(f"shape={sizes}: expected (filters, channels, ...), the filters in {groups} groups")
    draw, scale = INITIALISERS[initialiser]
    taps = prod(sizes[2:])
    weight = draw(np.random.default_rng(rng), sizes, kind)
    weight *= kind.type(scale(sizes[1] * taps, sizes[0] // groups * taps))
    return weight
