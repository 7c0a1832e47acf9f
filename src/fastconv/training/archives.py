"""Arrays of ``.npz`` files that are not trusted: headers are read first, and values only where they are wanted."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import prod

import numpy as np

Reader = Callable[[str, Callable[[tuple[int, ...], np.dtype], str | None]], np.ndarray]
"""From the name of an array, and a function that says what is wrong with its shape and type, to the array."""


@contextmanager
def opened(path: str | os.PathLike[str]) -> Iterator[Reader]:
    """A reader of the arrays in the file `path`; whatever is wrong with the file is a ValueError that names it."""
    try:
        with zipfile.ZipFile(path) as file:
            yield lambda name, refuse: _read(file, name, refuse)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError) as error:
        raise ValueError(f"{os.fspath(path)}: {error}") from None


def _read(file: zipfile.ZipFile, name: str, refuse: Callable[[tuple[int, ...], np.dtype], str | None]) -> np.ndarray:
    try:
        member = file.open(f"{name}.npy")
    except KeyError:
        raise ValueError(f"{name} is missing") from None
    with member:
        if (version := np.lib.format.read_magic(member)) != (1, 0):  # others have headers of any length
            raise ValueError(f"{name} in version {version} of the format: expected (1, 0)")
        shape, in_fortran_order, dtype = np.lib.format.read_array_header_1_0(member)
        fault = "no plain numbers" if dtype.hasobject or dtype.subdtype else refuse(shape, dtype)
        if fault is not None or in_fortran_order:
            raise ValueError(f"{name} of shape {shape} and dtype {dtype}: {fault or 'expected C order'}")
        nbytes = prod(shape) * dtype.itemsize
        values = member.read(nbytes)
        if len(values) != nbytes or member.read(1):
            raise ValueError(f"{name}: expected {nbytes} bytes of values")
    return np.frombuffer(values, dtype).reshape(shape)
