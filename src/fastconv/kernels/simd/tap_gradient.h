/* The gradient of a convolution with respect to its weight, for few channels: inner products of rows, one sum per tap.
 *
 *   out[m, k] = sum_{n, r, q} grad[n, m, r, q] * x[n, c, r * sh - pt + i * dh, q * sw - pl + j * dw],  k = (c, i, j)
 *
 * weight_gradient.h puts channels in the lanes of a vector; here there are too few, down to one in depthwise layers. So
 * vectors run along positions: the image rows that a block of positions reads are gathered into a strip (strip.h), in
 * which a tap is a constant shift, and each lane sums its own positions. The last vector of a row ends where the row
 * ends, and so repeats some positions, which are masked; a row shorter than a vector is one masked vector. (Strips with
 * a phase per column tap, whose rows are contiguous, took longer to gather than they save.) After a block of positions,
 * the vector sums of a filter's taps are added to those of earlier blocks; lanes are added up once, at the end.
 *
 * A step of `m` filters by `n` taps is m + n loads for m * n multiply-adds.
 */
#define MOST_TAPS 9 /* of one filter, summed side by side: all of a 3×3 kernel */

/* The positions of a block: rows of `cols`, which are `grad_pitch` and `strip_pitch` apart. */
typedef struct {
    int64_t rows, cols, grad_pitch, strip_pitch;
    const REAL *end; /* of the readable part of grad */
} NAME(rows_of_positions);

typedef void NAME(tap_kernel)(const NAME(rows_of_positions) *block, const REAL *grad, int64_t apart, const REAL *strip,
                              const int64_t *shift, REAL *sums, int64_t taps);

/* Set lanes outside the mask to zero, even if they hold NaN. */
static inline __attribute__((always_inline)) VECTOR NAME(keep)(VECTOR v, NAME(mask) mask)
{
    return (VECTOR)((NAME(mask))v & mask);
}

/* Load LANES values, reading only those before `end`. */
static inline __attribute__((always_inline)) VECTOR NAME(load_before)(const REAL *source, const REAL *end)
{
    if (source + LANES <= end)
        return NAME(load)(source);
    REAL values[SIMD_BYTES / sizeof(REAL)] = {0};
    for (int64_t l = 0; source + l < end; l++)
        values[l] = source[l];
    return NAME(load)(values);
}

static inline __attribute__((always_inline)) void NAME(sum_taps)(
    const int m, const int n, const NAME(rows_of_positions) *restrict block, const REAL *restrict grad, int64_t apart,
    const REAL *restrict strip, const int64_t *restrict shift, REAL *restrict sums, int64_t taps)
{
    VECTOR sum[MR][MOST_TAPS];
    const int64_t cols = block->cols, whole = cols / LANES * LANES, last = cols < LANES ? 0 : cols - LANES;
    NAME(mask) mask;
    for (int64_t l = 0; l < LANES; l++)
        mask[l] = last + l >= whole && last + l < cols ? -1 : 0;
    UNROLL
    for (int i = 0; i < m; i++)
        UNROLL
        for (int t = 0; t < n; t++)
            sum[i][t] = (VECTOR){0};
    for (int64_t r = 0; r < block->rows; r++, grad += block->grad_pitch, strip += block->strip_pitch) {
        for (int64_t q = 0; q < whole; q += LANES) {
            VECTOR right[MOST_TAPS];
            UNROLL
            for (int t = 0; m > 1 && t < n; t++)
                right[t] = NAME(load)(strip + shift[t] + q);
            UNROLL
            for (int i = 0; i < m; i++) {
                const VECTOR left = NAME(load)(grad + i * apart + q);
                UNROLL
                for (int t = 0; t < n; t++)
                    sum[i][t] += left * (m > 1 ? right[t] : NAME(load)(strip + shift[t] + q));
            }
        }
        if (whole < cols)
            UNROLL
            for (int i = 0; i < m; i++) {
                const VECTOR left = NAME(keep)(NAME(load_before)(grad + i * apart + last, block->end), mask);
                UNROLL
                for (int t = 0; t < n; t++)
                    sum[i][t] += left * NAME(keep)(NAME(load)(strip + shift[t] + last), mask);
            }
    }
    UNROLL
    for (int i = 0; i < m; i++)
        UNROLL
        for (int t = 0; t < n; t++) {
            REAL *target = sums + (i * taps + t) * LANES;
            NAME(store)(target, NAME(load)(target) + sum[i][t]);
        }
}

#define SUM_TAPS(m, n)                                                                                           \
    static void NAME(sum_taps_##m##x##n)(const NAME(rows_of_positions) *block, const REAL *grad, int64_t apart,  \
                                         const REAL *strip, const int64_t *shift, REAL *sums, int64_t taps)      \
    { NAME(sum_taps)(m, n, block, grad, apart, strip, shift, sums, taps); }
SUM_TAPS(1, 1) SUM_TAPS(1, 2) SUM_TAPS(1, 3) SUM_TAPS(1, 4) SUM_TAPS(1, 5) SUM_TAPS(1, 6) SUM_TAPS(1, 7)
SUM_TAPS(1, 8) SUM_TAPS(1, 9) SUM_TAPS(MR, 1) SUM_TAPS(MR, 2)
#if NV == 3
SUM_TAPS(MR, 3)
#endif

