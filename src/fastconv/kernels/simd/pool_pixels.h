/* Maxima and means of windows of images with channels last, which are read where they lie.
 *
 *   out[r, q, c] = fold_{i, j} x[r * sh - pt + i * dh, q * sw - pl + j * dw, c]    over the taps inside the image
 *
 * Vectors run along the channels. A window is folded in one pass: each of its rows, and then the rows.
 */
#define POOL_PIXELS_ARGUMENTS(X)                                                     \
    X(c)        /* channels: as many as a vector has lanes, or more */               \
    X(ih)       /* extents of an image */                                            \
    X(iw)                                                                            \
    X(oh)       /* extents of the output */                                          \
    X(ow)                                                                            \
    X(kh)       /* extents of a window */                                            \
    X(kw)                                                                            \
    X(sh)       /* strides */                                                        \
    X(sw)                                                                            \
    X(dh)       /* distances between taps */                                         \
    X(dw)                                                                            \
    X(pt)       /* rows of padding above the image */                                \
    X(pl)       /* columns of padding to its left */                                 \
    X(xn)       /* values from one image to the next */                              \
    X(xh)       /* values from one row to the next */                                \
    X(xw)       /* values from one pixel to the next; its channels are neighbours */ \
    X(averages) /* whether means are computed, not maxima */
ARGUMENTS(PoolPixels, POOL_PIXELS_ARGUMENTS);

/* The most vectors of a block: their maxima, and what is known of NaN, fill half of 16 registers. */
#define MOST_POOLED 4

typedef struct {
    const REAL *x;        /* the first tap inside the image, at channel 0 */
    int64_t rows, cols;   /* taps inside the image */
    int64_t down, across; /* values from one of them to the next */
    REAL count;           /* what sums are divided by */
} NAME(pooled_window);

/* A block of `vectors` vectors of channels, from `c` on. The larger of two values drops a NaN that comes second: it is
 * looked for beside that. */
static inline __attribute__((always_inline)) void NAME(pool_block)(const int averages, const int vectors,
                                                                   const NAME(pooled_window) *w, int64_t c, REAL *out)
{
    VECTOR fold[MOST_POOLED];
    NAME(mask) lost[MOST_POOLED];
    UNROLL
    for (int v = 0; v < vectors; v++) {
        fold[v] = NAME(broadcast)(averages ? -(REAL)0 : -(REAL)INFINITY); /* the zero that changes no value */
        lost[v] = (NAME(mask)){0};
    }
    const REAL *line = w->x + c;
    for (int64_t i = 0; i < w->rows; i++, line += w->down) {
        const REAL *at = line;
        VECTOR of_row[MOST_POOLED];
        UNROLL
        for (int v = 0; averages && v < vectors; v++)
            of_row[v] = NAME(broadcast)(-(REAL)0);
        for (int64_t j = 0; j < w->cols; j++, at += w->across)
            UNROLL
            for (int v = 0; v < vectors; v++) {
                const VECTOR value = NAME(load)(at + v * LANES);
                if (averages)
                    of_row[v] += value;
                else {
                    lost[v] |= value != value;
                    fold[v] = NAME(larger)(fold[v], value);
                }
            }
        UNROLL
        for (int v = 0; averages && v < vectors; v++)
            fold[v] += of_row[v];
    }
    UNROLL
    for (int v = 0; v < vectors; v++)
        NAME(store)(out + c + v * LANES,
                    averages ? fold[v] / NAME(broadcast)(w->count) : (VECTOR)((NAME(mask))fold[v] | lost[v]));
}

/* All channels of a window. The last ones, if they do not fill a vector, are folded with some of those before them. */
static inline __attribute__((always_inline)) void NAME(pool_window)(const int averages, int64_t channels,
                                                                    const NAME(pooled_window) *w, REAL *out)
{
    int64_t c = 0;
    for (; c + MOST_POOLED * LANES <= channels; c += MOST_POOLED * LANES)
        NAME(pool_block)(averages, MOST_POOLED, w, c, out);
    for (; c < channels; c += LANES)
        NAME(pool_block)(averages, 1, w, c < channels - LANES ? c : channels - LANES, out);
}

/* The taps of a window that are inside an axis: its first one, and how many. */
static inline int64_t NAME(taps_inside)(int64_t start, int64_t k, int64_t d, int64_t extent, int64_t *first)
{
    *first = start < 0 ? (-start + d - 1) / d : 0;
    const int64_t past = start < extent ? (extent - start + d - 1) / d : 0, end = past < k ? past : k;
    return end > *first ? end - *first : 0;
}

/* Tile: a row of the output. arrays: x, out without gaps, null, what sums are divided by at each position, or null. */
static void NAME(pool_pixels)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                              int64_t worker)
{
    const PoolPixels *a = (const PoolPixels *)ints;
    const REAL *counts = arrays[3];
    int64_t unasked = 0;
    for (int64_t tile = begin; tile < end; tile++) {
        const int64_t n = tile / a->oh, r = tile % a->oh, top = r * a->sh - a->pt;
        int64_t i0, j0;
        NAME(pooled_window) w = {
            .rows = NAME(taps_inside)(top, a->kh, a->dh, a->ih, &i0),
            .down = a->dh * a->xh,
            .across = a->dw * a->xw,
        };
        const REAL *line = (const REAL *)arrays[0] + n * a->xn + (top + i0 * a->dh) * a->xh;
        REAL *out = (REAL *)arrays[1] + tile * a->ow * a->c;
        for (int64_t q = 0; q < a->ow; q++, out += a->c) {
            unasked += a->c * (w.rows * a->kw + 1) / LANES;
            if (unasked > PRODUCTS_UNASKED) {
                unasked = 0;
                if (stops(arrays, worker))
                    return;
            }
            const int64_t left = q * a->sw - a->pl;
            w.cols = NAME(taps_inside)(left, a->kw, a->dw, a->iw, &j0);
            w.x = line + (left + j0 * a->dw) * a->xw;
            if (a->averages) {
                w.count = counts[r * a->ow + q];
                NAME(pool_window)(1, a->c, &w, out);
            } else
                NAME(pool_window)(0, a->c, &w, out);
        }
    }
}
