"""Output arrays, as SciPy names and checks them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from fastconv.ndimage.arguments import TYPES


def as_output(output: Any, input: np.ndarray, complex_output: bool = False) -> np.ndarray:
    """The array for the result: the caller's, or a new one of the type the caller names."""
    if output is None:
        dtype = np.promote_types(input.dtype, np.complex64) if complex_output else np.dtype(input.dtype.char)
    elif isinstance(output, (type, np.dtype, str)):
        dtype = np.dtype(output)
        if isinstance(output, str) and dtype.kind not in "iufc":
            raise RuntimeError(f"output={output!r}: output must have numeric dtype")
        if complex_output and dtype.kind != "c":
            if isinstance(output, str):
                raise RuntimeError(f"output={output!r}: output must have complex dtype")
            warnings.warn("promoting specified output dtype to complex", stacklevel=3)
            dtype = np.promote_types(dtype, np.complex64)
    else:
        output = np.asarray(output)
        if output.shape != input.shape:
            raise RuntimeError(f"output of shape {output.shape}: output shape not correct, expected {input.shape}")
        if complex_output and output.dtype.kind != "c":
            raise RuntimeError(f"output of {output.dtype}: output must have complex dtype")
        if not output.flags.writeable:
            raise ValueError("output is read-only: expected a writeable array")
        dtype = output.dtype
    if dtype.char not in TYPES:
        raise RuntimeError(f"output of {dtype}: array type not supported")
    return output if isinstance(output, np.ndarray) else np.empty(input.shape, dtype)
