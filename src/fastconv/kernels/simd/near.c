/* Sums of weighted values in float32 (near.h). Blocks of BLOCK_TERMS products are added up on their own: a running sum of
 * hundreds of them would err several times as much. */
#include "near.h"

#define REAL float
#define BITS int32_t
#define NAME(name) name##_f32
#include "vector.h"

/* The constraint for a vector in a register. */
#if defined(__aarch64__)
#define HELD(vector) "+w"(vector)
#else
#define HELD(vector) "+x"(vector)
#endif

/* Store n vectors of sums of a block, or add them to those of the blocks before it, and begin the next. */
static inline __attribute__((always_inline)) void add_block(const int n, VECTOR *sum, float *to, int is_first)
{
    UNROLL
    for (int s = 0; s < n; s++) {
        NAME(store)(to + s * LANES, is_first ? sum[s] : NAME(load)(to + s * LANES) + sum[s]);
        sum[s] = (VECTOR){0};
    }
}

static inline __attribute__((always_inline)) void near_vectors(const int n, const int parity, const float *const *from,
                                                               const float *weight, int64_t terms, int64_t q, float *to)
{
    VECTOR sum[ABREAST];
    UNROLL
    for (int s = 0; s < n; s++)
        sum[s] = NAME(broadcast)(weight[0]) * NAME(load)(from[0] + q + s * LANES);
    for (int64_t begin = 0; begin < terms; begin += BLOCK_TERMS) {
        const int64_t end = terms - begin < BLOCK_TERMS ? terms : begin + BLOCK_TERMS;
        for (int64_t t = begin ? begin : 1; t < end; t++) {
            const float *a = from[parity ? 2 * t - 1 : t] + q, *b = from[parity ? 2 * t : t] + q;
            const VECTOR w = NAME(broadcast)(weight[t]);
            __asm__("" : "+r"(a), "+r"(b)); /* or GCC spends a register on the address of every vector */
            UNROLL
            for (int s = 0; s < n; s++) {
                VECTOR value = NAME(load)(a + s * LANES);
                if (parity)
                    value = parity > 0 ? value + NAME(load)(b + s * LANES) : value - NAME(load)(b + s * LANES);
                sum[s] += w * value;
            }
        }
        add_block(n, sum, to + q, !begin);
    }
}

static inline __attribute__((always_inline)) void near_sums_as(const int parity, const float *const *from,
                                                               const float *weight, int64_t terms, int64_t width,
                                                               float *to)
{
    int64_t q = 0;
    for (; q + ABREAST * LANES <= width; q += ABREAST * LANES)
        near_vectors(ABREAST, parity, from, weight, terms, q, to);
    for (; q < width; q += LANES)
        near_vectors(1, parity, from, weight, terms, q, to);
}

void OF_ISA(near_sums)(int64_t parity, const float *const *from, const float *weight, int64_t terms, int64_t width,
                       float *to)
{
    if (parity > 0)
        near_sums_as(1, from, weight, terms, width, to);
    else if (parity < 0)
        near_sums_as(-1, from, weight, terms, width, to);
    else
        near_sums_as(0, from, weight, terms, width, to);
}

static inline __attribute__((always_inline)) void near_pair(const int n, const float *const *from, const float *weight,
                                                            int64_t terms, int64_t q, float *to, float *below)
{
    VECTOR sum[ABREAST / 2] = {0}, other[ABREAST / 2] = {0};
    for (int64_t begin = 0; begin < terms; begin += BLOCK_TERMS) {
        const int64_t end = terms - begin < BLOCK_TERMS ? terms : begin + BLOCK_TERMS;
        for (int64_t t = begin; t < end; t++) {
            const float *a = from[t] + q;
            const VECTOR w = NAME(broadcast)(weight[t]), v = NAME(broadcast)(weight[terms + t]);
            __asm__("" : "+r"(a));
            UNROLL
            for (int s = 0; s < n; s++) {
                VECTOR value = NAME(load)(a + s * LANES);
                __asm__("" : HELD(value)); /* or GCC loads it twice */
                sum[s] += w * value;
                other[s] += v * value;
            }
        }
        add_block(n, sum, to + q, !begin);
        add_block(n, other, below + q, !begin);
    }
}

void OF_ISA(near_rows)(const float *const *from, const float *weight, int64_t terms, int64_t width, float *to,
                       float *below)
{
    int64_t q = 0;
    for (; q + ABREAST / 2 * LANES <= width; q += ABREAST / 2 * LANES)
        near_pair(ABREAST / 2, from, weight, terms, q, to, below);
    for (; q < width; q += LANES)
        near_pair(1, from, weight, terms, q, to, below);
}
