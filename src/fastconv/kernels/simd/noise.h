/* Layers that draw random numbers: dropout, and leaky_relu with a slope for each value. What a value draws depends on the
 * key and on its position alone. Tiles begin at multiples of WORDS.
 */
#include "threefry.h"

#define DROP_ARGUMENTS(X)                 \
    X(values)      /* number of values */ \
    X(tile_values) /* values of a tile */
ARGUMENTS(Drop, DROP_ARGUMENTS);

/* y = factor * x, or 0 where the value's word is below a threshold, from 0 to 2**32: of one key, types and instruction
 * sets drop the same values. arrays: input; output, which may be the same; the factor of each value, or null; the key
 * (two uint64). scalars: threshold; factor. */
static void NAME(drop)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                       int64_t worker)
{
    const Drop *a = (const Drop *)ints;
    const int64_t past = end * a->tile_values < a->values ? end * a->tile_values : a->values;
    const uint32_t threshold = scalars[0] < 0x1p32 ? (uint32_t)scalars[0] : UINT32_MAX;
    const uint32_t drops_all = scalars[0] < 0x1p32 ? 0 : 1;
    const REAL factor = (REAL)scalars[1];
    for (int64_t first = begin * a->tile_values; first < past && !(first % STRETCH == 0 && stops(arrays, worker));
         first += WORDS) {
        const REAL *x = (const REAL *)arrays[0] + first;
        REAL *y = (REAL *)arrays[1] + first, *factors = arrays[2] ? (REAL *)arrays[2] + first : 0, kept[WORDS];
        uint32_t words[WORDS];
        threefry(arrays[3], first / WORDS, words);
        for (int64_t i = 0; i < WORDS; i++)
            kept[i] = (words[i] < threshold) | drops_all ? 0 : factor;
        const int64_t count = past - first < WORDS ? past - first : WORDS;
        INDEPENDENT
        for (int64_t i = 0; i < count; i++) {
            const REAL product = x[i] * factor;
            y[i] = kept[i] == 0 ? 0 : product;  /* infinity and NaN are dropped, too */
        }
        if (factors)
            memcpy(factors, kept, count * sizeof(REAL));
    }
}

#define SLOPE_ARGUMENTS(X)                \
    X(values)      /* number of values */ \
    X(tile_values) /* values of a tile */
ARGUMENTS(Slope, SLOPE_ARGUMENTS);

/* Numbers `group` * WORDS and following of those that a key gives, uniform in [0, 1): multiples of 2**-24 or 2**-53. */
static inline void NAME(uniform)(const uint64_t key[2], uint64_t group, REAL numbers[WORDS])
{
    if (sizeof(REAL) == 4) {
        uint32_t words[WORDS];
        threefry(key, group, words);
        for (int i = 0; i < WORDS; i++)
            numbers[i] = (REAL)(int32_t)(words[i] >> 8) * (REAL)0x1p-24;
    } else {
        uint32_t high[WORDS], low[WORDS];
        threefry(key, 2 * group, high);
        threefry(key, 2 * group + 1, low);
        for (int i = 0; i < WORDS; i++)
            numbers[i] = (REAL)((int32_t)(high[i] >> 5) * 0x1p-27 + (int32_t)(low[i] >> 6) * 0x1p-53);
    }
}

/* y = x < 0 ? slope * x : x, with slopes lower + u * width. arrays: input; output, which may be the same; the slopes, or
 * null; the key (two uint64). scalars: lower; width. */
static void NAME(slope)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                        int64_t worker)
{
    const Slope *a = (const Slope *)ints;
    const int64_t past = end * a->tile_values < a->values ? end * a->tile_values : a->values;
    const REAL lower = (REAL)scalars[0], width = (REAL)scalars[1];
    for (int64_t first = begin * a->tile_values; first < past && !(first % STRETCH == 0 && stops(arrays, worker));
         first += WORDS) {
        const REAL *x = (const REAL *)arrays[0] + first;
        REAL *y = (REAL *)arrays[1] + first, *slopes = arrays[2] ? (REAL *)arrays[2] + first : 0, drawn[WORDS];
        NAME(uniform)(arrays[3], first / WORDS, drawn);
        for (int i = 0; i < WORDS; i++)
            drawn[i] = lower + drawn[i] * width;
        const int64_t count = past - first < WORDS ? past - first : WORDS;
        INDEPENDENT
        for (int64_t i = 0; i < count; i++)
            y[i] = x[i] < 0 ? drawn[i] * x[i] : x[i];
        if (slopes)
            memcpy(slopes, drawn, count * sizeof(REAL));
    }
}
