/* The table of kernels that each instruction set fills, from the same sources: float32.c, float64.c, integers.c and
 * windows.c, each compiled once per set, and table.c. cpu.pyx picks the table that the CPU can run.
 */
#ifndef FASTCONV_SIMD_H
#define FASTCONV_SIMD_H

#include <stdint.h>

/* A convolution's geometry, as every compiled kernel gets it: the names of geometry.py, and the strides of x in
 * elements. */
typedef struct {
    int64_t n, g, ic, oc, ih, iw, kh, kw, oh, ow, sh, sw, dh, dw, pt, pl;
    int64_t xn, xc, xh, xw;
} Window;

#define MAX_PAIRS 3
#define MAX_T (2 * MAX_PAIRS + 2)
#define MAX_R 7

/* The transforms F(m, r), with r = t - m + 1, for which Winograd's kernels are compiled: X(t, m). */
#define AXES(X) X(5, 4) X(4, 2) X(6, 4) X(8, 6) X(6, 2) X(7, 3) X(8, 4) X(8, 2)

/* Arrays of a tile kernel. */
enum { MAX_ARRAYS = 12 };

/* In bytes; where lines are longer, some prefetches are wasted. */
#define CACHE_LINE 64

/* How far ahead a matrix-vector product prefetches, in bytes: pages are too short for the hardware to do so. */
#define AHEAD 1024

/* Products of few steps that use the same filters in turn while their right operands are in L1. */
#define MOST_SHARING 16

/* Number of channels that are gathered and transformed together, within L1 and L2. */
#define STRIP_CHANNELS 8

/* Number of vectors that separable.h sums side by side, enough to cover the latency of a multiply-add. */
#define ABREAST 8

/* Number of neighbouring tiles whose outputs are written together. */
#define TILES_OUT 8

/* Most steps of a window along one axis; its extent is an int64_t. */
#define MAX_FOLDS 64

/* Number of lines in which windows are folded, in addition to those that are looked back to. */
#define LINES 6

/* Number of a column's weights that a sweep of direct convolution holds in registers, real and complex. */
#define TAPS 5
#define COMPLEX_TAPS 2

/* Number of types with a sweep of direct convolution. */
#define FILTER_TYPES 8

/* Number of types with folds of windows. */
#define WINDOW_TYPES 10

/* Most passes of one transform. */
#define MAX_PASSES 12

/* Number of neighbouring values whose powers softmax holds, and of neighbouring columns that it sums together. */
#define AT_A_TIME 64

/* Number of values that a layer processes between two checks whether to stop. */
#define STRETCH 65536

/* Distance between points of the transforms, in values, chosen not to be a multiple of 4 KiB. */
#define POINT_GAP 16

/* The coefficients of Winograd's transforms along one axis (winograd.h), filled in by strategies/winograd.py. */
typedef struct {
    double p[MAX_PAIRS], Q[MAX_PAIRS][MAX_PAIRS], Z[MAX_PAIRS + 1], power[MAX_PAIRS][MAX_T], G[MAX_T][MAX_R];
} Points;

/* The passes of a discrete Fourier transform (fft.h): their radices, whose product is the number of points. */
typedef struct {
    int64_t points, passes, radix[MAX_PASSES];
} Radices;

/* The layout of tiles in the image and in planes, filled in by strategies/fft.py. */
typedef struct {
    Radices down, across; /* of a plane */
    int64_t groups, icg, ocg, ih, iw, oh, ow, kh, kw, sh, sw, dh, dw, pt, pl;
    int64_t xn, xc, xh, xw, on;        /* values between images, channels, rows, columns of x, and images of out */
    int64_t lines;                     /* whether the rows of a plane are consecutive parts of one row of the image */
    int64_t rows, cols;                /* dense outputs of a tile */
    int64_t tiles_down, tiles_across;
    int64_t pitch, gap, plane;         /* values per row of a plane, in its real parts, and in all of it */
    int64_t scratch, activation;
} Tiles;

