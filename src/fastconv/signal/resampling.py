"""Filters between two rates: ``upfirdn``, ``resample_poly`` and ``decimate``.

Each is one polyphase filter: what `resample_poly` cuts off, and the zeros that SciPy pads its filter with to centre it,
are only an offset into the filter.
"""

from __future__ import annotations

from collections.abc import Callable
from math import gcd
from operator import index
from typing import Any

import numpy as np
import numpy.typing as npt

from fastconv.engine.arrays import as_array
from fastconv.engine.extension import EXTENSIONS
from fastconv.engine.geometry import resampled_extent
from fastconv.engine.polyphase import Resampling, resampled
from fastconv.engine.remembering import remembered
from fastconv.engine.replay import repeatable, repeated, unrepeatable
from fastconv.kernels.shield import imported
from fastconv.signal.names import named

_MODES = {name: name for name in EXTENSIONS}

# The levels that `resample_poly` can take off a signal.
_LEVELS: dict[str, Callable[..., np.ndarray]] = {
    "mean": np.mean,
    "median": np.median,
    "maximum": np.max,
    "minimum": np.min,
}


@repeated()
def upfirdn(
    h: npt.ArrayLike,
    x: npt.ArrayLike,
    up: int = 1,
    down: int = 1,
    axis: int = -1,
    mode: str = "constant",
    cval: complex = 0,
) -> np.ndarray:
    """Upsample, filter and downsample: a drop-in for `scipy.signal.upfirdn`.

    ``out[m] = sum_k h[m * down - k * up] * x[k]``

    Parameters
    ----------
    h : array_like, shape (K,)
        The filter, at the rate of the upsampled signal.
    x : array_like
        Signals, with any number of axes.
    up, down : int
        ``up - 1`` zeros are inserted between two samples, and every `down`-th output is kept.
    axis : int
        The axis of time.
    mode : str
        How `x` continues past its ends. "constant": as `cval`; "wrap", "edge", "symmetric" and "reflect": as in
        `numpy.pad`; "antisymmetric": symmetric, with its sign changed past each end; "antireflect": reflected, and
        turned upside down about each end; "smooth": on the line through the last two samples; "line": on the line
        through the first and the last sample.
    cval : scalar
        Only used by mode "constant".

    Returns
    -------
    ndarray
        ``((N - 1) * up + K - 1) // down + 1`` outputs of N samples along the axis, in the type to which `h`, `x` and
        float32 promote.

    Raises
    ------
    ValueError
        `h` does not have one axis of at least one tap, `up` or `down` is below 1, `mode` has no such value, or an axis
        without samples is to continue as anything but a constant.
    IndexError
        There is no such axis.
    TypeError
        An input is a masked array, or `cval` does not convert to the type of the result.

    Notes
    -----
    Results are componentwise accurate: each output errs by a few roundings of the sum of its own products' magnitudes.
    A single sample continues as a constant where SciPy divides by zero.

    References
    ----------
    Vaidyanathan, Multirate Systems and Filter Banks, 1993, figure 4.3-8d.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.signal.upfirdn([1.0, 1.0, 1.0], [1, 2, 3], up=3)
    array([1., 1., 1., 2., 2., 2., 3., 3., 3.])
    >>> fastconv.signal.upfirdn([0.5, 1.0, 0.5], range(10), up=2, down=3)
    array([0. , 1. , 2.5, 4. , 5.5, 7. , 8.5])
    """
    taps, array = as_array("h", h), as_array("x", x)
    if taps.ndim != 1 or not taps.size:
        raise ValueError(f"h of shape {taps.shape}: h must be 1-D with non-zero length")
    up, down = int(up), int(down)
    if min(up, down) < 1:
        raise ValueError(f"up={up}, down={down}: Both up and down must be >= 1")
    mode = named("mode", mode.lower() if isinstance(mode, str) else mode, _MODES)
    axis = _as_axis(axis, array)
    dtype = np.result_type(taps, array, np.float32)
    if dtype.char not in "fdFD":
        found: np.ndarray = imported("scipy.signal._upfirdn").upfirdn(taps, array, up, down, axis, mode, cval)
        return found
    outputs = resampled_extent(array.shape[axis], len(taps), up, down)
    return _filtered(array, taps, Resampling(up, down, 0, outputs, mode), axis, dtype, cval)


