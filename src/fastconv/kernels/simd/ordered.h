/* Correlation of integers with real weights, bit for bit as SciPy computes it.
 *
 *   y[r, q]   = cast(sum_t weight[t] * x[r + row[t] - pt, q + column[t] - pl])
 *   out[r, q] = cast(sum_t along[t] * y[r, q + along_column[t] - along_pl])          if there is a second pass
 *
 * A cast rounds towards zero, so the last bit of a sum decides whether a result is 7 or 8: sums are in float64, and
 * products are added in the order in which they are listed. A multiply-add would round once instead of twice, so the
 * source is compiled without contraction. Symmetric and antisymmetric weights are applied to sums or differences, as
 * in SciPy: the list then holds the tap in the centre, followed by pairs.
 *
 * Rows are widened once, into a ring of the kh newest rows of a strip of columns; ring and strip fit L1. A second pass
 * runs along the rows of a block, which are kept in the type of the output, and fit L2. (Widening at every tap, without a
 * ring, takes up to twice as long.) Positions past the edges are looked up in maps (continuation.h).
 *
 * Bytes are widened to float32 if few sums are whole numbers (engine/ordered.py). Sums in float32 (near.h) are cast if
 * all numbers within their error are cast to the same integer, and only the others are added up again, in float64. They
 * are rare unless the image is flat: the sum is then next to a whole number, and which side it is on is up to SciPy's
 * order.
 *
 * Only three functions know the types of values; they are passed by address. The kernel is included once for each type
 * LINE of widened values.
 */
#if !NEAR
/* n vectors of sums. The first of `terms` is one tap; each of the others is a tap or, with `parity`, a pair. */
static inline __attribute__((always_inline)) void NAME(ordered_vectors)(const int n, const int parity,
                                                                        const LINE *const *from, const double *weight,
                                                                        int64_t terms, int64_t q, LINE *to)
{
    NAME(vector) sum[ABREAST];
    UNROLL
    for (int s = 0; s < n; s++)
        sum[s] = (LINE)weight[0] * NAME(load)(from[0] + q + s * LANES_OF(LINE));
    for (int64_t t = 1; t < terms; t++) {
        const LINE *a = from[parity ? 2 * t - 1 : t] + q, *b = from[parity ? 2 * t : t] + q;
        const LINE w = (LINE)weight[t];
        __asm__("" : "+r"(a), "+r"(b)); /* or GCC spends a register on the address of every vector */
        UNROLL
        for (int s = 0; s < n; s++) {
            NAME(vector) value = NAME(load)(a + s * LANES_OF(LINE));
            if (parity)
                value = parity > 0 ? value + NAME(load)(b + s * LANES_OF(LINE))
                                   : value - NAME(load)(b + s * LANES_OF(LINE));
            sum[s] += w * value;
        }
    }
    UNROLL
    for (int s = 0; s < n; s++)
        NAME(store)(to + q + s * LANES_OF(LINE), sum[s]);
}

/* Sums of `width` values, and of up to a vector more. */
static inline __attribute__((always_inline)) void NAME(ordered_sums_as)(const int parity, const LINE *const *from,
                                                                        const double *weight, int64_t terms,
                                                                        int64_t width, LINE *to)
{
    int64_t q = 0;
    for (; q + ABREAST * LANES_OF(LINE) <= width; q += ABREAST * LANES_OF(LINE))
        NAME(ordered_vectors)(ABREAST, parity, from, weight, terms, q, to);
    for (; q < width; q += LANES_OF(LINE))
        NAME(ordered_vectors)(1, parity, from, weight, terms, q, to);
}

static void NAME(ordered_sums)(int64_t parity, const LINE *const *from, const double *weight, int64_t terms,
                               int64_t width, LINE *to)
{
    if (parity > 0)
        NAME(ordered_sums_as)(1, from, weight, terms, width, to);
    else if (parity < 0)
        NAME(ordered_sums_as)(-1, from, weight, terms, width, to);
    else
        NAME(ordered_sums_as)(0, from, weight, terms, width, to);
}
#else
/* Whether all of n neighbouring sums are of equal values. */
static int is_flat(const float *const *from, int64_t taps, int64_t q, int64_t n)
{
    for (int64_t t = 0; t < taps; t++) {
        int differs = 0;
        INDEPENDENT for (int64_t i = 0; i < n; i++)
            differs |= from[t][q + i] != from[0][q];
        if (differs)
            return 0;
    }
    return 1;
}

