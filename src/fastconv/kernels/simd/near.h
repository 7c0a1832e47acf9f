/* Sums of weighted values in float32, in any order, for ordered.h, which adds up again what they leave in doubt.
 *
 * They are defined in float32.c, where a product and a sum may be rounded once. Blocks of BLOCK_TERMS products are added
 * up on their own: a running sum of hundreds of them would err several times as much.
 */
#include "isa.h"

void OF_ISA(near_sums)(int64_t parity, const float *const *from, const float *weight, int64_t terms, int64_t width,
                       float *to);

#ifdef REAL
/* n vectors. The first of `terms` is one value; each of the others is a value or, with `parity`, a pair. */
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
        UNROLL
        for (int s = 0; s < n; s++) {
            NAME(store)(to + q + s * LANES, begin ? NAME(load)(to + q + s * LANES) + sum[s] : sum[s]);
            sum[s] = (VECTOR){0};
        }
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

/* Sums of `width` values, and of up to a vector more. */
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
#endif
