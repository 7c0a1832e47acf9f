/* Fill this instruction set's table (see simd.h). */
#include <string.h>

#include "epilogue.h"
#include "simd.h"

#if defined(__AVX512F__)
#define SIMD_BYTES 64
#elif defined(__AVX2__)
#define SIMD_BYTES 32
#else
#define SIMD_BYTES 16
#endif

/* A loop whose extent is a constant becomes straight code, so that its vectors live in registers. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 16")
#endif

/* GCC for arm64 would hoist a step's MR scalar loads above its multiply-adds, and spill accumulators to make room. */
#if defined(__aarch64__) && !defined(__clang__)
#pragma GCC optimize("no-schedule-insns")
#endif

/* A register tile of MR rows of NV vectors: 24 accumulators of 32 registers, 12 of 16, or 8 where a product needs a
 * register of its own before it is added. */
#if defined(__AVX512F__) || defined(__aarch64__)
#define MR 8
#else
#define MR 4
#endif

#if defined(__FMA__) || defined(__aarch64__)
#define NV 3
#else
#define NV 2
#endif

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define TEXT_(a) #a
#define TEXT(a) TEXT_(a)

#define REAL float
#define BITS int32_t
#define NAME(name) name##_f32
#include "real.h"
#undef REAL
#undef BITS
#undef NAME

#define REAL double
#define BITS int64_t
#define NAME(name) name##_f64
#include "real.h"

#define KERNELS(type)                                  \
    {                                                  \
        .peak = peak_##type,                           \
        .gemm_tile = (void (*)(void))gemm_tile_##type, \
        .pack_left = pack_left_##type,                 \
        .implicit = implicit_##type,                   \
        .weight_gradient = weight_gradient_##type,     \
        .winograd_weight = winograd_weight_##type,     \
        .winograd = {[1][2] = winograd_1_2_##type,     \
                     [2][2] = winograd_2_2_##type,     \
                     [2][4] = winograd_2_4_##type,     \
                     [3][4] = winograd_3_4_##type,     \
                     [3][6] = winograd_3_6_##type},    \
    }

const simd_kernels JOIN(simd_, SIMD_ISA) = {
    .isa = TEXT(SIMD_ISA),
    .lanes_bytes = SIMD_BYTES,
    .mr = MR,
    .nv = NV,
    .f32 = KERNELS(f32),
    .f64 = KERNELS(f64),
};
