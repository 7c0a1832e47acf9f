"""Gaussians and their derivatives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastconv.engine.passes import Pass, filter_axes
from fastconv.engine.remembering import remembered
from fastconv.engine.replay import repeated
from fastconv.ndimage.arguments import as_axes, as_axis, as_index, as_input, as_mode, as_number, as_pass, for_each
from fastconv.ndimage.outputs import as_output


@repeated()
def gaussian_filter1d(
    input: npt.ArrayLike,
    sigma: float,
    axis: int = -1,
    order: int = 0,
    output: npt.DTypeLike | np.ndarray | None = None,
    mode: str = "reflect",
    cval: complex = 0.0,
    truncate: float = 4.0,
    *,
    radius: int | None = None,
) -> np.ndarray:
    """Gaussian filter along one axis: a drop-in for `scipy.ndimage.gaussian_filter1d`.

    Parameters
    ----------
    input, axis, output, mode, cval
        As `correlate1d`.
    sigma : float
        Standard deviation of the Gaussian, in samples.
    order : int
        Order of the derivative of the Gaussian; 0 for the Gaussian itself.
    truncate : float
        Standard deviations that the filter reaches to either side.
    radius : int, optional
        Samples that the filter reaches to either side; overrides `truncate`.

    Returns
    -------
    ndarray
        The result, as large as the input.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As `correlate`; `radius` is not an integer of at least 0, or `order` is negative.

    References
    ----------
    Haddad and Akansu, A class of fast Gaussian binomial filters for speech and image processing, 1991.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.ndimage.gaussian_filter1d([1.0, 2.0, 3.0, 4.0, 5.0], 1).round(4)
    array([1.427 , 2.0678, 3.    , 3.9322, 4.573 ])
    """
    array = as_input(input)
    out = as_output(output, array, complex_output=array.dtype.kind == "c")
    step = _as_pass(as_axis(axis, array.ndim), sigma, order, mode, truncate, radius)
    return filter_axes(array, (step,), out, as_number("cval", cval, array.dtype.kind == "c"))


@repeated()
def gaussian_filter(
    input: npt.ArrayLike,
    sigma: float | Sequence[float],
    order: int | Sequence[int] = 0,
    output: npt.DTypeLike | np.ndarray | None = None,
    mode: str | Sequence[str] = "reflect",
    cval: complex = 0.0,
    truncate: float = 4.0,
    *,
    radius: int | Sequence[int] | None = None,
    axes: int | Sequence[int] | None = None,
) -> np.ndarray:
    """Gaussian filter along several axes: a drop-in for `scipy.ndimage.gaussian_filter`.

    Parameters
    ----------
    input, output, cval, axes
        As `correlate`.
    sigma, order, mode, truncate, radius
        As `gaussian_filter1d`; all but `truncate` may be sequences with one value per axis.

    Returns
    -------
    ndarray
        The result, as large as the input.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As `gaussian_filter1d`.

    References
    ----------
    Haddad and Akansu, A class of fast Gaussian binomial filters for speech and image processing, 1991.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.ndimage.gaussian_filter(np.arange(12.0).reshape(3, 4), sigma=1).round(2)
    array([[2.12, 2.75, 3.63, 4.26],
           [4.43, 5.06, 5.94, 6.57],
           [6.74, 7.37, 8.25, 8.88]])
    """
    array = as_input(input)
    out = as_output(output, array, complex_output=array.dtype.kind == "c")
    filtered = as_axes(axes, array.ndim)
    each = zip(
        filtered,
        *(for_each(value, len(filtered)) for value in (sigma, order, mode, radius)),
        strict=True,
    )
    passes = [_as_pass(axis, s, o, m, truncate, r) for axis, s, o, m, r in each if s > 1e-15]
    return filter_axes(array, tuple(passes), out, as_number("cval", cval, array.dtype.kind == "c"))


def _as_pass(axis: int, sigma: Any, order: Any, mode: Any, truncate: Any, radius: Any) -> Pass:
    order = as_index("order", order)
    if order < 0:
        raise ValueError(f"order={order}: order must be non-negative")
    sigma, truncate = (float(as_number(name, value)) for name, value in (("sigma", sigma), ("truncate", truncate)))
    return _gaussian_pass(axis, sigma, order, as_mode(mode), truncate, None if radius is None else _as_radius(radius))


def _as_radius(radius: Any) -> int:
    try:
        samples = as_index("radius", radius)
    except TypeError:
        samples = -1
    if samples < 0:
        raise ValueError(f"radius={radius!r}: Radius must be a nonnegative integer.")
    return samples


@remembered(256)
def _gaussian_pass(axis: int, sigma: float, order: int, mode: str, truncate: float, radius: int | None) -> Pass:
    return as_pass(axis, _gaussian(sigma, order, truncate, radius), mode, 0, keeps_sum=True)


def _gaussian(sigma: float, order: int, truncate: float, radius: int | None) -> np.ndarray:
    """Samples of a Gaussian with sum 1, or of its derivative (a Hermite polynomial times the Gaussian), flipped."""
    radius = int(truncate * sigma + 0.5) if radius is None else radius
    x = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 / (sigma * sigma) * x**2)
    weights /= weights.sum()
    polynomial = np.polynomial.Polynomial([1.0])
    for _ in range(order):  # (p g)' = (p' - x p / sigma²) g
        polynomial = polynomial.deriv() - polynomial * np.polynomial.Polynomial([0.0, 1 / (sigma * sigma)])
    samples: np.ndarray = polynomial(x) * weights
    return samples[::-1]
