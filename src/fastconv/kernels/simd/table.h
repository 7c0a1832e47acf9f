/* Fill this instruction set's table (see simd.h). */
#include "simd.h"

#if defined(__AVX512F__)
#define SIMD_BYTES 64
#elif defined(__AVX2__)
#define SIMD_BYTES 32
#else
#define SIMD_BYTES 16
#endif

#include "peak.h"

#define JOIN_(a, b) a##b
#define JOIN(a, b) JOIN_(a, b)
#define TEXT_(a) #a
#define TEXT(a) TEXT_(a)

const simd_kernels JOIN(simd_, SIMD_ISA) = {
    .isa = TEXT(SIMD_ISA),
    .peak_f32 = peak_f32,
    .peak_f64 = peak_f64,
    .flops_per_round_f32 = 2 * CHAINS * SIMD_BYTES / (int64_t)sizeof(float),
    .flops_per_round_f64 = 2 * CHAINS * SIMD_BYTES / (int64_t)sizeof(double),
};
