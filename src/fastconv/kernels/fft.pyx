"""Doors to the Fourier transforms of the instruction set in use (simd/fft.h): tile kernels by address."""

from libc.stdint cimport intptr_t

from fastconv.kernels.cpu cimport picked

cdef extern from "simd/simd.h":
    int MAX_PASSES_ "MAX_PASSES"

MAX_PASSES = MAX_PASSES_

# Number of lines that are transformed together.
LANES = {4: picked.lanes_bytes // 4, 8: picked.lanes_bytes // 8}

WEIGHT = {4: <intptr_t> picked.f32.fft_weight, 8: <intptr_t> picked.f64.fft_weight}
FFT = {4: <intptr_t> picked.f32.fft, 8: <intptr_t> picked.f64.fft}
