"""The arguments that functions of ``scipy.signal`` share: their values, and our names for these."""

from __future__ import annotations

import functools

import numpy as np

from fastconv.engine import geometry


@functools.lru_cache(maxsize=geometry.REMEMBERED)
def mode_padding(mode: str, kernel: tuple[int, ...], flipped: bool) -> tuple[tuple[int, int], ...]:
    """`geometry.mode_padding`, remembered."""
    return geometry.mode_padding(mode, kernel, flipped)


MODES = {"full": "full", "same": "same", "valid": "valid"}

# The types that SciPy accepts, by the character of their dtype. Only SciPy has loops for the long ones.
_TYPES = "bBhHiIlLqQfdFDgG"


def named(name: str, value: str, names: dict[str, str]) -> str:
    """Our name for `value`."""
    try:
        return names[value]
    except KeyError:
        raise ValueError(f"{name}={value!r}: expected one of {', '.join(map(repr, names))}") from None
    except TypeError:
        raise TypeError(f"{name}={value!r}: expected a string, one of {', '.join(map(repr, names))}") from None


def common_type(image: np.ndarray, kernel: np.ndarray) -> np.dtype:
    """The type to which the images promote, if SciPy accepts it."""
    try:
        dtype = np.result_type(image, kernel)
        if dtype.char in _TYPES:
            return dtype
    except TypeError:  # there is no common type
        pass
    raise ValueError(
        f"in1 of {image.dtype}, in2 of {kernel.dtype}: expected types that promote to an integer, float32, float64, "
        "longdouble or a complex type; convert with astype"
    )


def must_swap(shape1: tuple[int, ...], shape2: tuple[int, ...]) -> bool:
    """Whether in2 contains in1; one must contain the other for "valid"."""
    if all(a >= b for a, b in zip(shape1, shape2, strict=True)):
        return False
    if all(a <= b for a, b in zip(shape1, shape2, strict=True)):
        return True
    raise ValueError(
        f"in1 of shape {shape1}, in2 of shape {shape2}: For 'valid' mode, one must be at least as large as the other "
        "in every dimension"
    )
