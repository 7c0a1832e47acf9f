"""Doors to the Winograd kernels of the instruction set in use (simd/winograd.h): tile kernels by address."""

from libc.stdint cimport intptr_t

from fastconv.kernels.cpu cimport picked, real_kernels

cdef extern from "simd/simd.h":
    int STRIP_CHANNELS_ "STRIP_CHANNELS"

STRIP_CHANNELS = STRIP_CHANNELS_

WEIGHT = {4: <intptr_t> picked.f32.winograd_weight, 8: <intptr_t> picked.f64.winograd_weight}


def kernel(int itemsize, int pairs, int outputs):
    """The tile kernel for 2 * pairs + 2 points and outputs × outputs tiles."""
    cdef const real_kernels *kernels = &picked.f32 if itemsize == 4 else &picked.f64
    return <intptr_t> kernels.winograd[pairs][outputs]
