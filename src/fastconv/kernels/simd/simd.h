/* The table of kernels that each instruction set fills, from one source.
 *
 * A source named after an instruction set (avx2.c) defines SIMD_ISA and includes table.h; it is compiled with that
 * instruction set's flags. cpu.pyx picks the table that the CPU can run.
 */
#ifndef FASTCONV_SIMD_H
#define FASTCONV_SIMD_H

#include <stdint.h>

/* A convolution's geometry, as every compiled kernel gets it: the names of geometry.py, and the element strides of x. */
typedef struct {
    int64_t n, g, ic, oc, ih, iw, kh, kw, oh, ow, sh, sw, dh, dw, pt, pl;
    int64_t xn, xc, xh, xw;
} Window;

/* The signature of fastconv.threads. */
typedef void tile_function(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                           int64_t worker);

typedef struct {
    double (*peak)(int64_t rounds, double *value);
    void (*gemm_tile)(void);  /* of gemm.h, on its own type of values: cast to call */
    tile_function *pack_left;
    tile_function *implicit;
} real_kernels;

typedef struct {
    const char *isa;
    int64_t lanes_bytes, mr, nv;
    real_kernels f32, f64;
} simd_kernels;

extern const simd_kernels simd_baseline;
#if defined(__x86_64__)
extern const simd_kernels simd_avx2;
extern const simd_kernels simd_avx512;
#endif

#endif
