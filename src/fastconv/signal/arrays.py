"""Convolution and correlation of arrays of any number of axes, directly or by FFT.

Everything becomes one cross-correlation with the kernel flipped. Problems of one or two axes go to the planner, whose
strategies are direct sums, separable passes and overlap-save FFTs. Where an input has one sample along an axis, the
planes across it are convolved one by one. More axes are summed directly or passed to SciPy's FFT, by a model of what
each costs. Types without a kernel here (float16, longdouble, object) are left to SciPy.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from math import log, log2, prod
from typing import Any

import numpy as np
import numpy.typing as npt

from fastconv.engine import planner
from fastconv.engine.arrays import as_array, as_operand
from fastconv.engine.correlation import correlate as correlate_operands
from fastconv.engine.correlation import is_finite, output_extents, plan_for
from fastconv.engine.geometry import REMEMBERED
from fastconv.engine.replay import constant, repeatable, repeated, unrepeatable
from fastconv.engine.timing import Contender, interleave
from fastconv.kernels import threads
from fastconv.kernels.shield import imported
from fastconv.signal.names import MODES, mode_padding, must_swap, named
from fastconv.signal.nonfinite import correlate_overlaps

_METHODS = {"auto": "auto", "direct": "direct", "fft": "fft"}

# The tolerance where SciPy's "auto" transforms: the rounding of an FFT, for float32 the planner's own default.
_TOLERANCE = {"f": None, "F": None, "d": 1e-12, "D": 1e-12}

# SciPy's cost model by number of axes (one or more) and mode: seconds per operation of three transforms and of direct
# sums, and the offset it adds to the latter. "longer" is mode "same" on one axis with a longer in2.
_SCIPY_SECONDS = {
    (1, "full"): (1.7649070e-9, 2.1414831e-10, -1e-3),
    (1, "same"): (3.2646654e-9, 2.8478277e-10, -1e-3),
    (1, "longer"): (3.21635404e-9, 1.1773253e-8, -1e-5),
    (1, "valid"): (1.89095737e-9, 2.1364985e-10, -1e-3),
    (2, "full"): (1.99817e-9, 1.66174e-8, -1e-4),
    (2, "same"): (2.04735e-9, 1.55367e-8, -1e-4),
    (2, "valid"): (1.85927e-9, 2.11242e-8, -1e-4),
}

# Planes are computed one by one if they have at least this many samples.
_LARGE_PLANE = 4096

# Products per second of sums over more than two axes (kernels/jit/taps.py), by the character of the type, and of
# integers over one or two axes, by the bytes of a value; and operations per second of SciPy's FFT.
_INTEGERS_A_SECOND = {1: 4e10, 2: 4e10, 4: 2e10}
_TAPS_A_SECOND = {"f": 5e9, "d": 2.5e9}
_OTHER_TAPS_A_SECOND = 1e9
_FFT_FLOPS = 3e9


@repeated()
def convolve(
    in1: npt.ArrayLike, in2: npt.ArrayLike, mode: str = "full", method: str = "auto", *, tolerance: float | None = None
) -> np.ndarray:
    """Convolution of arrays with equally many axes: a drop-in for `scipy.signal.convolve`.

    ``full[r, ...] = sum_{i, ...} in1[r - i, ...] * in2[i, ...]``

    Parameters
    ----------
    in1, in2 : array_like
        Arrays with the same number of axes. Types promote as in NumPy; integers wrap around, and bool means "any of".
    mode : {"full", "same", "valid"}
        "full": every output that sees both inputs; "same": as large as in1, centred; "valid": only the outputs that
        see nothing past an edge, with the inputs swapped if in2 is the larger one.
    method : {"auto", "direct", "fft"}
        Use the cheapest method, sums of products, or an FFT.
    tolerance : float, optional
        Bound on the expected error of floating-point results, in standard deviations of the output. Within it, "auto"
        and "direct" may use FFTs and sums of outer products, too; 0 allows only sums of products. See the notes for
        the default.

    Returns
    -------
    ndarray
        The result, in the type to which the inputs promote; a scalar for two scalars.

    Raises
    ------
    ValueError
        The inputs differ in their number of axes; the mode is "valid" and neither input contains the other; `mode`,
        `method` or `tolerance` has no such value; an input is empty and the method is direct.
    TypeError
        An input is a masked array, or `mode` or `method` is not a string.

    Notes
    -----
    "direct" is componentwise accurate: each output errs by a few roundings of the sum of its own products' magnitudes,
    so zeros are zeros and whole numbers below 2^24 (float64: 2^53) are exact. So is "auto" wherever SciPy's "auto" sums
    directly. Where SciPy transforms, the error is bounded normwise, for the output as a whole: an expected 1e-5
    (float32) or 1e-12 (float64) standard deviations. "fft" is normwise. Integers are always exact.

    NaN and infinity reach only the outputs that see them, under "fft", too, for arrays of one or two axes (SciPy's FFT
    spreads them everywhere). Nothing lies past the edges: a kernel's NaN does not count there.

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
    return _convolve(volume, kernel, mode, method, tolerance, "convolve", (volume, kernel))


