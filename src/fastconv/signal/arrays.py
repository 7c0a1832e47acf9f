"""Convolution and correlation of arrays of any number of axes, directly or by FFT.

Everything becomes one cross-correlation with the kernel flipped. One and two axes go to the planner, whose strategies
are direct sums, separable passes and overlap-save FFTs; more axes are summed directly or given to SciPy's FFT, by a
model of what each costs. Types without a kernel here (float16, longdouble, object) are SciPy's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from math import log2, prod
from typing import Any

import numpy as np
import numpy.typing as npt

from fastconv import threads
from fastconv.arrays import as_array, as_operand
from fastconv.correlation import correlate as correlate_operands
from fastconv.correlation import output_extents, plan_for
from fastconv.signal.names import MODES, mode_padding, must_swap, named
from fastconv.timing import Contender, interleave

_METHODS = {"auto": "auto", "direct": "direct", "fft": "fft"}

# In float64 "auto" allows what an FFT rounds; float32 keeps the planner's own bound.
_TOLERANCE = {"f": None, "F": None, "d": 1e-12, "D": 1e-12}

# Products a second that sums over more than two axes make (kernels/taps.py), by the character of the type; and
# operations a second of SciPy's FFT.
_TAPS_A_SECOND = {"f": 5e9, "d": 2.5e9}
_OTHER_TAPS_A_SECOND = 1e9
_FFT_FLOPS = 3e9


def convolve(in1: npt.ArrayLike, in2: npt.ArrayLike, mode: str = "full", method: str = "auto") -> np.ndarray:
    """Convolution of arrays with equally many axes: a drop-in for `scipy.signal.convolve`.

    ``full[r, ...] = sum_{i, ...} in1[r - i, ...] * in2[i, ...]``

    Parameters
    ----------
    in1, in2 : array_like
        Of the same number of axes. Types promote as in NumPy; integers wrap around, and bool is "any of".
    mode : {"full", "same", "valid"}
        Every output that sees both inputs; as large as in1, centred; or only those that see nothing past an edge, with
        the inputs swapped if in2 is the larger one.
    method : {"auto", "direct", "fft"}
        By the cheapest way, by sums of products, or by FFT.

    Returns
    -------
    ndarray
        Of the type to which the inputs promote; a scalar for two scalars.

    Raises
    ------
    ValueError
        The inputs differ in their number of axes; "valid", and neither contains the other; `mode` or `method` has no
        such meaning; an input is empty and the method direct.
    TypeError
        An input is a masked array, or `mode` or `method` is no string.

    Notes
    -----
    "auto" computes floating-point arrays within an expected error of 1e-5 (float32) or 1e-12 (float64) standard
    deviations of the output, and integers exactly. NaN and infinity reach only the outputs that see them, by "fft" too
    for arrays of one or two axes (SciPy's FFT spreads them everywhere).

    References
    ----------
    Virtanen et al., SciPy 1.0: Fundamental Algorithms for Scientific Computing in Python, 2020.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.signal.convolve([1, 2, 3], [0, 1, 0.5])
    array([0. , 1. , 2.5, 4. , 1.5])
    """
    volume, kernel = as_array("in1", in1), as_array("in2", in2)
    return _convolve(volume, kernel, mode, method, "convolve", volume, kernel)


def correlate(in1: npt.ArrayLike, in2: npt.ArrayLike, mode: str = "full", method: str = "auto") -> np.ndarray:
    """Cross-correlation of arrays with equally many axes: a drop-in for `scipy.signal.correlate`.

    ``full[k, ...] = sum_{l, ...} in1[l, ...] * conj(in2[l - k + K - 1, ...])``

    Parameters
    ----------
    in1, in2, mode, method
        As `convolve`.

    Returns
    -------
    ndarray
        Of the type to which the inputs promote.

    Raises
    ------
    ValueError, TypeError
        As `convolve`.

    Notes
    -----
    With an even in2, "same" differs from `correlate2d` by one index, as it does in SciPy.

    References
    ----------
    Virtanen et al., SciPy 1.0: Fundamental Algorithms for Scientific Computing in Python, 2020.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.signal.correlate([1, 2, 3], [0, 1, 0.5])
    array([0.5, 2. , 3.5, 3. , 0. ])
    """
    volume, kernel = as_array("in1", in1), as_array("in2", in2)
    reverse = kernel[(slice(None, None, -1),) * kernel.ndim]
    return _convolve(
        volume, reverse.conj() if kernel.dtype.kind == "c" else reverse, mode, method, "correlate", volume, kernel
    )


def _convolve(
    volume: np.ndarray, kernel: np.ndarray, mode: str, method: str, name: str, in1: np.ndarray, in2: np.ndarray
) -> np.ndarray:
    """Convolve by SciPy's rules; its function `name` gets `in1` and `in2` if the type or the shape is only its own."""
    if volume.ndim != kernel.ndim:
        raise ValueError(
            f"in1 of shape {volume.shape}, in2 of shape {kernel.shape}: volume and kernel should have the same "
            "dimensionality"
        )
    if volume.ndim == 0:
        return volume * kernel
    mode, method = named("mode", mode, MODES), named("method", method, _METHODS)
    dtype = np.result_type(volume, kernel)
    if dtype.char not in "?bBhHiIlLqQfdFD" or not volume.size or not kernel.size:
        return _in_scipy(name)(in1, in2, mode, method)
    if mode == "valid" and must_swap(volume.shape, kernel.shape):
        volume, kernel = kernel, volume
    if method == "fft" or (dtype.kind not in "fc" and method == "auto" and _rounds_exactly(volume, kernel, mode)):
        out = fftconvolve(volume, kernel, mode)
        with np.errstate(invalid="ignore"):
            return (out if dtype.kind in "fc" else np.rint(out)).astype(dtype, copy=False)
    if dtype.kind == "b":
        counts = _convolve_numbers(volume.astype(np.uint8), kernel.astype(np.uint8), mode, np.dtype(np.int64), 0.0)
        return counts > 0
    if (
        method == "auto"
        and volume.ndim > 2
        and dtype.kind in "fc"
        and _taps_seconds(volume, kernel, mode, dtype) > (_fft_seconds(volume.shape, kernel.shape, dtype))
    ):
        return fftconvolve(volume, kernel, mode)
    volume, kernel = (array.astype(np.uint8) if array.dtype.kind == "b" else array for array in (volume, kernel))
    return _convolve_numbers(volume, kernel, mode, dtype, _TOLERANCE.get(dtype.char) if method == "auto" else 0.0)


def _in_scipy(name: str) -> Callable[..., Any]:
    """SciPy's function, from where it is defined: scipy.signal's own names may have been replaced by those of here."""
    from scipy.signal import _signaltools

    return getattr(_signaltools, name)


def _convolve_numbers(
    volume: np.ndarray, kernel: np.ndarray, mode: str, dtype: np.dtype, tolerance: float | None, strategy: str = "auto"
) -> np.ndarray:
    """Convolve by a strategy, in the roles that cost least."""
    if all(1 in pair for pair in zip(volume.shape, kernel.shape, strict=True)):  # no output is a sum
        full = np.multiply(volume, kernel, dtype=dtype)
        begins = [(k - 1) // 2 if mode == "same" else 0 for k in kernel.shape]
        shape = output_extents(volume.shape, kernel.shape, mode_padding(mode, kernel.shape, True))
        if mode == "valid":
            begins = [min(k, v) - 1 for v, k in zip(volume.shape, kernel.shape, strict=True)]
        kept = full[tuple(slice(b, b + n) for b, n in zip(begins, shape, strict=True))]
        return kept if kept.shape == full.shape else kept.copy()
    if mode == "full" and kernel.size > volume.size:
        volume, kernel = kernel, volume
    flipped = as_operand(kernel, dtype)[(slice(None, None, -1),) * kernel.ndim]
    padding = mode_padding(mode, kernel.shape, True)
    return correlate_operands(volume, flipped, padding, dtype, tolerance=tolerance, strategy=strategy)


def _fft_points(shape1: Sequence[int], shape2: Sequence[int]) -> int:
    return prod(a + b - 1 for a, b in zip(shape1, shape2, strict=True))


def _fft_seconds(shape1: Sequence[int], shape2: Sequence[int], dtype: np.dtype) -> float:
    """SciPy's time for three transforms."""
    points = _fft_points(shape1, shape2)
    return 2e-4 + 3 * (5 if dtype.kind == "c" else 2.5) * points * log2(max(2, points)) / _FFT_FLOPS


def _taps_seconds(volume: np.ndarray, kernel: np.ndarray, mode: str, dtype: np.dtype) -> float:
    outputs = prod(output_extents(volume.shape, kernel.shape, mode_padding(mode, kernel.shape, True)))
    if mode == "full" and kernel.size > volume.size:
        volume, kernel = kernel, volume
    return outputs * kernel.size / _TAPS_A_SECOND.get(dtype.char, _OTHER_TAPS_A_SECOND)


def _rounds_exactly(volume: np.ndarray, kernel: np.ndarray, mode: str) -> bool:
    """Whether an FFT in float64, which costs less than sums of these integers, is certain to err by less than a half.

    Its error is at most a small multiple of unit roundoff, log2 n and the product of both inputs' norms (Higham,
    Accuracy and Stability, 2002, theorem 24.2); the factor 8 leaves room.
    """
    if volume.dtype.kind not in "iu" or kernel.dtype.kind not in "iu":
        return False
    dtype = np.dtype(np.float64)
    if _taps_seconds(volume, kernel, mode, dtype) < _fft_seconds(volume.shape, kernel.shape, dtype):
        return False
    norms = prod(float(np.linalg.norm(array.astype(np.float64).ravel())) for array in (volume, kernel))
    return 8 * np.finfo(np.float64).eps * log2(_fft_points(volume.shape, kernel.shape) + 1) * norms < 0.25


def fftconvolve(
    in1: npt.ArrayLike, in2: npt.ArrayLike, mode: str = "full", axes: int | Sequence[int] | None = None
) -> np.ndarray:
    """Convolution by FFT: a drop-in for `scipy.signal.fftconvolve`.

    Real arrays of one or two axes, convolved along all of them, are cut into tiles (overlap-save) if that is
    cheaper; all others are SciPy's.

    Parameters
    ----------
    in1, in2 : array_like
        Of the same number of axes; integers are computed in float64.
    mode : {"full", "same", "valid"}
        As `convolve`.
    axes : int, sequence of int, or None
        Along which to convolve; along the others one extent must be 1, or both equal. By default along all.

    Returns
    -------
    ndarray
        Floating point or complex.

    Raises
    ------
    ValueError
        As `convolve`; `axes` is empty, repeated or out of range, or the other axes do not fit.

    References
    ----------
    Oppenheim and Schafer, Discrete-Time Signal Processing, section 8.7.3.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.signal.fftconvolve([1.0, 2.0, 3.0], [0.5, 1.0, 0.5]).round(6)
    array([0.5, 2. , 4. , 4. , 1.5])
    """
    return _by_fft("fftconvolve", in1, in2, mode, axes)


def oaconvolve(
    in1: npt.ArrayLike, in2: npt.ArrayLike, mode: str = "full", axes: int | Sequence[int] | None = None
) -> np.ndarray:
    """Convolution by FFT, block by block: a drop-in for `scipy.signal.oaconvolve`.

    As `fftconvolve`, which cuts its inputs into tiles as well; what is left to SciPy is left to its `oaconvolve`.

    Parameters
    ----------
    in1, in2, mode, axes
        As `fftconvolve`.

    Returns
    -------
    ndarray
        Floating point or complex.

    Raises
    ------
    ValueError
        As `fftconvolve`.

    References
    ----------
    Oppenheim and Schafer, Discrete-Time Signal Processing, section 8.7.3.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.signal.oaconvolve(np.ones(5), np.ones(2), mode="valid").round(6)
    array([2., 2., 2., 2.])
    """
    return _by_fft("oaconvolve", in1, in2, mode, axes)


def _by_fft(name: str, in1: npt.ArrayLike, in2: npt.ArrayLike, mode: str, axes: Any) -> np.ndarray:
    volume, kernel = as_array("in1", in1), as_array("in2", in2)
    kinds = volume.dtype.kind + kernel.dtype.kind
    tiled = axes is None and volume.ndim == kernel.ndim and 1 <= volume.ndim <= 2 and volume.size and kernel.size
    # SciPy multiplies along axes of one sample, in the type of the inputs.
    tiled = tiled and not all(1 in pair for pair in zip(volume.shape, kernel.shape, strict=True))
    dtype = np.result_type(volume, kernel, *(np.float64 for kind in kinds if kind in "iu"))
    if (
        not tiled
        or not set(kinds) <= set("iuf")
        or dtype.char not in "fd"
        or not isinstance(mode, str)
        or mode not in MODES
    ):
        return _in_scipy(name)(in1, in2, mode, axes)
    if mode == "valid" and must_swap(volume.shape, kernel.shape):
        volume, kernel = kernel, volume
    return _convolve_numbers(
        volume.astype(dtype, copy=False), kernel.astype(dtype, copy=False), mode, dtype, None, "fft"
    )


def choose_conv_method(
    in1: npt.ArrayLike, in2: npt.ArrayLike, mode: str = "full", measure: bool = False
) -> str | tuple[str, dict[str, float]]:
    """Which method `convolve` and `correlate` take by default: a drop-in for `scipy.signal.choose_conv_method`.

    Parameters
    ----------
    in1, in2, mode
        As `convolve`.
    measure : bool
        Time both methods instead of estimating.

    Returns
    -------
    str
        "direct" or "fft"; "direct" stands for separable passes as well.
    dict
        With `measure` only: the seconds that each method took.

    Raises
    ------
    ValueError, TypeError
        As `convolve`.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.signal.choose_conv_method(np.ones(100_000), np.ones(50_000))
    'fft'
    >>> fastconv.signal.choose_conv_method(np.ones(100_000), np.ones(5))
    'direct'
    """
    volume, kernel = as_array("in1", in1), as_array("in2", in2)
    if measure:
        calls = (
            Contender(method, functools.partial(convolve, volume, kernel, mode, method)) for method in ("fft", "direct")
        )
        contenders = list(calls)
        interleave(contenders, 3)
        times = {contender.name: contender.seconds for contender in contenders}
        return min(times, key=times.__getitem__), times
    mode = named("mode", mode, MODES)
    dtype = np.result_type(volume, kernel)
    if (
        dtype.char not in "bBhHiIlLqQfdFD"
        or not volume.size
        or not kernel.size
        or volume.ndim != kernel.ndim
        or not volume.ndim
    ):
        return _in_scipy("choose_conv_method")(volume, kernel, mode)
    if mode == "valid" and must_swap(volume.shape, kernel.shape):
        volume, kernel = kernel, volume
    if dtype.kind in "iu":
        return "fft" if _rounds_exactly(volume, kernel, mode) else "direct"
    if volume.ndim > 2:
        direct = _taps_seconds(volume, kernel, mode, dtype)
        return "fft" if direct > _fft_seconds(volume.shape, kernel.shape, dtype) else "direct"
    if mode == "full" and kernel.size > volume.size:
        volume, kernel = kernel, volume
    padding, char = mode_padding(mode, kernel.shape, True), dtype.char.lower()
    plan, _ = plan_for(volume.shape, kernel.shape, char, padding, _TOLERANCE[char], "auto", threads.get_num_threads())
    return "fft" if plan.strategy.name == "fft" else "direct"


def correlation_lags(in1_len: int, in2_len: int, mode: str = "full") -> np.ndarray:
    """The lags that the outputs of a one-dimensional `correlate` stand for: a drop-in for SciPy's function.

    Parameters
    ----------
    in1_len, in2_len : int
        Lengths of the inputs.
    mode : {"full", "same", "valid"}
        As `correlate`.

    Returns
    -------
    ndarray of int
        ``lags[argmax(correlate(in1, in2, mode))]`` is how far in2 must be moved to match in1.

    Raises
    ------
    ValueError
        `mode` has no such meaning.

    Examples
    --------
    >>> import fastconv
    >>> fastconv.signal.correlation_lags(4, 3)
    array([-2, -1,  0,  1,  2,  3])
    """
    if mode not in MODES:
        raise ValueError(f"Mode {mode} is invalid: expected one of {', '.join(map(repr, MODES))}")
    if mode == "valid":
        return np.arange(in1_len - in2_len + 1) if in1_len >= in2_len else np.arange(in1_len - in2_len, 1)
    lags = np.arange(-in2_len + 1, in1_len)
    if mode == "full":
        return lags
    first = lags.size // 2 - in1_len // 2
    return lags[first : first + in1_len]
