"""SciPy's BLAS for tile kernels: its gemm by address, and one thread to a call.

Tiles already run on fastconv's own threads; a BLAS that opened its own inside each would fight with them.
"""

from __future__ import annotations

import ctypes
import functools
import os
import threading
from collections.abc import Callable

from fastconv.kernels.shield import imported

_LIMITS = ("scipy_openblas_set_num_threads", "scipy_openblas_set_num_threads64_", "openblas_set_num_threads")
_READS = tuple(name.replace("_set_", "_get_") for name in _LIMITS)


@functools.cache
def gemm_address(dtype: str) -> int:
    """The native address of BLAS' ``sgemm`` or ``dgemm``, as SciPy exports it to compiled code."""
    capsule = imported("scipy.linalg.cython_blas").__pyx_capi__[{"float32": "sgemm", "float64": "dgemm"}[dtype]]
    name = ctypes.pythonapi.PyCapsule_GetName
    name.restype, name.argtypes = ctypes.c_char_p, [ctypes.py_object]
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    return pointer(capsule, name(capsule))


@functools.cache
def _controls() -> tuple[Callable[[], int], Callable[[int], None]] | None:
    """How many threads SciPy's BLAS uses, and how to change it; ``None`` for a BLAS without such a door."""
    # The handle finds the symbols of the libraries that the module was linked with.
    library = ctypes.CDLL(imported("scipy.linalg._fblas").__file__)
    for setter, getter in zip(_LIMITS, _READS, strict=True):
        if hasattr(library, setter) and hasattr(library, getter):
            return getattr(library, getter), getattr(library, setter)
    return None


class single_threaded:
    """Inside this ``with`` block BLAS computes on the calling thread alone.

    The limit is the process': the first of several threads inside sets it, the last restores it.
    """

    _lock = threading.Lock()
    _inside = 0
    _before = 1

    def __enter__(self) -> None:
        cls = type(self)
        controls = _controls()
        with cls._lock:
            cls._inside += 1
            if cls._inside == 1 and controls is not None:
                get, set_ = controls
                cls._before = get()
                if cls._before > 1:
                    set_(1)

    def __exit__(self, *exception: object) -> None:
        cls = type(self)
        with cls._lock:
            cls._inside -= 1
            if cls._inside == 0 and cls._before > 1:
                _controls()[1](cls._before)


def _after_fork() -> None:
    """The threads that were inside, or held the lock, do not exist in the child."""
    single_threaded._lock = threading.Lock()
    single_threaded._inside = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