/* The integers of a sweep of direct convolution (kernels/sweep.pyx), in items: from one channel, line, tap or row of
 * blocks to the next, and in the output from one vector of a block, row or plane to the next; what it computes; the
 * runs that a column's taps fall into, the first `long_runs` of `run` taps and the others of one less; its blocks:
 * rows, vectors across, lines from a row to the next (0: those are not shared), values from a column to the next. */
typedef struct {
    int64_t channel, line, tap, row, out_vector, out_row, out_plane;
    int64_t rows, cols, channels, kw, weights, runs, long_runs, run, activation, flat;
    int64_t block_rows, across, stride, every;
} Sweep;

/* Codes of activations (fastconv/epilogue.py); a sweep applies only these and the identity. */
#define RELU 1
#define LEAKY_RELU 2

/* The signature of fastconv.threads. */
typedef void tile_function(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                           int64_t worker);

/* Whether the call was interrupted, so that the kernel must return at once. Kernels whose tiles may take long ask every
 * 10 µs or more, since the answer takes 30 ns. The function to ask is stored after the arrays. */
typedef int stop_function(void **arrays, int64_t worker);

static inline int stops(void **arrays, int64_t worker)
{ return ((stop_function *)arrays[MAX_ARRAYS])(arrays, worker); }

typedef struct {
    double (*peak)(int64_t rounds, double *value);
    void (*gemm_tile)(void);  /* of gemm.h, on its own type of values: cast to call */
    void (*epilogue)(void);   /* of epilogue.h, likewise */
    tile_function *activate;
    tile_function *channels;
    tile_function *softmax;
    tile_function *inner;
    tile_function *pack_left;
    tile_function *implicit;
    tile_function *rolling;
    tile_function *separable;
    tile_function *weight_gradient;
    tile_function *tap_gradient;
    tile_function *winograd_weight;
    tile_function *winograd;
    tile_function *fft_weight;
    tile_function *fft;
} real_kernels;

/* The folds of windows.h (cast before a call) for values of a `type` such as "u1"; sum and mean are null for
 * integers. */
typedef struct {
    const char *type;
    void (*maximum)(void), (*minimum)(void), (*sum)(void), (*mean)(void);
} window_folds;

typedef struct {
    tile_function *windows;
    window_folds folds[WINDOW_TYPES];
} window_kernels;

/* The sweep of filter.h for values of a `type` such as "i1", and how many values its vectors hold. */
typedef struct {
    const char *type;
    int64_t lanes;
    tile_function *filter;
} filter_sweep;

typedef struct {
    const char *isa;
    int64_t lanes_bytes, mr, nv;
    void (*copy_lines)(void *to, int64_t pitch, const void *from, int64_t apart, int64_t lines, int64_t bytes);
    const real_kernels *f32, *f64;
    int64_t wide_rows;   /* of a block of two vectors (filter.h) */
    int64_t wide_3_rows; /* likewise, of reals, for 3 x 3 filters of one channel */
    const filter_sweep *filters[FILTER_TYPES];
    const window_kernels *windows;
} simd_kernels;

/* The instruction sets, most capable first: X(name, whether this CPU has it). setup.py has their flags. The baseline of
 * arm64 is NEON. */
#if defined(__x86_64__)
#define HAS(feature) __builtin_cpu_supports(feature)
#define ISAS(X)                                                                                \
    X(avx512, HAS("avx512f") && HAS("avx512dq") && HAS("avx512bw") && HAS("avx512vl"))         \
    X(avx2, HAS("avx2") && HAS("fma"))                                                         \
    X(baseline, 1)
#else
#define ISAS(X) X(baseline, 1)
#endif

#define DECLARE(isa, runs) extern const simd_kernels simd_##isa;
ISAS(DECLARE)
#undef DECLARE

#endif
