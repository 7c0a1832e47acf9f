"""Doors to the kernels of the other layers of the instruction set in use (simd/layers.h, simd/inner.h).

All are tile kernels, by address.
"""

from libc.stdint cimport intptr_t

from fastconv.kernels.cpu cimport picked

cdef extern from "simd/simd.h":
    int AT_A_TIME

# Number of neighbouring columns in a tile of softmax.
SOFTMAX_COLUMNS = AT_A_TIME

ACTIVATE = {4: <intptr_t> picked.f32.activate, 8: <intptr_t> picked.f64.activate}
CHANNELS = {4: <intptr_t> picked.f32.channels, 8: <intptr_t> picked.f64.channels}
SOFTMAX = {4: <intptr_t> picked.f32.softmax, 8: <intptr_t> picked.f64.softmax}
INNER = {4: <intptr_t> picked.f32.inner, 8: <intptr_t> picked.f64.inner}
