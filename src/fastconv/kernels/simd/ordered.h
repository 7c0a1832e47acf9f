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
 * Rows are widened to float64 once, into a ring of the kh newest rows of a strip of columns; ring and strip fit L1. A
 * second pass runs along the rows of a block, which are kept in the type of the output, and fit L2. (Widening at every
 * tap, without a ring, takes up to twice as long.) Positions past the edges are looked up in maps (continuation.h).
 *
 * Only three functions know the types of values; they are passed by address.
 */
#include "isa.h"

#include "continuation.h"

#define REAL double
#define BITS int64_t
#define NAME(name) name##_f64
#include "vector.h"

typedef void widen_function(double *to, const void *from, int64_t n);
typedef void narrow_function(void *to, const double *from, int64_t n);

/* Whether all values fit int32_t, by way of which vectors cast them. */
static int fit(const double *from, int64_t n)
{
    const VECTOR low = NAME(broadcast)(-2147483649.0), high = NAME(broadcast)(2147483648.0);
    NAME(mask) fits = low < high;
    int64_t i = 0, all = 1;
    for (; i + LANES <= n; i += LANES) {
        const VECTOR x = NAME(load)(from + i);
        fits &= (x > low) & (x < high);
    }
    for (int64_t lane = 0; lane < LANES; lane++)
        all &= fits[lane];
    for (; i < n; i++)
        all &= (from[i] > low[0]) & (from[i] < high[0]);
    return all;
}

#define INTEGERS(name, T)                                                                         \
    static void widen_##name(double *restrict to, const void *restrict from, int64_t n)           \
    {                                                                                             \
        const T *restrict x = from;                                                               \
        for (int64_t i = 0; i < n; i++)                                                           \
            to[i] = (double)x[i];                                                                 \
    }                                                                                             \
    static void narrow_fitting_##name(void *restrict to, const double *restrict from, int64_t n)  \
    {                                                                                             \
        T *restrict y = to;                                                                       \
        for (int64_t i = 0; i < n; i++)                                                           \
            y[i] = (T)(int32_t)from[i];                                                           \
    }                                                                                             \
    static void narrow_##name(void *restrict to, const double *restrict from, int64_t n)          \
    {                                                                                             \
        T *restrict y = to;                                                                       \
        if (fit(from, n))                                                                         \
            narrow_fitting_##name(to, from, n);                                                   \
        else                                                                                      \
            for (int64_t i = 0; i < n; i++) /* as convert.h does */                               \
                y[i] = (T)-1 > 0 ? (T)(int64_t)from[i] : (T)from[i];                              \
    }

/* The types that are cast: X(name, type). */
#define CAST_TYPES(X) \
    X(i1, int8_t) X(u1, uint8_t) X(i2, int16_t) X(u2, uint16_t) X(i4, int32_t) X(u4, uint32_t)
CAST_TYPES(INTEGERS)

