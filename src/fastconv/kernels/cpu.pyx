"""Properties of the CPU: instruction sets, caches, and the measured multiply-add peak."""

import os
import time

from libc.stdint cimport int64_t
from libc.string cimport strcmp

cdef extern from *:
    r"""
    /* Tables from the most to the least capable; NULL where this CPU lacks the instructions. */
    #include "simd/simd.h"
    #define COUNT(isa, runs) +1
    enum { SIMD_LEVELS = 0 ISAS(COUNT) };
    static const simd_kernels *simd_level(int level)
    {
    #if defined(__x86_64__)
        __builtin_cpu_init();
    #endif
    #define LEVEL(isa, runs) \
        if (level-- == 0)    \
            return (runs) ? &simd_##isa : 0;
        ISAS(LEVEL)
        return 0;
    }
    #if defined(__x86_64__)
    #include <cpuid.h>
    static int read_cpuid(unsigned leaf, unsigned part, unsigned *words)
    { return __get_cpuid_count(leaf, part, &words[0], &words[1], &words[2], &words[3]); }
    #else
    static int read_cpuid(unsigned leaf, unsigned part, unsigned *words)
    { return 0; }
    #endif
    """
    int SIMD_LEVELS
    const simd_kernels *simd_level(int level) noexcept nogil
    int read_cpuid(unsigned int leaf, unsigned int part, unsigned int *words) noexcept nogil

ctypedef double (*peak_function)(int64_t rounds, double *value) noexcept nogil


def available_isas():
    """The instruction sets that this CPU supports, most capable first."""
    return tuple(simd_level(level).isa.decode() for level in range(SIMD_LEVELS) if simd_level(level) != NULL)


def cpuid():
    """Vendor, model and instructions of this CPU, as reported by CPUID; ``()`` on CPUs without it."""
    cdef unsigned int words[4]
    found = []
    for leaf, part in ((0x0, 0), (0x1, 0), (0x7, 0), (0x7, 1), (0x24, 0), (0x80000001, 0)):
        if read_cpuid(leaf, part, words):
            if leaf == 0x1:
                words[1] = 0  # contains the number of the core
            found += [words[0], words[1], words[2], words[3]]
    return tuple(found)


cdef const simd_kernels *pick() except NULL:
    """The most capable table, or the one that ``FASTCONV_ISA`` names."""
    cdef int level
    wanted = os.environ.get("FASTCONV_ISA")
    for level in range(SIMD_LEVELS):
        if simd_level(level) != NULL and wanted in (None, "", simd_level(level).isa.decode()):
            return simd_level(level)
    raise ValueError(f"FASTCONV_ISA={wanted!r}: this CPU runs {', '.join(available_isas())}")


picked = pick()


cdef const kernel_slot *found(const char *name, const char *type) except NULL:
    """The kernel of that name for values of a type such as "f4"."""
    cdef const kernel_slot *const *of_type = picked.kernels
    cdef const kernel_slot *slot
    while of_type[0] != NULL:
        slot = of_type[0]
        while slot.name != NULL:
            if strcmp(slot.name, name) == 0 and strcmp(slot.type, type) == 0:
                return slot
            slot += 1
        of_type += 1
    raise LookupError(f"no kernel {name.decode()!r} for {type.decode()!r}")


MOST_ARRAYS = MAX_ARRAYS


def isa():
    """The instruction set whose kernels are in use."""
    return picked.isa.decode()


def cache_bytes():
    """Data cache sizes ``(L1, L2, L3)`` of a core; common sizes where the system does not report them."""
    defaults = (32 << 10, 512 << 10, 8 << 20)
    names = ("SC_LEVEL1_DCACHE_SIZE", "SC_LEVEL2_CACHE_SIZE", "SC_LEVEL3_CACHE_SIZE")
    return tuple(_system_value(name) or default for name, default in zip(names, defaults, strict=True))


def _system_value(name):
    """The system's value of `name`, or 0 if it is not known."""
    try:
        return max(0, os.sysconf(name))
    except (AttributeError, OSError, ValueError):
        return 0


def measure_peak_flops(itemsize, seconds=0.02, bursts=5):
    """Floating-point operations per second of one core, with multiply-adds on registers.

    The best of `bursts` bursts of about `seconds` each; `itemsize` is 4 (float32) or 8 (float64).
    """
    cdef peak_function peak = <peak_function> found(b"peak", b"f4" if itemsize == 4 else b"f8").function
    cdef int64_t rounds = 1024
    cdef double value = 0.5
    best = 0.0
    for _ in range(bursts):
        elapsed = 0.0
        while elapsed < seconds:
            rounds *= 2
            start = time.perf_counter()
            flops = peak(rounds, &value)
            elapsed = time.perf_counter() - start
        best = max(best, flops / elapsed)
        rounds //= 2
    return best
