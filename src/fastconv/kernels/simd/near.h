/* Sums of weighted values in float32, in any order, for ordered.h, which adds up again what they leave in doubt.
 *
 * They are a source of their own, near.c, in which a product and a sum may be rounded once. Up to a vector more than
 * `width` values is written.
 */
#include "isa.h"

/* The first of `terms` is one value; each of the others is a value or, with `parity`, a pair. */
void OF_ISA(near_sums)(int64_t parity, const float *const *from, const float *weight, int64_t terms, int64_t width,
                       float *to);

/* Two rows of sums of the same values, whose weights follow each other: they are loaded once for both. */
void OF_ISA(near_rows)(const float *const *from, const float *weight, int64_t terms, int64_t width, float *to,
                       float *below);
