"""Gaussians and their derivatives."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from numbers import Integral

import numpy as np
import numpy.typing as npt

from fastconv.ndimage.arguments import as_axes, as_input, for_each
from fastconv.ndimage.linear import correlate1d
from fastconv.ndimage.outputs import as_output
from fastconv.ndimage.passes import Pass, as_pass, filter_axes


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
        Of the derivative that is taken of the Gaussian.
    truncate : float
        The filter reaches so many standard deviations to both sides.
    radius : int, optional
        The filter reaches so many samples to both sides, whatever `truncate` says.

    Returns
    -------
    ndarray
        Of the extents of the input.

    Raises
    ------
    RuntimeError, ValueError, TypeError
        As `correlate`; `radius` is no integer of at least 0, or `order` is negative.

    References
    ----------
    Haddad and Akansu, A class of fast Gaussian binomial filters for speech and image processing, 1991.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.ndimage.gaussian_filter1d([1.0, 2.0, 3.0, 4.0, 5.0], 1).round(4)
    array([1.427 , 2.0678, 3.    , 3.9322, 4.573 ])
    """
    return correlate1d(input, _gaussian(float(sigma), order, truncate, radius), axis, output, mode, cval, 0)


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
        As `gaussian_filter1d`, all but `truncate` for one axis or each.

    Returns
    -------
    ndarray
        Of the extents of the input.

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
    passes = [_gaussian_pass(axis, s, o, m, truncate, r) for axis, s, o, m, r in each if s > 1e-15]
    return filter_axes(array, tuple(passes), out, cval)


# Remembered by type as well, since 2 is a radius and 2.0 is none.
@functools.lru_cache(maxsize=256, typed=True)
def _gaussian_pass(axis: int, sigma: float, order: int, mode: str, truncate: float, radius: int | None) -> Pass:
    return as_pass(axis, _gaussian(float(sigma), order, truncate, radius), mode, 0)


@functools.lru_cache(maxsize=256, typed=True)
def _gaussian(sigma: float, order: int, truncate: float, radius: int | None) -> np.ndarray:
    """Samples of a Gaussian of unit sum, or of its derivative (a Hermite polynomial times the Gaussian), flipped."""
    radius = int(truncate * sigma + 0.5) if radius is None else radius
    if not isinstance(radius, Integral) or radius < 0:
        raise ValueError(f"radius={radius!r}: Radius must be a nonnegative integer.")
    if order < 0:
        raise ValueError(f"order={order}: order must be non-negative")
    x = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 / (sigma * sigma) * x**2)
    weights /= weights.sum()
    polynomial = np.polynomial.Polynomial([1.0])
    for _ in range(order):  # (p g)' = (p' - x p / sigma²) g
        polynomial = polynomial.deriv() - polynomial * np.polynomial.Polynomial([0.0, 1 / (sigma * sigma)])
    weights = (polynomial(x) * weights)[::-1]
    weights.flags.writeable = False  # it is remembered
    return weights
