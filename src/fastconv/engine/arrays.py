"""Which arrays a call accepts, and how they become arrays that kernels can read.

Types are returned as NumPy's own object for each native type: comparing it with itself is free, comparing it with
another, equal one takes a microsecond.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from fastconv.errors import GeometryError

# NumPy computes or copies this much in less than about 50 ms.
_PIECE_BYTES = 64 << 20

_FLOATS: dict[str, np.dtype] = {"f": np.dtype("f"), "d": np.dtype("d")}
_ORDERED = {char: np.dtype(char) for char in "bBhHiIlLqQfd"}

_Function = TypeVar("_Function", bound=Callable[..., Any])


@functools.cache
def type_name(dtype: np.dtype) -> str:
    """``dtype.name``, which NumPy composes anew each time."""
    return str(dtype.name)


def named_input(function: _Function) -> _Function:
    """Let `function` accept its argument `x` under torch's name, ``input=``, as well.

    Examples
    --------
    >>> @named_input
    ... def double(x):
    ...     return 2 * x
    >>> double(1), double(x=2), double(input=3)
    (2, 4, 6)
    """

    @functools.wraps(function)
    def either(*args: Any, **kwargs: Any) -> Any:
        if "input" in kwargs:
            if "x" in kwargs:
                raise TypeError(f"{function.__name__}() got both x and input, which are the same argument")
            kwargs["x"] = kwargs.pop("input")
        return function(*args, **kwargs)

    return either  # type: ignore[return-value]


def as_array(name: str, value: npt.ArrayLike) -> np.ndarray:
    """`value` as a plain ndarray. A masked array raises, since its mask would be ignored."""
    if type(value) is np.ndarray:
        return value
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name} is a masked array: expected an ndarray; fill it first with {name}.filled(...)")
    try:
        return np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} cannot be converted to an array: {error}") from None


def common_float(**arrays: np.ndarray | None) -> np.dtype:
    """The type to which the arrays promote by NumPy's rules, which must be float32 or float64."""
    chars = {array.dtype.char for array in arrays.values() if array is not None}
    try:
        char = chars.pop() if len(chars) == 1 else np.result_type(*chars).char
    except TypeError:  # there is no common type
        char = "O"
    if char not in _FLOATS:
        types = ", ".join(f"{name} {array.dtype}" for name, array in arrays.items() if array is not None)
        raise TypeError(f"expected float32 or float64, got {types}; convert with astype")
    return _FLOATS[char]


def ordered_dtype(name: str, array: np.ndarray) -> np.dtype:
    """The native type of `array`, which must be one that kernels can order: an integer, float32 or float64."""
    dtype = _ORDERED.get(array.dtype.char)
    if dtype is None:
        raise TypeError(
            f"{name} of dtype {array.dtype}: expected float32, float64 or an integer type; convert with astype"
        )
    return dtype


def as_operand(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """`array` itself if a kernel can read it through its strides, otherwise a copy.

    Other types, swapped bytes, and addresses or strides that are not multiples of the item size need a copy.
    """
    flags = array.flags
    if array.dtype is dtype and flags.c_contiguous and flags.aligned:
        return array  # the common case: a small convolution would feel the tests below
    if (
        (array.dtype != dtype or not array.dtype.isnative)
        or not flags.aligned
        or any(stride % array.itemsize for stride in array.strides)
    ):
        return _copied(array, np.empty_like(array, dtype, subok=False))
    return array


def as_contiguous(array: np.ndarray) -> np.ndarray:
    """`array` itself if it is C-contiguous, otherwise a C-contiguous copy."""
    if array.flags.c_contiguous:
        return array
    return array.copy("C") if array.nbytes <= _PIECE_BYTES else _copied(array, np.empty(array.shape, array.dtype))


def _copied(array: np.ndarray, out: np.ndarray) -> np.ndarray:
    for piece in pieces(out):
        out[piece] = array[piece]
    return out


def pieces(array: np.ndarray) -> Iterator[tuple[Any, ...]]:
    """Indices of parts that together cover a large array: Python notices Ctrl-C only between two calls of NumPy.

    Each part is contiguous in memory. With huge pages, a column of a large new array would touch all of them.
    """
    if array.nbytes <= _PIECE_BYTES:
        yield (...,)
        return
    axis = max(range(array.ndim), key=lambda a: (array.shape[a] > 1, abs(array.strides[a])))
    step = max(1, _PIECE_BYTES * array.shape[axis] // array.nbytes)
    for begin in range(0, array.shape[axis], step):
        index: list[Any] = [slice(None)] * array.ndim
        index[axis] = slice(begin, begin + step)
        for rest in pieces(array[tuple(index)]):
            yield tuple(index) if rest == (...,) else (*rest[:axis], index[axis], *rest[axis + 1 :])


def checked_out(out: Any, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """`out`, once it is known to have the shape and type of the result and to be writeable."""
    if not isinstance(out, np.ndarray) or isinstance(out, np.ma.MaskedArray):
        raise TypeError(f"out={type(out).__name__}: expected an ndarray")
    if out.dtype != dtype:
        raise TypeError(f"out of dtype {out.dtype}: expected {dtype}")
    if out.shape != shape:
        raise GeometryError(f"out of shape {out.shape}: expected {shape}")
    if not out.flags.writeable:
        raise ValueError("out is read-only: expected a writeable array")
    return out


def is_target(out: np.ndarray, *operands: np.ndarray | None) -> bool:
    """Whether kernels can write into `out`: C-contiguous, aligned, writeable, native, and apart from all operands.

    Otherwise NumPy stores the result, and by its rules a read-only array raises ``ValueError``.
    """
    flags = out.flags
    if not (flags.carray and out.dtype.isnative):  # carray: contiguous, aligned and writeable
        return False
    # A generator would take a third of a microsecond longer.
    for operand in operands:  # noqa: SIM110
        if operand is not None and np.may_share_memory(out, operand):
            return False
    return True


def is_channels_last(images: np.ndarray) -> bool:
    """Whether a batch lies in memory with channels last: the channels of a pixel are neighbours, and pixels are not."""
    _, channels, height, width = images.shape
    _, plane, _, pixel = images.strides
    return channels > 1 and height * width > 1 and plane == images.itemsize and pixel >= channels * plane