/* AGAIN sums in float64, in registers. Pairs of bytes are added exactly in either type. */
static void exact_sums(int64_t parity, const float *const *from, const double *weight, int64_t terms, int64_t q,
                       double *to)
{
    enum { vectors = AGAIN * sizeof(double) / SIMD_BYTES };
    typedef float halves __attribute__((vector_size(SIMD_BYTES / 2), aligned(sizeof(float)), may_alias));
    vector_f64 sum[vectors];
    UNROLL
    for (int s = 0; s < vectors; s++)
        sum[s] = weight[0] * __builtin_convertvector(*(const halves *)(from[0] + q + s * LANES_OF(double)), vector_f64);
    for (int64_t t = 1; t < terms; t++) {
        const float *a = from[parity ? 2 * t - 1 : t] + q, *b = from[parity ? 2 * t : t] + q;
        const float sign = (float)parity;
        UNROLL
        for (int s = 0; s < vectors; s++) {
            halves value = *(const halves *)(a + s * LANES_OF(double));
            if (parity)
                value += sign * *(const halves *)(b + s * LANES_OF(double));
            sum[s] += weight[t] * __builtin_convertvector(value, vector_f64);
        }
    }
    UNROLL
    for (int s = 0; s < vectors; s++)
        store_f64(to + s * LANES_OF(double), sum[s]);
}
#endif

typedef struct {
    const LINE **from; /* where each tap of an output row reads */
    LINE *ring;        /* the newest kh rows of a strip */
    LINE *line;        /* a continued row of the block */
    LINE *sums;        /* a row of sums, or two */
    char *rows;        /* the block, as cast after the first pass */
    int64_t pitch;     /* values from one row of the ring to the next */
    int64_t bytes;
} NAME(ordered_parts);

static NAME(ordered_parts) NAME(lay_out_ordered)(const Ordered *a, char *memory)
{
    Scratch s = {memory, 0};
    const int64_t most = a->taps > a->along_taps ? a->taps : a->along_taps;
    NAME(ordered_parts) parts;
    parts.pitch = a->strip + a->reach + TOGETHER;
    parts.from = take(&s, most * sizeof(LINE *));
    parts.ring = take(&s, a->kh * parts.pitch * sizeof(LINE));
    parts.sums = take(&s, a->rows * a->strip * sizeof(LINE));
    parts.line = take(&s, a->along_taps ? (a->iw + a->along_reach + a->strip) * sizeof(LINE) : 0);
    parts.rows = take(&s, a->along_taps ? a->block * a->iw * a->out_size : 0);
    parts.bytes = s.bytes;
    return parts;
}

static int64_t NAME(ordered_scratch)(const int64_t *ints)
{
    return NAME(lay_out_ordered)((const Ordered *)ints, 0).bytes;
}

/* n values of an axis continued past its ends, from position `at`: those of `row`, or of no row if that is null. */
static void NAME(widen_continued)(LINE *to, const char *row, int64_t size, int64_t at, int64_t n, int64_t extent,
                                  int64_t pad, const int64_t *map, LINE fill, widen_function *widen)
{
    const int64_t first = clip(-at, 0, n), last = clip(extent - at, first, n);
    if (row)
        widen(to + first, row + (at + first) * size, last - first);
    for (int64_t t = row && first == 0 ? last : 0; t < n; t = row && t + 1 == first ? last : t + 1) {
        const int64_t x = row ? source_of(at + t, extent, pad, map) : -1;
        if (x >= 0)
            widen(to + t, row + x * size, 1);
        else
            to[t] = fill;
    }
}

#if NEAR
/* Cast `width` sums, those of a pass or of a second row. What is in doubt is added up again. */
static void cast_near(const Ordered *a, void **arrays, const ordered_parts_f32 *own, const float *near, int along,
                      int second, int64_t width, char *to)
{
    const double *weight = (const double *)arrays[2] + (along || second ? a->terms : 0);
    const int64_t terms = along ? a->along_terms : a->terms, parity = along ? a->along_parity : a->parity;
    const int64_t taps = along ? a->along_taps : a->taps;
    const double error = ((const double *)arrays[2])[a->terms * a->rows + a->along_terms];
    narrow_near_function *const narrow_near = (narrow_near_function *)arrays[10];
    narrow_function *const narrow = (narrow_function *)arrays[8];
    double sums[AGAIN];
    for (int64_t q = 0; (q = narrow_near(to, near, error, q, width)) < width; q += TOGETHER) {
        const int64_t end = width - q < TOGETHER ? width : q + TOGETHER;
        if (is_flat(own->from, taps, q, end - q)) {
            exact_sums(parity, own->from, weight, terms, q, sums);
            narrow(to + q, sums, 1);
            memset(to + q, to[q], end - q);
        } else
            for (int64_t at = q; at < end; at += AGAIN) {
                const int64_t next = end - at < AGAIN ? end : at + AGAIN;
                if (narrow_near(to, near, error, at, next) == next)
                    continue;
                exact_sums(parity, own->from, weight, terms, at, sums);
                narrow(to + at, sums, next - at);
            }
    }
}
#endif

