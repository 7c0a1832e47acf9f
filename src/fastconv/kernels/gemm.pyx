"""Doors to the matrix kernels of the instruction set in use.

They are those of simd/gemm.h, simd/implicit.h, simd/weight_gradient.h and simd/tap_gradient.h.
All are given by address: `PACK_LEFT`, `IMPLICIT`, `WEIGHT_GRADIENT` and `TAP_GRADIENT` are tile kernels; `GEMM_TILE` is
the micro-kernel itself, which has its own signature.
"""

from libc.stdint cimport intptr_t

from fastconv.kernels cimport cpu
from fastconv.kernels.cpu cimport picked

MR = picked.mr
LANES = {4: picked.lanes_bytes // 4, 8: picked.lanes_bytes // 8}
NR = {itemsize: picked.nv * lanes for itemsize, lanes in LANES.items()}
MOST_SHARING = cpu.MOST_SHARING

GEMM_TILE = {4: <intptr_t> picked.f32.gemm_tile, 8: <intptr_t> picked.f64.gemm_tile}
PACK_LEFT = {4: <intptr_t> picked.f32.pack_left, 8: <intptr_t> picked.f64.pack_left}
IMPLICIT = {4: <intptr_t> picked.f32.implicit, 8: <intptr_t> picked.f64.implicit}
WEIGHT_GRADIENT = {4: <intptr_t> picked.f32.weight_gradient, 8: <intptr_t> picked.f64.weight_gradient}
TAP_GRADIENT = {4: <intptr_t> picked.f32.tap_gradient, 8: <intptr_t> picked.f64.tap_gradient}
