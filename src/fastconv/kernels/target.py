"""The CPU that kernels are compiled for, found out without loading a compiler.

Numba compiles for the CPU that it runs on, unless ``NUMBA_CPU_NAME`` and its like say otherwise.
"""

from __future__ import annotations

import functools
import os

import numpy as np

from fastconv.kernels.shield import imported, shielded

_CPU_SETTINGS = ("NUMBA_CPU_NAME", "NUMBA_CPU_FEATURES", "NUMBA_ENABLE_AVX")
_SETTINGS = (*_CPU_SETTINGS, "NUMBA_OPT")


@functools.cache
def register_bytes() -> int:
    """Bytes of a vector register. Vectors are never wider: LLVM would split them, and then spill."""
    from fastconv.kernels import cpu  # which refuses a bad FASTCONV_ISA: at the first call, not at import

    if not any(name in os.environ for name in _CPU_SETTINGS):
        return {"avx512": 64, "avx2": 32}.get(cpu.available_isas()[0], 16)
    registry = imported("numba.core.registry")
    _, _, features = shielded(lambda: registry.cpu_target.target_context.codegen().magic_tuple())
    listed = features.split(",")
    return 64 if "+avx512f" in listed else 32 if "+avx2" in listed else 16


def lanes(dtype: np.dtype) -> int:
    """How many values of `dtype` a vector holds."""
    return register_bytes() // dtype.itemsize


@functools.cache
def cpu_facts() -> tuple[object, ...]:
    """All that decides which instructions a kernel is compiled to."""
    from fastconv.kernels import cpu

    settings = [os.environ.get(name) for name in _SETTINGS]
    return (os.uname().machine, *cpu.available_isas(), *(cpu.cpuid() or _proc_cpuinfo()), *settings)


def _proc_cpuinfo() -> tuple[str, ...]:
    """What Linux says of the first processor, but for its clock."""
    try:
        with open("/proc/cpuinfo", errors="replace") as file:
            first = file.read(4096).split("\n\n", 1)[0]
    except OSError:
        return ()
    return tuple(line for line in first.splitlines() if "MHz" not in line)
