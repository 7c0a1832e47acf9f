"""Filters that fit polynomials: ``savgol_filter`` and ``savgol_coeffs``.

The value, or a derivative, of a polynomial that is fitted to the samples of a window is a weighted sum of these. In the
middle of a signal the weights are the same everywhere, and the filter is a correlation. At its ends the last window
gives all outputs, each by weights of its own.
"""

from __future__ import annotations

from operator import index
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from fastconv.engine.arrays import as_array
from fastconv.engine.passes import Pass, filter_axes
from fastconv.engine.polyphase import Resampling, resample_into
from fastconv.engine.remembering import remembered
from fastconv.engine.replay import constant, repeatable, repeated
from fastconv.kernels.shield import imported
from fastconv.signal.names import named

# How a signal continues past its ends, and the names in boundary.py; "interp" fits the last window.
_MODES = {name: name for name in ("mirror", "constant", "nearest", "interp", "wrap")}

_USES = {"conv": "conv", "dot": "dot"}


@repeated()
def savgol_filter(
    x: npt.ArrayLike,
    window_length: int,
    polyorder: int,
    deriv: int = 0,
    delta: float = 1.0,
    axis: int = -1,
    mode: str = "interp",
    cval: float = 0.0,
) -> np.ndarray:
    """Savitzky-Golay filter: a drop-in for `scipy.signal.savgol_filter`.

    Parameters
    ----------
    x : array_like
        Signals, with any number of axes; what is not float32 or float64 is converted to float64.
    window_length : int
        Samples to which a polynomial is fitted.
    polyorder : int
        Its order, less than `window_length`.
    deriv : int
        Which derivative of it is computed; by default its value.
    delta : float
        The distance between samples, for derivatives.
    axis : int
        The axis of time.
    mode : {"interp", "mirror", "constant", "nearest", "wrap"}
        Near the ends: "interp" evaluates the polynomial that fits the last `window_length` samples; the others are
        modes of `fastconv.ndimage.correlate1d`.
    cval : float
        The value past the ends for mode "constant".

    Returns
    -------
    ndarray
        The filtered signals, as large as `x`.

    Raises
    ------
    ValueError
        `mode` has no such value, `polyorder` is not less than `window_length`, or with "interp" a window is longer than
        the signals.
    IndexError
        There is no such axis.
    TypeError
        `x` is a masked array, or an argument is no number.

    Notes
    -----
    Results are componentwise accurate: each output errs by a few roundings of the sum of its own products' magnitudes.
    Weights are found by least squares with Legendre polynomials, which are well conditioned for high orders, too.

    References
    ----------
    Savitzky and Golay, Smoothing and differentiation of data by simplified least squares procedures, Analytical
    Chemistry, 1964.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.signal.savgol_filter([2, 2, 5, 2, 1, 0, 1, 4, 9], 5, 2).round(2)
    array([1.66, 3.17, 3.54, 2.86, 0.66, 0.17, 1.  , 4.  , 9.  ])
    """
    array, mode = as_array("x", x), named("mode", mode, _MODES)
    if array.dtype.char not in "fd":
        array = array.astype(np.float64)
    given = index(axis)
    if not -array.ndim <= given < array.ndim:
        raise IndexError(f"axis={axis}: out of range for an array of {array.ndim} axes")
    axis, extent = given % array.ndim, array.shape[given]
    weights = _middle(window_length, polyorder, deriv, delta)
    length = len(weights)
    if mode == "interp" and length > extent:
        raise ValueError(
            f"window_length={window_length}: If mode is 'interp', window_length must be less than or equal to the size "
            f"of x, {extent}"
        )
    out = np.empty(array.shape, array.dtype.char)
    if not array.size:
        return out
    continuation = "constant" if mode == "interp" else mode
    filter_axes(array, (Pass(axis, weights.tobytes(), continuation, -(length % 2 == 0)),), out, float(cval))
    half = length // 2
    if mode == "interp" and half:
        for at, begin in ((0, 0), (extent - length, extent - half)):
            seen, ends = ((slice(None),) * axis + (slice(b, b + n),) for b, n in ((at, length), (begin, half)))
            fitted = _end(window_length, polyorder, deriv, delta, begin - at)
            # As a filter between two rates, whose phases are the weights of each output.
            step = Resampling(half, 1, half * (length - 1), half)
            resample_into(array[seen], fitted, step, axis, out[ends])
    return repeatable(out)


