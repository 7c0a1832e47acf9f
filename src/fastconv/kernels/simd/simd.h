/* The table of kernels that each instruction set fills, from the same sources: float32.c, float64.c, integers.c,
 * windows.c and ordered.c, each compiled once per set, and table.c. cpu.pyx picks the table that the CPU can run.
 */
#ifndef FASTCONV_SIMD_H
#define FASTCONV_SIMD_H

#include <stdint.h>

/* A kernel's arguments are a list X(field). C makes a struct of int64_t from it, and Python a named tuple in the same
 * order (kernels/slots.pyx), from their names, each followed by a space. */
#define FIELD(name) int64_t name;
#define QUOTED(name) #name " "
#define ARGUMENTS(Struct, LIST) \
    typedef struct {            \
        LIST(FIELD)             \
    } Struct

#define WINDOW_FIELDS(X)                            \
    X(n)  /* images */                              \
    X(g)  /* groups */                              \
    X(ic) /* input channels, of all groups */       \
    X(oc) /* output channels, of all groups */      \
    X(ih) /* rows of the image */                   \
    X(iw) /* columns of the image */                \
    X(kh) /* rows of the kernel */                  \
    X(kw) /* columns of the kernel */               \
    X(oh) /* rows of the output */                  \
    X(ow) /* columns of the output */               \
    X(sh) /* stride down */                         \
    X(sw) /* stride across */                       \
    X(dh) /* dilation down */                       \
    X(dw) /* dilation across */                     \
    X(pt) /* padding above */                       \
    X(pl) /* padding on the left */                 \
    X(xn) /* values from one image to the next */   \
    X(xc) /* values from one channel to the next */ \
    X(xh) /* values from one row to the next */     \
    X(xw) /* values from one column to the next */

/* A convolution's geometry, by the names of engine/geometry: the first arguments of kernels that compute any geometry. */
ARGUMENTS(Window, WINDOW_FIELDS);

/* Scratch memory, divided into parts that each start on a cache line. If memory is null, bytes are only counted. */
typedef struct {
    char *memory;
    int64_t bytes;
} Scratch;

#define MAX_PAIRS 3
#define MAX_T 9
#define MAX_R 7

/* The axes for which Winograd's kernels are compiled, X(t, m, stride): m outputs by t products of t inputs. */
#define AXES(X) \
    X(5, 4, 1) X(4, 2, 1) X(6, 4, 1) X(8, 6, 1) X(6, 2, 1) X(7, 3, 1) X(8, 4, 1) X(8, 2, 1) X(5, 2, 2) X(9, 4, 2)

/* The taps of such an axis. */
#define TAPS_OF(t, m, stride) ((t) - ((m) - 1) * (stride))

/* Arrays of a tile kernel. */
enum { MAX_ARRAYS = 12 };

/* In bytes; where lines are longer, some prefetches are wasted. */
#define CACHE_LINE 64