/* n vectors of sums. The first of `terms` is one tap; each of the others is a tap or, with `parity`, a pair. */
static inline __attribute__((always_inline)) void ordered_vectors(const int n, const int parity,
                                                                  const double *const *from, const double *weight,
                                                                  int64_t terms, int64_t q, double *to)
{
    VECTOR sum[ABREAST];
    UNROLL
    for (int s = 0; s < n; s++)
        sum[s] = NAME(broadcast)(weight[0]) * NAME(load)(from[0] + q + s * LANES);
    for (int64_t t = 1; t < terms; t++) {
        const double *a = from[parity ? 2 * t - 1 : t] + q, *b = from[parity ? 2 * t : t] + q;
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
    for (int s = 0; s < n; s++)
        NAME(store)(to + q + s * LANES, sum[s]);
}

/* Sums of `width` values, and of up to a vector more. */
static inline __attribute__((always_inline)) void ordered_sums_as(const int parity, const double *const *from,
                                                                  const double *weight, int64_t terms, int64_t width,
                                                                  double *to)
{
    int64_t q = 0;
    for (; q + ABREAST * LANES <= width; q += ABREAST * LANES)
        ordered_vectors(ABREAST, parity, from, weight, terms, q, to);
    for (; q < width; q += LANES)
        ordered_vectors(1, parity, from, weight, terms, q, to);
}

static void ordered_sums(int64_t parity, const double *const *from, const double *weight, int64_t terms, int64_t width,
                         double *to)
{
    if (parity > 0)
        ordered_sums_as(1, from, weight, terms, width, to);
    else if (parity < 0)
        ordered_sums_as(-1, from, weight, terms, width, to);
    else
        ordered_sums_as(0, from, weight, terms, width, to);
}

#define ORDERED_ARGUMENTS(X)                                                      \
    X(size)         /* bytes of a value of the image */                           \
    X(out_size)     /* bytes of a value of the output */                          \
    X(ih)           /* rows of a plane */                                         \
    X(iw)           /* columns of a plane */                                      \
    X(kh)           /* rows that the first pass sees */                           \
    X(reach)        /* columns past an output's own strip that it sees */         \
    X(pt)           /* rows above the output's own that it sees */                \
    X(pl)           /* columns before the output's own that it sees */            \
    X(taps)         /* of the first pass */                                       \
    X(terms)        /* weights of the first pass: fewer than taps if in pairs */  \
    X(parity)       /* 1 for sums of pairs, -1 for differences, 0 for no pairs */ \
    X(along_reach)  /* the same of the second pass, */                            \
    X(along_pl)     /* which runs along the rows */                               \
    X(along_taps)   /* 0 if there is none */                                      \
    X(along_parity) /* */                                                         \
    X(along_terms)  /* */                                                         \
    X(row_tile)     /* rows of a tile */                                          \
    X(down)         /* tiles down */                                              \
    X(strip)        /* columns of a strip: whole vectors */                       \
    X(block)        /* rows that a second pass runs along at a time */
ARGUMENTS(Ordered, ORDERED_ARGUMENTS);

typedef struct {
    const double **from; /* where each tap of an output row reads */
    double *ring;        /* the newest kh rows of a strip */
    double *line;        /* a continued row of the block */
    double *sums;        /* a row of sums */
    char *rows;          /* the block, as cast after the first pass */
    int64_t pitch;       /* values from one row of the ring to the next */
    int64_t bytes;
} ordered_parts;

static ordered_parts lay_out_ordered(const Ordered *a, char *memory)
{
    Scratch s = {memory, 0};
    const int64_t most = a->taps > a->along_taps ? a->taps : a->along_taps;
    ordered_parts parts;
    parts.pitch = a->strip + a->reach + LANES;
    parts.from = take(&s, most * sizeof(double *));
    parts.ring = take(&s, a->kh * parts.pitch * sizeof(double));
    parts.sums = take(&s, a->strip * sizeof(double));
    parts.line = take(&s, a->along_taps ? (a->iw + a->along_reach + a->strip) * sizeof(double) : 0);
    parts.rows = take(&s, a->along_taps ? a->block * a->iw * a->out_size : 0);
    parts.bytes = s.bytes;
    return parts;
}

static int64_t ordered_scratch(const int64_t *ints) { return lay_out_ordered((const Ordered *)ints, 0).bytes; }

/* n values of an axis continued past its ends, from position `at`: those of `row`, or of no row if that is null. */
static void widen_continued(double *to, const char *row, int64_t size, int64_t at, int64_t n, int64_t extent,
                            int64_t pad, const int64_t *map, double fill, widen_function *widen)
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

/* Tile: rows of one plane. arrays: x, out, weights of the first pass and of the second, row and column of each tap in the
 * order of addition, maps of rows, of columns, and of columns for the second pass, what widens the image, what narrows
 * to the output, what widens that again, scratch. scalars: fill. */
static void ordered(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                    int64_t worker)
{
    const Ordered *a = (const Ordered *)ints;
    const int64_t ih = a->ih, iw = a->iw, kh = a->kh, size = a->size, out_size = a->out_size;
    const double *weight = arrays[2], *along_weight = weight + a->terms, fill = scalars[0];
    const int64_t *taps = arrays[3], *along = taps + 2 * a->taps;
    const int64_t *row_map = arrays[4], *col_map = arrays[5], *along_map = arrays[6];
    widen_function *const widen = (widen_function *)arrays[7], *const widen_again = (widen_function *)arrays[9];
    narrow_function *const narrow = (narrow_function *)arrays[8];
    const ordered_parts own = lay_out_ordered(a, (char *)arrays[10] + worker * ordered_scratch(ints));
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
                for (int64_t r = row0, next = row0; r < row1; r++) {
                    if ((r % 16 == row0 % 16 || a->taps > 256) && stops(arrays, worker))
                        return;
                    for (; next < r + kh; next++) {
                        const int64_t y = source_of(next - a->pt, ih, a->pt, row_map);
                        widen_continued(own.ring + next % kh * own.pitch, y < 0 ? 0 : image + y * iw * size, size,
                                        col - a->pl, cols + a->reach, iw, a->pl, col_map, fill, widen);
                    }
                    const int64_t oldest = r % kh;
                    for (int64_t t = 0; t < a->taps; t++) {
                        const int64_t row = oldest + taps[2 * t];
                        own.from[t] = own.ring + (row < kh ? row : row - kh) * own.pitch + taps[2 * t + 1];
                    }
                    ordered_sums(a->parity, own.from, weight, a->terms, cols, own.sums);
                    narrow(target + ((r - row0) * iw + col) * out_size, own.sums, cols);
                }
            }
            for (int64_t r = row0; r < row1 && a->along_taps; r++) {
                widen_continued(own.line, own.rows + (r - row0) * iw * out_size, out_size, -a->along_pl,
                                iw + a->along_reach, iw, a->along_pl, along_map, fill, widen_again);
                for (int64_t col = 0; col < iw; col += a->strip) {
                    const int64_t cols = iw - col < a->strip ? iw - col : a->strip;
                    for (int64_t t = 0; t < a->along_taps; t++)
                        own.from[t] = own.line + col + along[2 * t + 1];
                    ordered_sums(a->along_parity, own.from, along_weight, a->along_terms, cols, own.sums);
                    narrow(out + (r * iw + col) * out_size, own.sums, cols);
                }
            }
        }
    }
}

/* The kernels of reals are not in this source. */
#undef REAL
#undef BITS
#undef NAME
