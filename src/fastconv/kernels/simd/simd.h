/* The table of micro-kernels that each instruction set fills, from one source.
 *
 * A source named after an instruction set (avx2.c) defines SIMD_ISA and includes the kernels' headers; it is
 * compiled with that instruction set's flags. cpu.pyx picks the table that the CPU can run.
 */
#ifndef FASTCONV_SIMD_H
#define FASTCONV_SIMD_H

#include <stdint.h>

typedef struct {
    const char *isa;
    /* Run `rounds` rounds of independent multiply-adds; the floating-point operations of one round are
     * in flops_per_round. The value only keeps the work alive. */
    double (*peak_f32)(int64_t rounds);
    double (*peak_f64)(int64_t rounds);
    int64_t flops_per_round_f32;
    int64_t flops_per_round_f64;
} simd_kernels;

extern const simd_kernels simd_baseline;
#if defined(__x86_64__)
extern const simd_kernels simd_avx2;
extern const simd_kernels simd_avx512;
#endif

#endif