@repeated()
def resample_poly(
    x: npt.ArrayLike,
    up: int,
    down: int,
    axis: int = 0,
    window: Any = ("kaiser", 5.0),
    padtype: str = "constant",
    cval: complex | None = None,
) -> np.ndarray:
    """Resample a signal by a polyphase filter without delay: a drop-in for `scipy.signal.resample_poly`.

    Parameters
    ----------
    x : array_like
        Signals, with any number of axes.
    up, down : int
        The rate becomes ``up / down`` times as high.
    axis : int
        The axis of time.
    window : str, tuple, float or array_like
        A window by which `scipy.signal.firwin` designs a low-pass filter of ``20 * max(up, down) + 1`` taps, after `up`
        and `down` were reduced; or, as a list or an array, the taps of the filter.
    padtype : str
        How `x` continues past its ends: a mode of `upfirdn`; or the "mean", "median", "maximum" or "minimum" along the
        axis.
    cval : scalar, optional
        The value past the ends for padtype "constant"; by default 0.

    Returns
    -------
    ndarray
        ``ceil(N * up / down)`` samples of N along the axis, in the type to which the filter, `x` and float32 promote. A
        designed filter has the type of `x`, or float64 if `x` holds integers. At an unchanged rate, a copy of `x`.

    Raises
    ------
    ValueError
        `up` or `down` is no whole number of at least 1, the taps have more than one axis, `padtype` has no such value,
        or `cval` is given for another padtype than "constant".
    IndexError, TypeError
        As `upfirdn`.

    Notes
    -----
    Accurate as `upfirdn`. Designs are remembered.

    References
    ----------
    Vaidyanathan, Multirate Systems and Filter Banks, 1993, section 4.3.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.signal.resample_poly(np.arange(1.0, 5), 2, 1, padtype="line").round(2)
    array([1. , 1.5, 2. , 2.5, 3. , 3.5, 4. , 4.5])
    """
    array = as_array("x", x)
    for name, rate in (("up", up), ("down", down)):
        if rate != int(rate):
            raise ValueError(f"{name}={rate!r}: {name} must be an integer")
    up, down = int(up), int(down)
    if min(up, down) < 1:
        raise ValueError(f"up={up}, down={down}: up and down must be >= 1")
    if cval is not None and padtype != "constant":
        raise ValueError(f"cval={cval!r}: cval has no effect when padtype is {padtype!r}")
    up, down = up // gcd(up, down), down // gcd(up, down)
    if up == down:
        unrepeatable()
        return array.copy()
    axis = _as_axis(axis, array)
    if isinstance(window, list | np.ndarray):
        taps = as_array("window", window)
        if taps.ndim != 1:
            raise ValueError(f"window of shape {taps.shape}: window must be 1-D")
        taps = taps * up
    else:
        taps = _low_pass(max(up, down), up, window, array.dtype if array.dtype.kind in "fc" else np.dtype(np.float64))
    dtype = np.result_type(taps, array, np.float32)
    if padtype not in _LEVELS:
        padtype = named("padtype", padtype, _MODES | dict.fromkeys(_LEVELS, ""))
    if dtype.char not in "fdFD" or not len(taps):
        scipys = imported("scipy.signal._signaltools").resample_poly
        found: np.ndarray = scipys(array, up, down, axis, window, padtype, cval)
        return found
    outputs = -(-array.shape[axis] * up // down)
    step = Resampling(up, down, (len(taps) - 1) // 2, outputs)
    if padtype in _LEVELS:
        unrepeatable()
        level = _LEVELS[padtype](array, axis=axis, keepdims=True)
        rest = array - level
        out = _filtered(rest, taps, step, axis, np.result_type(taps, rest, np.float32))
        out += level
        return out
    return _filtered(array, taps, step._replace(mode=padtype), axis, dtype, 0 if cval is None else cval)


@repeated()
def decimate(
    x: npt.ArrayLike,
    q: int,
    n: int | None = None,
    ftype: Any = "iir",
    axis: int = -1,
    zero_phase: bool = True,
) -> np.ndarray:
    """Filter and downsample: a drop-in for `scipy.signal.decimate`.

    Parameters
    ----------
    x : array_like
        Signals, with any number of axes.
    q : int
        Every `q`-th sample is kept.
    n : int, optional
        The order of the filter, by default 8 for "iir" and ``20 * q`` for "fir".
    ftype : {"iir", "fir"} or scipy.signal.dlti
        A Chebyshev filter; a filter of ``n + 1`` taps, by a Hamming window; or a filter of one's own. Those with poles
        run in SciPy.
    axis : int
        The axis of time.
    zero_phase : bool
        Shift the result back by the delay of the filter.

    Returns
    -------
    ndarray
        ``ceil(N / q)`` samples of N along the axis; float64 for integers and float16, otherwise in the type of `x`.

    Raises
    ------
    ValueError
        `ftype` has no such value, or `q` is below 1.
    TypeError
        `q` or `n` is no integer, or `x` is a masked array.
    IndexError
        There is no such axis.

    Notes
    -----
    Accurate as `upfirdn`.

    References
    ----------
    Vaidyanathan, Multirate Systems and Filter Banks, 1993, section 4.1.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.signal.decimate(np.ones(10), 3, ftype="fir").round(2)
    array([0.69, 1.04, 1.04, 0.69])
    """
    array, q = as_array("x", x), index(q)
    order = 20 * q if n is None else index(n)
    dtype = array.dtype if array.dtype.kind in "fc" and array.dtype.char != "e" else np.dtype(np.float64)
    own = not isinstance(ftype, str)
    taps = _taps_of(ftype) if own else None
    if (taps is None and (own or ftype != "fir")) or q < 2 or dtype.char not in "fdFD":
        found: np.ndarray = imported("scipy.signal._signaltools").decimate(array, q, n, ftype, axis, zero_phase)
        return found
    axis = _as_axis(axis, array)
    outputs = -(-array.shape[axis] // q)
    if taps is None:
        taps = _designed(order + 1, 1 / q, "hamming").astype(dtype)
    step = Resampling(1, q, (len(taps) - 1) // 2 if zero_phase else 0, outputs)
    return _filtered(array, taps, step, axis, np.result_type(taps, array, np.float32))


def _taps_of(system: Any) -> np.ndarray | None:
    """The taps of a `scipy.signal.dlti` that has no poles."""
    if not isinstance(system, imported("scipy.signal").dlti) or system.to_zpk().poles.size:
        return None
    function = system.to_tf()
    taps: np.ndarray = np.atleast_1d(function.num / function.den)
    return taps


def _as_axis(axis: int, array: np.ndarray) -> int:
    """`axis`, counted from the first."""
    given = index(axis)
    if not -array.ndim <= given < array.ndim:
        raise IndexError(f"axis={axis}: out of range for an array of {array.ndim} axes")
    return given % array.ndim


def _filtered(
    array: np.ndarray, taps: np.ndarray, step: Resampling, axis: int, dtype: np.dtype, cval: complex = 0
) -> np.ndarray:
    """The signal between two rates; the real and the imaginary part of a filter are two filters."""
    if not array.shape[axis] and step.mode != "constant":
        raise ValueError(f"x of shape {array.shape}: expected samples along axis {axis}, to continue as {step.mode!r}")
    try:
        fill = complex(cval) if dtype.kind == "c" else float(cval)  # type: ignore[arg-type] # complex raises
    except (TypeError, ValueError):
        raise TypeError(f"cval={cval!r}: expected a number that converts to {dtype}") from None
    if taps.dtype.kind != "c" or not taps.imag.any():
        return repeatable(resampled(array, taps.real, step, axis, dtype, fill))
    if array.dtype.kind != "c" and not fill.imag:
        out = np.empty((*array.shape[:axis], step.outputs, *array.shape[axis + 1 :]), dtype)
        real = out.real.dtype
        out.real, out.imag = (resampled(array, part, step, axis, real, fill.real) for part in (taps.real, taps.imag))
        return out
    out, turned = (resampled(array, part, step, axis, dtype, fill) for part in (taps.real, taps.imag))
    out.real -= turned.imag
    out.imag += turned.real
    return out


def _low_pass(rate: int, up: int, window: Any, dtype: np.dtype) -> np.ndarray:
    """The filter that `resample_poly` designs, of real values."""
    designed = _designed(20 * rate + 1, 1 / rate, window)
    taps: np.ndarray = designed.astype(dtype.char.lower() if dtype.kind == "c" else dtype) * dtype.type(up).real
    return taps


def _designed(taps: int, cutoff: float, window: Any) -> np.ndarray:
    try:
        hash(window)
    except TypeError:
        return _design.__wrapped__(taps, cutoff, window)
    return _design(taps, cutoff, window)


@remembered(64)
def _design(taps: int, cutoff: float, window: Any) -> np.ndarray:
    """The low-pass filter of `scipy.signal.firwin`."""
    designed: np.ndarray = imported("scipy.signal._fir_filter_design").firwin(taps, cutoff, window=window)
    designed.flags.writeable = False  # the cache returns it again
    return designed