def savgol_coeffs(
    window_length: int,
    polyorder: int,
    deriv: int = 0,
    delta: float = 1.0,
    pos: float | None = None,
    use: str = "conv",
    *,
    xp: ModuleType | None = None,
    device: Any = None,
) -> np.ndarray:
    """The weights of a Savitzky-Golay filter: a drop-in for `scipy.signal.savgol_coeffs`.

    Parameters
    ----------
    window_length, polyorder, deriv, delta
        As `savgol_filter`.
    pos : float, optional
        The place in the window at which the polynomial is evaluated, by default its middle.
    use : {"conv", "dot"}
        The order of the weights: for a convolution, or for an inner product with the samples.
    xp, device
        The array library of the result, and the device; all but NumPy are SciPy's.

    Returns
    -------
    ndarray, shape (window_length,)
        The weights, in float64.

    Raises
    ------
    ValueError
        `polyorder` is not less than `window_length`, `pos` lies outside the window, or `use` has no such value.

    References
    ----------
    As `savgol_filter`.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.signal.savgol_coeffs(5, 2)
    array([-0.08571429,  0.34285714,  0.48571429,  0.34285714, -0.08571429])
    """
    if (xp is not None and xp.__name__.rpartition(".")[2] != "numpy") or device not in (None, "cpu"):
        scipys = imported("scipy.signal._savitzky_golay").savgol_coeffs
        found: np.ndarray = scipys(window_length, polyorder, deriv, delta, pos, use, xp=xp, device=device)
        return found
    length, order = _checked(window_length, polyorder)
    place = (length - 1) / 2 if pos is None else pos
    if not 0 <= place < length:
        raise ValueError(f"pos={pos!r}: pos must be nonnegative and less than window_length")
    weights = _at(length, order, index(deriv), delta, place)
    return (weights if named("use", use, _USES) == "dot" else weights[::-1]).copy()


def _checked(window_length: int, polyorder: int) -> tuple[int, int]:
    length, order = index(window_length), index(polyorder)
    if order >= length:
        raise ValueError(f"polyorder={order}, window_length={length}: polyorder must be less than window_length")
    return length, order


@remembered(64)
def _at(length: int, order: int, deriv: int, delta: float, place: float) -> np.ndarray:
    """The weights for one place in the window."""
    return constant(_weights(length, order, deriv, delta, np.array([place]))[0])


@remembered(64)
def _middle(window_length: int, polyorder: int, deriv: int, delta: float) -> np.ndarray:
    """The weights of the samples around an output in the middle of a signal."""
    return constant(savgol_coeffs(window_length, polyorder, deriv, delta, use="dot"))


@remembered(64)
def _end(window_length: int, polyorder: int, deriv: int, delta: float, begin: int) -> np.ndarray:
    """The weights of a window for half as many outputs, from `begin` on, as a filter of which each is a phase."""
    half = window_length // 2
    weights = _weights(window_length, polyorder, deriv, delta, np.arange(begin, begin + half))
    return constant(np.ascontiguousarray(weights[:, ::-1].T).ravel())


def _weights(length: int, order: int, deriv: int, delta: float, places: np.ndarray) -> np.ndarray:
    """The weights, shape (places, length), by which samples give a derivative of the polynomial that fits them."""
    from numpy.polynomial import legendre

    if deriv < 0:
        raise ValueError(f"deriv={deriv}: expected at least 0")
    if deriv > order:
        return np.zeros((len(places), length))
    # From -1 to 1, where Legendre polynomials are nearly orthogonal.
    unit = max(length - 1, 1) / 2
    at, wanted = (np.arange(length) - (length - 1) / 2) / unit, (places - (length - 1) / 2) / unit
    fitted = np.linalg.pinv(legendre.legvander(at, order))
    derivatives = legendre.legder(np.eye(order + 1), deriv)
    found: np.ndarray = legendre.legvander(wanted, order - deriv) @ derivatives @ fitted
    return found / (unit * delta) ** deriv
