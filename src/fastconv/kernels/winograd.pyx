"""Doors to the Winograd kernels of the instruction set in use (simd/winograd.h): tile kernels by address."""

from libc.stdint cimport intptr_t

from fastconv.kernels.cpu cimport picked

cdef extern from *:
    """
    #include "simd/simd.h"

    #define TILE_OF(t, m) {t, m},
    static const int axes[][2] = {AXES(TILE_OF)};
    enum { AXIS_COUNT = sizeof axes / sizeof *axes };
    """
    const int axes[][2]
    int AXIS_COUNT
    int STRIP_CHANNELS_ "STRIP_CHANNELS"
    int TILES_OUT_ "TILES_OUT"
    int POINT_GAP_ "POINT_GAP"

STRIP_CHANNELS = STRIP_CHANNELS_
TILES_OUT = TILES_OUT_
POINT_GAP = POINT_GAP_

# The transforms F(m, r) that kernels are compiled for, and their numbers.
AXES = {(axes[i][1], axes[i][0] - axes[i][1] + 1): i for i in range(AXIS_COUNT)}

WINOGRAD = {4: <intptr_t> picked.f32.winograd, 8: <intptr_t> picked.f64.winograd}
WEIGHT = {4: <intptr_t> picked.f32.winograd_weight, 8: <intptr_t> picked.f64.winograd_weight}