@repeated()
def correlate(
    in1: npt.ArrayLike, in2: npt.ArrayLike, mode: str = "full", method: str = "auto", *, tolerance: float | None = None
) -> np.ndarray:
    """Cross-correlation of arrays with equally many axes: a drop-in for `scipy.signal.correlate`.

    ``full[k, ...] = sum_{l, ...} in1[l, ...] * conj(in2[l - k + K - 1, ...])``

    Parameters
    ----------
    in1, in2, mode, method, tolerance
        As `convolve`, and as accurate.

    Returns
    -------
    ndarray
        The result, in the type to which the inputs promote.

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
    reverse = reverse.conj() if kernel.dtype.kind == "c" else reverse
    return _convolve(volume, reverse, mode, method, tolerance, "correlate", (volume, kernel))


def _convolve(
    volume: np.ndarray,
    kernel: np.ndarray,
    mode: str,
    method: str,
    tolerance: float | None,
    name: str,
    inputs: Sequence[np.ndarray],
) -> np.ndarray:
    """Convolve by SciPy's rules; what only SciPy supports goes to its function `name`, with the original `inputs`."""
    if volume.ndim != kernel.ndim:
        raise ValueError(
            f"in1 of shape {volume.shape}, in2 of shape {kernel.shape}: volume and kernel should have the same "
            "dimensionality"
        )
    tolerance = planner.checked_tolerance(tolerance)
    if volume.ndim == 0:
        product: np.ndarray = volume * kernel
        return product
    mode, method = named("mode", mode, MODES), named("method", method, _METHODS)
    if flat := _flat_axes(volume, kernel):
        volume, kernel, *inputs = (array.squeeze(flat) for array in (volume, kernel, *inputs))
        return np.expand_dims(_convolve(volume, kernel, mode, method, tolerance, name, inputs), flat)
    dtype = np.result_type(volume, kernel)
    if dtype.char not in "?bBhHiIlLqQfdFD" or not volume.size or not kernel.size:
        result: np.ndarray = _in_scipy(name)(*inputs, mode, method)
        return result
    if mode == "valid" and must_swap(volume.shape, kernel.shape):
        unrepeatable()
        volume, kernel = kernel, volume
    if method == "fft" or (dtype.kind not in "fc" and method == "auto" and _rounds_exactly(volume, kernel, mode)):
        out = _by_fft("fftconvolve", volume, kernel, mode, None)
        with np.errstate(invalid="ignore"):
            return (out if dtype.kind in "fc" else np.rint(out)).astype(dtype, copy=False)
    if dtype.kind == "b":
        counts = _convolve_numbers(volume.astype(np.uint8), kernel.astype(np.uint8), mode, np.dtype(np.int64), 0.0)
        return counts > 0
    if method == "auto" and _transforms(volume, kernel, mode, dtype, tolerance):
        return _by_fft("fftconvolve", volume, kernel, mode, None)
    volume, kernel = (array.astype(np.uint8) if array.dtype.kind == "b" else array for array in (volume, kernel))
    if tolerance is None:
        tolerance = _default_tolerance(volume, kernel, mode, dtype) if method == "auto" else 0.0
    return _convolve_numbers(volume, kernel, mode, dtype, tolerance)


def _flat_axes(volume: np.ndarray, kernel: np.ndarray) -> tuple[int, ...]:
    """Axes along which both inputs, and so the output in every mode, have one sample: these can be dropped."""
    if 1 not in volume.shape or 1 not in kernel.shape:
        return ()
    flat = [axis for axis, pair in enumerate(zip(volume.shape, kernel.shape, strict=True)) if pair == (1, 1)]
    return tuple(flat) if len(flat) < volume.ndim else ()


