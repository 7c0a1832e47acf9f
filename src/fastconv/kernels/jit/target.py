"""The CPU that kernels are compiled for, determined without loading a compiler.

Numba compiles for the CPU it runs on, unless ``NUMBA_CPU_NAME`` or a related setting says otherwise.
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
    """Size of a vector register in bytes. Vectors are never wider: LLVM would split them, and then spill."""
    from fastconv.kernels import cpu  # raises for a bad FASTCONV_ISA, so it is imported by the first call

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
    """Everything that determines the instructions to which a kernel is compiled."""
    return (*host_facts(), *(os.environ.get(name) for name in _SETTINGS))


def host_facts() -> tuple[object, ...]:
    """What distinguishes this CPU from others."""
    from fastconv.kernels import cpu

    return (os.uname().machine, *cpu.available_isas(), *(cpu.cpuid() or _proc_cpuinfo()))


def _proc_cpuinfo() -> tuple[str, ...]:
    """Linux' description of the first processor, without its clock rate."""
    try:
        with open("/proc/cpuinfo", errors="replace") as file:
            first = file.read(4096).split("\n\n", 1)[0]
    except OSError:
        return ()
    return tuple(line for line in first.splitlines() if "MHz" not in line)