/* Add `width` sums up, and cast them. */
static void NAME(cast_sums)(const Ordered *a, void **arrays, const NAME(ordered_parts) *own, int along, int64_t width,
                            char *to)
{
    const double *weight = (const double *)arrays[2];
    const int64_t terms = along ? a->along_terms : a->terms, parity = along ? a->along_parity : a->parity;
#if NEAR
    const float *near_weight = (const float *)(weight + a->terms + a->along_terms + 1) + (along ? a->terms : 0);
    OF_ISA(near_sums)(parity, own->from, near_weight, terms, width, own->sums);
    cast_near(a, arrays, own, own->sums, along, 0, width, to);
#else
    NAME(ordered_sums)(parity, own->from, weight + (along ? a->terms : 0), terms, width, own->sums);
    ((narrow_function *)arrays[8])(to, own->sums, width);
#endif
}

#if NEAR
/* The same for two rows of outputs, or for the last one alone. */
static void cast_rows(const Ordered *a, void **arrays, const ordered_parts_f32 *own, int64_t rows, int64_t width,
                      char *to)
{
    const float *near_weight = (const float *)((const double *)arrays[2] + 2 * a->terms + 1);
    OF_ISA(near_rows)(own->from, near_weight, a->terms, width, own->sums, own->sums + a->strip);
    for (int64_t r = 0; r < rows; r++)
        cast_near(a, arrays, own, own->sums + r * a->strip, 0, (int)r, width, to + r * a->iw * a->out_size);
}
#endif

/* Tile: rows of one plane. arrays: x, out, weights of the first pass, or row, and of the second, the error of their sums
 * in float32, and for these the weights in that type, row and column of each tap in the order of addition, maps of rows,
 * of columns, and of columns for the second pass, what widens the image, what narrows to the output, what widens that
 * again, what narrows sums in float32 or null, scratch. scalars: fill. */
static void NAME(ordered)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                          int64_t worker)
{
    const Ordered *a = (const Ordered *)ints;
    const int64_t ih = a->ih, iw = a->iw, kh = a->kh, size = a->size, out_size = a->out_size;
    const LINE fill = (LINE)scalars[0];
    const int64_t *taps = arrays[3], *along = taps + 2 * a->taps;
    const int64_t *row_map = arrays[4], *col_map = arrays[5], *along_map = arrays[6];
    widen_function *const widen = (widen_function *)arrays[7], *const widen_again = (widen_function *)arrays[9];
    const NAME(ordered_parts) own = NAME(lay_out_ordered)(a, (char *)arrays[11] + worker * NAME(ordered_scratch)(ints));
    const int64_t block = a->along_taps ? a->block : a->row_tile;
    for (int64_t tile = begin; tile < end; tile++) {
        const int64_t n = tile / a->down, top = tile % a->down * a->row_tile;
        const int64_t bottom = ih - top < a->row_tile ? ih : top + a->row_tile;
        const char *image = (const char *)arrays[0] + n * ih * iw * size;
        char *out = (char *)arrays[1] + n * ih * iw * out_size;
        for (int64_t row0 = top; row0 < bottom; row0 += block) {
            const int64_t row1 = bottom - row0 < block ? bottom : row0 + block;
            char *target = a->along_taps ? own.rows : out + row0 * iw * out_size;
            for (int64_t col = 0; col < iw; col += a->strip) {
                const int64_t cols = iw - col < a->strip ? iw - col : a->strip;
                for (int64_t r = row0, next = row0; r < row1; r += a->rows) {
                    if ((r % 16 == row0 % 16 || a->taps > 256) && stops(arrays, worker))
                        return;
                    for (; next < r + kh; next++) {
                        const int64_t y = source_of(next - a->pt, ih, a->pt, row_map);
                        NAME(widen_continued)(own.ring + next % kh * own.pitch, y < 0 ? 0 : image + y * iw * size, size,
                                              col - a->pl, cols + a->reach, iw, a->pl, col_map, fill, widen);
                    }
                    const int64_t oldest = r % kh;
                    for (int64_t t = 0; t < a->taps; t++) {
                        const int64_t row = oldest + taps[2 * t];
                        own.from[t] = own.ring + (row < kh ? row : row - kh) * own.pitch + taps[2 * t + 1];
                    }
                    char *to = target + ((r - row0) * iw + col) * out_size;
#if NEAR
                    if (a->rows > 1) {
                        cast_rows(a, arrays, &own, row1 - r < 2 ? 1 : 2, cols, to);
                        continue;
                    }
#endif
                    NAME(cast_sums)(a, arrays, &own, 0, cols, to);
                }
            }
            for (int64_t r = row0; r < row1 && a->along_taps; r++) {
                NAME(widen_continued)(own.line, own.rows + (r - row0) * iw * out_size, out_size, -a->along_pl,
                                      iw + a->along_reach, iw, a->along_pl, along_map, fill, widen_again);
                for (int64_t col = 0; col < iw; col += a->strip) {
                    const int64_t cols = iw - col < a->strip ? iw - col : a->strip;
                    for (int64_t t = 0; t < a->along_taps; t++)
                        own.from[t] = own.line + col + along[2 * t + 1];
                    NAME(cast_sums)(a, arrays, &own, 1, cols, out + (r * iw + col) * out_size);
                }
            }
        }
    }
}
