"""Kernels compiled by Numba, looked up by name: in this process, then on disk, and compiled if found in neither.

A kernel is named by the function that makes its loop and by constants: first a type, then plain values. Together with
everything else that determines its code, they are its key on disk (store.py). It is loaded from there without
the modules that define kernels, and so without Numba, whose import alone takes half a second.

A loop becomes a native function with the signature documented in `fastconv.kernels.threads`: there is no Numba
dispatch, unboxing or threading layer between a call and its loop. Pointers are indexed directly, without bounds checks
or wrap-around of negative indices, so that LLVM sees plain addresses that it can vectorise.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from types import ModuleType
from typing import NamedTuple

import numpy as np

from fastconv.kernels.jit import executable
from fastconv.kernels.jit.target import cpu_facts
from fastconv.kernels.shield import imported, shielded

Constant = bool | int | str

_Kernel = tuple[str, np.dtype, *tuple[Constant, ...]]


class Compiled(NamedTuple):
    """A kernel that this process has loaded: which one, how long it took, and whether it was on disk."""

    name: str
    seconds: float
    cached: bool


COMPILED: list[Compiled] = []

_OBJECT_FILE = b"\x7fELF"

_addresses: dict[_Kernel, int] = {}


def tile_kernel(name: str, dtype: np.dtype, *constants: Constant) -> int:
    """The address of a tile kernel on arrays of `dtype`.

    `name` is ``module:function`` in `fastconv.kernels.jit`; the function makes the loop from `dtype` and `constants`.
    """
    kernel: _Kernel = name, dtype, *constants
    address = _addresses.get(kernel)
    if address is None:
        address = _found(kernel) or shielded(lambda: _built(kernel))
    return address


def compiled(loop: Callable[..., None], dtype: np.dtype) -> int:
    """The address of a tile kernel ``loop(arrays, ints, scalars, begin, end, worker)``, which is not stored on disk."""
    return _loaded(shielded(lambda: imported("fastconv.kernels.jit.image").compiled(loop, dtype)))


def _store() -> ModuleType:
    return imported("fastconv.kernels.jit.store")


def _found(kernel: _Kernel) -> int | None:
    """The address of a kernel loaded from disk."""
    begin = time.perf_counter()
    code = _store().load(kernel[0], _facts(kernel))
    return None if code is None else _noted(kernel, code, begin, cached=True)


def _built(kernel: _Kernel) -> int:
    """The address of a kernel, which is compiled now unless another thread has done so meanwhile."""
    if kernel in _addresses:
        return _addresses[kernel]
    begin = time.perf_counter()
    name, dtype, *constants = kernel
    module, function = name.split(":")
    loop = getattr(imported(f"fastconv.kernels.jit.{module}"), function)(dtype, *constants)
    code = imported("fastconv.kernels.jit.image").compiled(loop, dtype)
    if _numba_agrees():
        _store().save(kernel[0], _facts(kernel), code)
    return _noted(kernel, code, begin, cached=False)


def _noted(kernel: _Kernel, code: bytes, begin: float, cached: bool) -> int:
    address = _addresses[kernel] = _loaded(code)
    COMPILED.append(Compiled(_text(kernel), time.perf_counter() - begin, cached))
    return address


def _loaded(code: bytes) -> int:
    if code.startswith(_OBJECT_FILE):
        return int(imported("fastconv.kernels.jit.image").load_object(code))
    return executable.load(code)


def _text(kernel: _Kernel) -> str:
    name, dtype, *constants = kernel
    return f"{name}({', '.join([dtype.name, *map(repr, constants)])})"


def _facts(kernel: _Kernel) -> tuple[object, ...]:
    """Everything that determines a kernel's code, except the sources and their compilers."""
    return (_text(kernel), cpu_facts())


def _numba_agrees() -> bool:
    """Whether Numba compiles for the CPU in the key: a configuration file may name another."""
    config = imported("numba.core.config")
    return all(getattr(config, name) == os.environ.get(f"NUMBA_{name}") for name in ("CPU_NAME", "CPU_FEATURES"))