static inline void *take(Scratch *s, int64_t bytes)
{
    void *part = s->memory ? s->memory + s->bytes : 0;
    s->bytes += (bytes + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    return part;
}

/* How far ahead a matrix-vector product prefetches, in bytes: pages are too short for the hardware to do so. */
#define AHEAD 1024

/* Products of few steps that use the same filters in turn while their right operands are in L1. */
#define MOST_SHARING 16

/* Number of vectors that separable.h and ordered.h sum side by side, enough to cover the latency of a multiply-add. */
#define ABREAST 8

/* Number of products that near.h adds up on their own; only the error that engine/ordered.py bounds depends on it. */
#define BLOCK_TERMS 16

/* Number of neighbouring tiles whose outputs are written together. */
#define TILES_OUT 8

/* Number of bytes whose sum is divided in 16 bits (windows.h). */
#define MOST_BYTES 127

/* Most steps of a window along one axis; its extent is an int64_t. */
#define MAX_FOLDS 64

/* Number of a column's weights that a sweep of direct convolution holds in registers, real and complex. */
#define TAPS 5
#define COMPLEX_TAPS 2

/* Number of neighbouring values whose powers softmax holds, and of neighbouring columns that it sums together. */
#define AT_A_TIME 64

/* Number of values that a layer processes between two checks whether to stop. */
#define STRETCH 65536

/* Distance between points of the transforms, in values, chosen not to be a multiple of 4 KiB. */
#define POINT_GAP 16

/* The coefficients of Winograd's transforms along one axis (winograd_axis.h), filled in by engine/convolution/winograd.py. */
typedef struct {
    double p[MAX_PAIRS], Q[MAX_PAIRS][MAX_PAIRS], Z[MAX_PAIRS + 1], power[MAX_PAIRS][MAX_T], G[MAX_T][MAX_R];
} Points;

#define SWEEP_ARGUMENTS(X)                                                                           \
    X(channel)    /* items from one channel to the next */                                           \
    X(line)       /* items from one line to the next */                                              \
    X(tap)        /* items from what one tap sees to what the tap below sees */                      \
    X(row)        /* items from what one row of blocks sees to the next */                           \
    X(out_vector) /* items of the output from one vector of a block to the next, downwards */        \
    X(out_row)    /* items of the output from one row to the next */                                 \
    X(out_plane)  /* items of the output from one plane to the next */                               \
    X(rows)       /* rows to be computed */                                                          \
    X(cols)       /* items of a row to be computed */                                                \
    X(channels)   /* input channels that are summed over */                                          \
    X(kw)         /* columns of the kernel */                                                        \
    X(weights)    /* items of the weights of an output plane */                                      \
    X(runs)       /* runs that the taps of a column fall into */                                     \
    X(long_runs)  /* how many of these, the first ones, have `run` taps: the others have one less */ \
    X(run)        /* taps of a long run */                                                           \
    X(activation) /* code of the activation */                                                       \
    X(flat)       /* whether the rows of a block are neighbouring vectors of one row */              \
    X(block_rows) /* rows of a block */                                                              \
    X(across)     /* vectors across a block */                                                       \
    X(stride)     /* lines from a row to the next; 0: lines are not shared */                        \
    X(every)      /* values from a column to the next */

/* What a sweep of direct convolution computes (kernels/sweep.pyx). Items are values, or parts of complex numbers. */
ARGUMENTS(Sweep, SWEEP_ARGUMENTS);

/* Codes of activations (engine/epilogue.py); a sweep applies only these and the identity. */
#define RELU 1
#define LEAKY_RELU 2

/* The signature of fastconv.kernels.threads. */
typedef void tile_function(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                           int64_t worker);

/* Whether the call was interrupted, so that the kernel must return at once. Kernels whose tiles may take long ask every
 * 10 µs or more, since the answer takes 30 ns. The function to ask is stored after the arrays. */
typedef int stop_function(void **arrays, int64_t worker);

static inline int stops(void **arrays, int64_t worker)
{ return ((stop_function *)arrays[MAX_ARRAYS])(arrays, worker); }

/* A kernel of one type of values. */
typedef struct {
    const char *name;
    const char *type;                        /* such as "f4" */
    void (*function)(void);                  /* cast to call: a tile_function, or as its header says */
    const char *arguments;                   /* the names of its integers, each followed by a space */
    int64_t (*scratch)(const int64_t *ints); /* bytes that a worker needs, by its integers; null: none */
    int64_t (*packed)(const int64_t *ints);  /* bytes of what it packs of a group, for others; null: it packs none */
} kernel_slot;

typedef struct {
    const char *isa;
    int64_t lanes_bytes;                  /* of a vector */
    int64_t mr, nv;                       /* rows, and vectors across, of a register tile (gemm.h) */
    int64_t wide_rows;                    /* of a block of two vectors (filter.h) */
    int64_t wide_3_rows;                  /* likewise, of reals, for 3 x 3 filters of one channel */
    const kernel_slot *const *kernels;    /* lists by type, each ended by a null name; and a null list at the end */
    void (*copy_lines)(void *to, int64_t pitch, const void *from, int64_t apart, int64_t lines, int64_t bytes);
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
