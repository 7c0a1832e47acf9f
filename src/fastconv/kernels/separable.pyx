"""Door to the separable kernels of the instruction set in use (simd/separable.h): tile kernels by address."""

from libc.stdint cimport intptr_t

from fastconv.kernels.cpu cimport picked

cdef extern from "simd/simd.h":
    enum:
        ABREAST
        CACHE_LINE

# Number of values of a row that are summed together.
BLOCK = {4: ABREAST * picked.lanes_bytes // 4, 8: ABREAST * picked.lanes_bytes // 8}

# Values per cache line, to which rings are aligned.
LINE = {4: CACHE_LINE // 4, 8: CACHE_LINE // 8}

SEPARABLE = {4: <intptr_t> picked.f32.separable, 8: <intptr_t> picked.f64.separable}