def _default_tolerance(volume: np.ndarray, kernel: np.ndarray, mode: str, dtype: np.dtype) -> float | None:
    """The tolerance of "auto": zero where SciPy's choose_conv_method would sum directly."""
    if dtype.kind not in "fc" or not _scipy_transforms(volume.shape, kernel.shape, mode):
        return 0.0
    return _TOLERANCE[dtype.char]


@functools.lru_cache(maxsize=REMEMBERED)
def _scipy_transforms(shape1: tuple[int, ...], shape2: tuple[int, ...], mode: str) -> bool:
    """Whether SciPy estimates that an FFT of floating-point arrays of these shapes takes less time than direct sums."""
    size1, size2 = prod(shape1), prod(shape2)
    if len(shape1) == 1:
        products = {
            "full": size1 * size2,
            "same": size1 * size2 - (0 if size1 < size2 else size2 // 2 * ((size2 + 1) // 2)),
            "valid": (abs(size1 - size2) + 1) * min(size1, size2),
        }[mode]
    elif mode == "same":
        products = size1 * size2
    else:
        outputs = output_extents(shape1, shape2, mode_padding(mode, shape2, True))
        products = min(size1, size2) * prod(outputs)
    points = _fft_points(shape1, shape2)
    longer = len(shape1) == 1 and mode == "same" and size2 > size1
    transform, product, offset = _SCIPY_SECONDS[min(2, len(shape1)), "longer" if longer else mode]
    return transform * 3 * points * log(points) < product * products + offset


def _transforms(volume: np.ndarray, kernel: np.ndarray, mode: str, dtype: np.dtype, tolerance: float | None) -> bool:
    """Whether "auto" passes floating-point arrays of more than two axes to SciPy's FFT."""
    if dtype.kind not in "fc" or volume.ndim <= 2 or _planar(volume.shape, kernel.shape):
        return False
    allowed = _scipy_transforms(volume.shape, kernel.shape, mode) if tolerance is None else tolerance > 0
    return allowed and _taps_seconds(volume, kernel, mode, dtype) > _fft_seconds(volume.shape, kernel.shape, dtype)


def _in_scipy(name: str) -> Callable[..., Any]:
    """SciPy's function, from the module that defines it: scipy.signal's own names may have been replaced by ours."""
    function: Callable[..., Any] = getattr(imported("scipy.signal._signaltools"), name)
    return function


def _convolve_numbers(
    volume: np.ndarray, kernel: np.ndarray, mode: str, dtype: np.dtype, tolerance: float | None, strategy: str = "auto"
) -> np.ndarray:
    """Convolve by a strategy, with the inputs swapped where that costs less."""
    if all(1 in pair for pair in zip(volume.shape, kernel.shape, strict=True)):  # no output is a sum
        full: np.ndarray = np.multiply(volume, kernel, dtype=dtype)
        begins = [(k - 1) // 2 if mode == "same" else 0 for k in kernel.shape]
        shape = output_extents(volume.shape, kernel.shape, mode_padding(mode, kernel.shape, True))
        if mode == "valid":
            begins = [min(k, v) - 1 for v, k in zip(volume.shape, kernel.shape, strict=True)]
        kept = full[tuple(slice(b, b + n) for b, n in zip(begins, shape, strict=True))]
        return kept if kept.shape == full.shape else kept.copy()
    if volume.ndim > 2 and _planar(volume.shape, kernel.shape):
        return _convolve_planes(volume, kernel, mode, dtype, tolerance, strategy)
    if mode == "full" and kernel.size > volume.size:
        unrepeatable()
        volume, kernel = kernel, volume
    flipped = constant(np.array(kernel[(slice(None, None, -1),) * kernel.ndim], dtype, order="C"))
    padding = mode_padding(mode, kernel.shape, True)
    if dtype.kind in "iu" or mode == "valid" or is_finite(flipped):
        return repeatable(correlate_operands(volume, flipped, padding, dtype, tolerance=tolerance, strategy=strategy))
    # A named strategy would gain nothing: it would have to leave most of the outputs to plain sums.
    run = functools.partial(correlate_operands, padding=padding)
    of_parts = functools.partial(run, dtype=flipped.real.dtype, tolerance=tolerance)
    counting = functools.partial(run, dtype=np.dtype(np.float64), tolerance=_TOLERANCE["d"])
    return correlate_overlaps(as_operand(volume, dtype), flipped, of_parts, counting)


def _planar(shape1: tuple[int, ...], shape2: tuple[int, ...]) -> bool:
    """Whether arrays of more axes are stacks of large planes or lines: an input has one sample along all but two."""
    extents = [a + b - 1 for a, b in zip(shape1, shape2, strict=True) if 1 not in (a, b)]
    return 1 <= len(extents) <= 2 and prod(extents) >= _LARGE_PLANE


def _convolve_planes(
    volume: np.ndarray, kernel: np.ndarray, mode: str, dtype: np.dtype, tolerance: float | None, strategy: str
) -> np.ndarray:
    """Convolve plane by plane along the axes where an input has one sample."""
    out = np.empty(output_extents(volume.shape, kernel.shape, mode_padding(mode, kernel.shape, True)), dtype)
    pairs = list(zip(volume.shape, kernel.shape, strict=True))
    if mode == "same":  # where the volume has one sample, so has the output, and it sees only one of the kernel's
        kernel = kernel[tuple(slice((k - 1) // 2, (k - 1) // 2 + 1) if n == 1 else slice(None) for n, k in pairs)]
    beside = [axis for axis, pair in enumerate(pairs) if 1 in pair]
    volumes, kernels, planes = (np.moveaxis(array, beside, range(len(beside))) for array in (volume, kernel, out))

    def plane(arrays: np.ndarray, at: tuple[int, ...]) -> np.ndarray:
        found: np.ndarray = arrays[tuple(min(index, n - 1) for index, n in zip(at, arrays.shape, strict=False))]
        return found

    for at in np.ndindex(planes.shape[: len(beside)]):
        planes[at] = _convolve_numbers(plane(volumes, at), plane(kernels, at), mode, dtype, tolerance, strategy)
    return out


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
    if dtype.kind in "iu" and volume.ndim <= 2:
        rate = _INTEGERS_A_SECOND.get(dtype.itemsize, _OTHER_TAPS_A_SECOND)
    else:
        rate = _TAPS_A_SECOND.get(dtype.char, _OTHER_TAPS_A_SECOND)
    return outputs * kernel.size / rate


def _rounds_exactly(volume: np.ndarray, kernel: np.ndarray, mode: str) -> bool:
    """Whether an FFT in float64, which costs less than sums of these integers, is certain to err by less than a half.

    Its error is at most a small multiple of unit roundoff, log2 n and the product of both inputs' norms (Higham,
    Accuracy and Stability, 2002, theorem 24.2); the factor 8 leaves room.
    """
    if volume.dtype.kind not in "iu" or kernel.dtype.kind not in "iu":
        return False
    sums = _taps_seconds(volume, kernel, mode, np.result_type(volume, kernel))
    if sums < _fft_seconds(volume.shape, kernel.shape, np.dtype(np.float64)):
        return False
    unrepeatable()
    norms = prod(float(np.linalg.norm(array.astype(np.float64).ravel())) for array in (volume, kernel))
    return 8 * float(np.finfo(np.float64).eps) * log2(_fft_points(volume.shape, kernel.shape) + 1) * norms < 0.25


@repeated()
def fftconvolve(
    in1: npt.ArrayLike, in2: npt.ArrayLike, mode: str = "full", axes: int | Sequence[int] | None = None
) -> np.ndarray:
    """Convolution by FFT: a drop-in for `scipy.signal.fftconvolve`.

    Arrays of one or two axes, convolved along all of them, are cut into tiles (overlap-save) if that is cheaper; all
    others are SciPy's.

    Parameters
    ----------
    in1, in2 : array_like
        Arrays with the same number of axes; integers are computed in float64.
    mode : {"full", "same", "valid"}
        As `convolve`.
    axes : int, sequence of int, or None
        Axes along which to convolve, by default all. Along the others, the extents must be equal, or one of them 1.

    Returns
    -------
    ndarray
        Floating point or complex.

    Raises
    ------
    ValueError
        As `convolve`; `axes` is empty, repeated or out of range, or the other axes do not fit.

    Notes
    -----
    The error is bounded normwise, as for every FFT: every output of a tile errs by a few roundings of the tile's
    largest values. `convolve` with ``method="direct"`` is accurate output by output. Scratch memory has no limit of its
    own; it is about as much as SciPy's transforms take.

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


@repeated()
def oaconvolve(
    in1: npt.ArrayLike, in2: npt.ArrayLike, mode: str = "full", axes: int | Sequence[int] | None = None
) -> np.ndarray:
    """Convolution by FFT, block by block: a drop-in for `scipy.signal.oaconvolve`.

    The same as `fftconvolve`, which also cuts its inputs into tiles, and as accurate; only what is left to SciPy goes
    to its `oaconvolve`.

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
    if axes is None and volume.ndim == kernel.ndim and (flat := _flat_axes(volume, kernel)):
        return np.expand_dims(_by_fft(name, volume.squeeze(flat), kernel.squeeze(flat), mode, None), flat)
    kinds = volume.dtype.kind + kernel.dtype.kind
    dtype = np.result_type(volume, kernel, *(np.float64 for kind in kinds if kind in "iu"))
    if (
        axes is not None
        or not set(kinds) <= set("iufc")
        or dtype.char not in "fdFD"
        or not isinstance(mode, str)
        or mode not in MODES
        or not _tiles(volume, kernel, mode)
    ):
        result: np.ndarray = _in_scipy(name)(volume, kernel, mode, axes)
        return result
    if mode == "valid" and must_swap(volume.shape, kernel.shape):
        unrepeatable()
        volume, kernel = kernel, volume
    if dtype.kind == "c":  # few complex numbers are summed as they are
        return _convolve_numbers(volume, kernel, mode, dtype, _TOLERANCE[dtype.char])
    return _convolve_numbers(volume, kernel, mode, dtype, None, "fft")


def _tiles(volume: np.ndarray, kernel: np.ndarray, mode: str) -> bool:
    """Whether arrays of these shapes are cut into tiles here, rather than passed to SciPy's FFT."""
    if volume.ndim != kernel.ndim or not volume.size or not kernel.size:
        return False
    pairs = list(zip(volume.shape, kernel.shape, strict=True))
    if all(1 in pair for pair in pairs):
        return False  # SciPy multiplies, in the type of the inputs
    # Along an axis where one input has a single sample, SciPy accepts either as the longer one.
    nested = mode != "valid" or all(n >= k for n, k in pairs) or all(n <= k for n, k in pairs)
    return nested and (volume.ndim <= 2 or _planar(volume.shape, kernel.shape))


def choose_conv_method(
    in1: npt.ArrayLike, in2: npt.ArrayLike, mode: str = "full", measure: bool = False
) -> str | tuple[str, dict[str, float]]:
    """The method that `convolve` and `correlate` use by default: a drop-in for `scipy.signal.choose_conv_method`.

    Parameters
    ----------
    in1, in2, mode
        As `convolve`.
    measure : bool
        Time both methods instead of estimating.

    Returns
    -------
    str
        "direct" or "fft"; "direct" includes separable passes.
    dict
        Only with `measure`: the seconds that each method took.

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
        chosen: str | tuple[str, dict[str, float]] = _in_scipy("choose_conv_method")(volume, kernel, mode)
        return chosen
    if flat := _flat_axes(volume, kernel):
        volume, kernel = volume.squeeze(flat), kernel.squeeze(flat)
    if mode == "valid" and must_swap(volume.shape, kernel.shape):
        volume, kernel = kernel, volume
    if dtype.kind in "iu":
        return "fft" if _rounds_exactly(volume, kernel, mode) else "direct"
    if volume.ndim > 2:
        return "fft" if _transforms(volume, kernel, mode, dtype, None) else "direct"
    tolerance = _default_tolerance(volume, kernel, mode, dtype)
    if mode == "full" and kernel.size > volume.size:
        volume, kernel = kernel, volume
    padding, char = mode_padding(mode, kernel.shape, True), dtype.char.lower()
    plan = plan_for(volume.shape, kernel.shape, char, padding, "zeros", tolerance, "auto", threads.get_num_threads())
    ((_, part, *_),) = plan.parts
    return "fft" if part.strategy.name == "fft" else "direct"


def correlation_lags(in1_len: int, in2_len: int, mode: str = "full") -> np.ndarray:
    """The lags of the outputs of a one-dimensional `correlate`: a drop-in for `scipy.signal.correlation_lags`.

    Parameters
    ----------
    in1_len, in2_len : int
        Lengths of the inputs.
    mode : {"full", "same", "valid"}
        As `correlate`.

    Returns
    -------
    ndarray of int
        ``lags[argmax(correlate(in1, in2, mode))]`` is how far in2 must be shifted to match in1.

    Raises
    ------
    ValueError
        `mode` has no such value.

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