/* By the number of taps minus one, for one filter and for MR. */
static NAME(tap_kernel) *const NAME(one_filter)[MOST_TAPS] = {
    NAME(sum_taps_1x1), NAME(sum_taps_1x2), NAME(sum_taps_1x3), NAME(sum_taps_1x4), NAME(sum_taps_1x5),
    NAME(sum_taps_1x6), NAME(sum_taps_1x7), NAME(sum_taps_1x8), NAME(sum_taps_1x9),
};
static NAME(tap_kernel) *const NAME(filters)[NV] = {
    NAME(sum_taps_MRx1), NAME(sum_taps_MRx2),
#if NV == 3
    NAME(sum_taps_MRx3),
#endif
};

#define TAP_GRADIENT_ARGUMENTS(X)                          \
    WINDOW_FIELDS(X)                                       \
    X(block_rows)    /* rows of a block of positions */    \
    X(block_cols)    /* columns of a block of positions */ \
    X(filter_blocks) /* blocks of filters */               \
    X(block_filters) /* filters of a block */
ARGUMENTS(TapGradient, TAP_GRADIENT_ARGUMENTS);

typedef struct {
    int64_t *shift; /* of each tap in the strip */
    REAL *sums;     /* a vector for each tap of each filter of a block */
    REAL *strip;
    int64_t bytes;
} NAME(tap_gradient_parts);

static NAME(tap_gradient_parts) NAME(tap_gradient_layout)(const TapGradient *a, char *memory)
{
    Scratch s = {memory, 0};
    NAME(tap_gradient_parts) parts;
    const Window *w = (const Window *)a;
    const int64_t icg = w->ic / w->g, K = icg * w->kh * w->kw;
    const NAME(strip) strip = NAME(strip_of)(w, a->block_rows, a->block_cols, 0);
    parts.shift = take(&s, K * sizeof(int64_t));
    parts.sums = take(&s, a->block_filters * K * LANES * sizeof(REAL));
    parts.strip = take(&s, (icg * strip.plane + LANES) * sizeof(REAL));
    parts.bytes = s.bytes;
    return parts;
}

static int64_t NAME(tap_gradient_scratch)(const int64_t *ints)
{ return NAME(tap_gradient_layout)((const TapGradient *)ints, 0).bytes; }

/* Tile: a block of filters of one group; it sums over all positions in order. arrays: x, grad, out, scratch. */
static void NAME(tap_gradient)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                               int64_t worker)
{
    const TapGradient *a = (const TapGradient *)ints;
    const Window *w = (const Window *)ints;
    const int64_t block_rows = a->block_rows, block_cols = a->block_cols;
    const int64_t filter_blocks = a->filter_blocks, block_filters = a->block_filters;
    const int64_t icg = w->ic / w->g, ocg = w->oc / w->g, K = icg * w->kh * w->kw, positions = w->oh * w->ow;
    const NAME(tap_gradient_parts) own =
        NAME(tap_gradient_layout)(a, (char *)arrays[3] + worker * NAME(tap_gradient_scratch)(ints));
    int64_t *shift = own.shift;
    REAL *sums = own.sums, *strip = own.strip;
    for (int64_t tile = begin; tile < end; tile++) {
        const int64_t g = tile / filter_blocks, m0 = tile % filter_blocks * block_filters;
        const int64_t filters = ocg - m0 < block_filters ? ocg - m0 : block_filters;
        memset(sums, 0, filters * K * LANES * sizeof(REAL));
        for (int64_t n = 0; n < w->n; n++) {
            const REAL *image = (const REAL *)arrays[0] + n * w->xn + g * icg * w->xc;
            const REAL *grad = (const REAL *)arrays[1] + (n * w->oc + g * ocg + m0) * positions;
            for (int64_t row0 = 0; row0 < w->oh; row0 += block_rows)
                for (int64_t col0 = 0; col0 < w->ow; col0 += block_cols) {
                    if (stops(arrays, worker))
                        return;
                    const int64_t rows = w->oh - row0 < block_rows ? w->oh - row0 : block_rows;
                    const int64_t cols = w->ow - col0 < block_cols ? w->ow - col0 : block_cols;
                    const NAME(strip) s = NAME(strip_of)(w, rows, cols, 0);
                    const NAME(rows_of_positions) block = {
                        rows, cols, w->ow, s.pitch, (const REAL *)arrays[1] + w->n * w->oc * positions,
                    };
                    NAME(fill_strip)(image, w, &s, icg, row0, col0, strip);
                    NAME(shifts)(w, &s, 0, K, shift);
                    for (int64_t m = 0, some; m < filters; m += some) {
                        const int64_t most = filters - m < MR ? MOST_TAPS : NV;
                        some = filters - m < MR ? 1 : MR;
                        for (int64_t k = 0, taps; k < K; k += taps) {
                            /* Of about equal length: a single tap would wait for its multiply-adds. */
                            taps = (K - k) / ((K - k + most - 1) / most);
                            (some == 1 ? NAME(one_filter) : NAME(filters))[taps - 1](
                                &block, grad + m * positions + row0 * w->ow + col0, positions, strip, shift + k,
                                sums + (m * K + k) * LANES, K);
                        }
                    }
                }
        }
        REAL *out = (REAL *)arrays[2] + (g * ocg + m0) * K;
        for (int64_t i = 0; i < filters * K; i++)
            out[i] = NAME(total)(NAME(load)(sums + i * LANES));
    }
}
