/* Extremes and means of windows, by a few folds of shifted values. fold is the maximum, the minimum or the sum.
 *
 *   W_1 = x,   W_2m[t] = fold(W_m[t], W_m[t + m]),   W_2m+1[t] = fold(W_m[t + 1], W_m[t + 1 + m], x[t])
 *
 * so that a window of k samples takes one step for each bit b of k below the highest, after which k >> b samples are
 * folded. (Van Herk's and Gil and Werman's three comparisons depend on each other along a line.) Every output is folded
 * in the same order: errors do not grow along a line, as in a running sum, and a flat image stays flat.
 *
 * Planes are folded down their columns as rows come in, with windows that end at the newest row: each step keeps the
 * rows that it looks back to in a ring. The row made by the last step is folded along itself while it is in L1, from
 * one line into another; several rows at once were no faster. Positions past the edges are looked up in maps
 * (continuation.h).
 *
 * Means of integers are rounded towards zero, as SciPy casts them. Lines then hold wider integers, in which sums are
 * exact: rows are widened as they are gathered, and narrowed by the last fold.
 *
 * Only the folds and what widens rows know the type of the values. They are plain loops, which compilers vectorise, and
 * are passed by address.
 */
#include "isa.h"

#include "continuation.h"

#include "copy.h"

/* n values of `to` from those of a, b and, unless that is null, c; `to` is apart from all. Returns whether a mean is
 * not finite: a sum may overflow where the mean of what is smaller would not. */
typedef int64_t fold_function(void *to, const void *a, const void *b, const void *c, int64_t n, int64_t k);

/* What sums of up to MOST_BYTES bytes are multiplied by, instead of a division by k: 65536 / k times a power of two,
 * rounded up. It exceeds that by less than one, a sum is at most 255 k, and the power at least k / 2: the quotient is too
 * large by less than 1 / k. */
static inline int quotient_shift(uint16_t k) { return 31 - __builtin_clz(k - 1); }
static inline uint16_t reciprocal_of(uint16_t k) { return k < 2 ? 0 : ((65536u << quotient_shift(k)) + k - 1) / k; }

/* `block` values at a time; at the end the last block is repeated, rather than finishing value by value. The reciprocal
 * comes from an array of equal ones: GCC finds the instruction for the high half of a product only if both of its factors
 * are loaded. Written one by one, these took two thirds of a line's time. */
typedef uint16_t halves __attribute__((vector_size(SIMD_BYTES)));
#define FOLD(name, T, OUT, CHOOSE, STORED, IS_WRONG)                                                                  \
    static inline __attribute__((always_inline)) int name##_block(OUT *restrict to, const T *restrict a,              \
                                                                  const T *restrict b, const T *restrict c,           \
                                                                  int64_t n, T k, const uint16_t *reciprocal)         \
    {                                                                                                                 \
        int wrong = 0;                                                                                                \
        for (int64_t i = 0; i < n; i++) {                                                                             \
            const T rest = c ? CHOOSE(b[i], c[i]) : b[i];                                                             \
            const int lost = c ? !(a[i] < b[i] || a[i] >= b[i]) : a[i] != a[i];                                       \
            to[i] = STORED(T, CHOOSE(a[i], rest), lost, k, reciprocal[i]);                                            \
            wrong |= IS_WRONG(to[i]);                                                                                 \
            (void)lost, (void)k;                                                                                      \
        }                                                                                                             \
        return wrong;                                                                                                 \
    }                                                                                                                 \
    static inline __attribute__((always_inline)) int name##_line(OUT *to, const T *a, const T *b, const T *c,         \
                                                                 int64_t n, T k)                                      \
    {                                                                                                                 \
        enum { block = 4 * SIMD_BYTES / sizeof(T), small = SIMD_BYTES / sizeof(T) };                                  \
        int64_t i = 0;                                                                                                \
        int wrong = 0;                                                                                                \
        uint16_t same[block];                                                                                         \
        const halves reciprocals = (halves){0} + reciprocal_of((uint16_t)k);                                          \
        for (uint64_t j = 0; j < sizeof same; j += sizeof reciprocals)                                                \
            memcpy((char *)same + j, &reciprocals, sizeof reciprocals);                                               \
        for (; i + block <= n; i += block)                                                                            \
            wrong |= name##_block(to + i, a + i, b + i, c ? c + i : c, block, k, same);                               \
        for (; i + small <= n; i += small)                                                                            \
            wrong |= name##_block(to + i, a + i, b + i, c ? c + i : c, small, k, same);                               \
        if (i < n && i)                                                                                               \
            i = n - small, wrong |= name##_block(to + i, a + i, b + i, c ? c + i : c, small, k, same);                \
        else                                                                                                          \
            for (; i < n; i++)                                                                                        \
                wrong |= name##_block(to + i, a + i, b + i, c ? c + i : c, 1, k, same);                               \
        return wrong;                                                                                                 \
    }                                                                                                                 \
    static int64_t name(void *to, const void *a, const void *b, const void *c, int64_t n, int64_t k)                  \
    {                                                                                                                 \
        return c ? name##_line(to, a, b, c, n, (T)k) : name##_line(to, a, b, 0, n, (T)k);                             \
    }

#define LARGER(a, b) ((a) > (b) ? (a) : (b))
#define SMALLER(a, b) ((a) < (b) ? (a) : (b))
#define TOTAL(a, b) ((a) + (b))

/* What is stored of what was folded. A choice of two numbers is one instruction, whose result is NaN if the second is
 * one; `lost` tells whether another was, and sets all bits. */
#define AS_IT_IS(T, value, lost, k, reciprocal) (value)
#define DIVIDED(T, value, lost, k, reciprocal) ((value) / (k))
#define ROUNDED(T, value, lost, k, reciprocal) rounded_##T(value, k, reciprocal)
#define MARKED(T, value, lost, k, reciprocal) marked_##T(value, lost)
#define MARK(T, BITS)                                     \
    static inline T marked_##T(T value, int lost)         \
    {                                                     \
        BITS bits;                                        \
        memcpy(&bits, &value, sizeof bits);               \
        bits |= -(BITS)lost;                              \
        memcpy(&value, &bits, sizeof bits);               \
        return value;                                     \
    }
MARK(float, int32_t)
MARK(double, int64_t)

/* The quotient rounded towards zero. Half a unit on top of the sum outweighs every rounding, but no remainder. */
static inline __attribute__((always_inline)) int32_t rounded_int32_t(int32_t sum, int32_t k, uint16_t unused)
{
    (void)unused;
    return (int32_t)((sum + (sum < 0 ? -0.5 : 0.5)) * (1.0 / k));
}

static inline __attribute__((always_inline)) int64_t rounded_int64_t(int64_t sum, int64_t k, uint16_t unused)
{
    (void)unused;
    return (int64_t)((sum + (sum < 0 ? -0.5 : 0.5)) * (1.0 / k));
}

static inline __attribute__((always_inline)) uint16_t rounded_uint16_t(uint16_t sum, uint16_t k, uint16_t reciprocal)
{
    return (uint16_t)((uint32_t)sum * reciprocal >> 16) >> quotient_shift(k);
}

#define NEVER(value) 0
#define NOT_FINITE(value) (!((value) - (value) == 0))

#define EXTREMES(type, T, STORED)                   \
    FOLD(maximum_##type, T, T, LARGER, STORED, NEVER)  \
    FOLD(minimum_##type, T, T, SMALLER, STORED, NEVER)

#define MEANS(type, T)                               \
    FOLD(sum_##type, T, T, TOTAL, AS_IT_IS, NEVER)      \
    FOLD(mean_##type, T, T, TOTAL, DIVIDED, NOT_FINITE)

/* Sums of integers in a wider type T. */
#define WIDE_MEANS(wide, T)                         \
    FOLD(sum_##wide, T, T, TOTAL, AS_IT_IS, NEVER)  \
    FOLD(mean_##wide, T, T, TOTAL, ROUNDED, NEVER)

/* n values, `stride` bytes apart, as wider ones. */
typedef void widen_function(void *to, const char *from, int64_t stride, int64_t n);

/* Means of integers `type`, an OUT, whose sums are a `wide` T. */
#define INTEGER_MEANS(wide, T, type, OUT)                                                      \
    FOLD(mean_of_##wide##_##type, T, OUT, TOTAL, ROUNDED, NEVER)                               \
    static void to_##wide##_##type(void *to, const char *from, int64_t stride, int64_t n)      \
    {                                                                                          \
        T *restrict wider = to;                                                                \
        if (stride == sizeof(OUT))                                                             \
            for (int64_t t = 0; t < n; t++)                                                    \
                wider[t] = ((const OUT *)from)[t];                                             \
        else                                                                                   \
            for (int64_t t = 0; t < n; t++)                                                    \
                wider[t] = *(const OUT *)(from + t * stride);                                  \
    }

/* The types that there are extremes and means of: X(type). */
#define EXTREME_TYPES(X) X(i1) X(u1) X(i2) X(u2) X(i4) X(u4) X(i8) X(u8) X(f4) X(f8)
#define MEAN_TYPES(X) X(f4) X(f8)

/* The types of sums of integers, X(type, T); and the types of what is summed, X(wide, T, type, OUT). */
#define WIDE_TYPES(X) X(u2, uint16_t) X(i4, int32_t) X(i8, int64_t)
#define INTEGER_TYPES(X)                                            \
    X(u2, uint16_t, u1, uint8_t)                                    \
    X(i4, int32_t, i1, int8_t) X(i4, int32_t, u1, uint8_t)          \
    X(i4, int32_t, i2, int16_t) X(i4, int32_t, u2, uint16_t)        \
    X(i8, int64_t, i4, int32_t) X(i8, int64_t, u4, uint32_t)

EXTREMES(i1, int8_t, AS_IT_IS)
EXTREMES(u1, uint8_t, AS_IT_IS)
EXTREMES(i2, int16_t, AS_IT_IS)
EXTREMES(u2, uint16_t, AS_IT_IS)
EXTREMES(i4, int32_t, AS_IT_IS)
EXTREMES(u4, uint32_t, AS_IT_IS)
EXTREMES(i8, int64_t, AS_IT_IS)
EXTREMES(u8, uint64_t, AS_IT_IS)
EXTREMES(f4, float, MARKED)
EXTREMES(f8, double, MARKED)
MEANS(f4, float)
MEANS(f8, double)
WIDE_TYPES(WIDE_MEANS)
INTEGER_TYPES(INTEGER_MEANS)

/* The number of steps that fold k samples. */
static inline int64_t steps_of(int64_t k) { return 63 - __builtin_clzll(k); }

/* The ring of a step's newest rows. */
typedef struct {
    char *rows;
    int64_t depth, newest;
} Ring;

static inline char *next_row(Ring *ring, int64_t pitch)
{
    ring->newest = ring->newest + 1 < ring->depth ? ring->newest + 1 : 0;
    return ring->rows + ring->newest * pitch;
}

static inline const char *row_back(const Ring *ring, int64_t back, int64_t pitch)
{
    const int64_t at = ring->newest - back;
    return ring->rows + (at < 0 ? at + ring->depth : at) * pitch;
}

static inline void copy_value(char *to, const char *from, int64_t size)
{
    switch (size) { /* copying a constant number of bytes is one instruction */
    case 1: memcpy(to, from, 1); break;
    case 2: memcpy(to, from, 2); break;
    case 4: memcpy(to, from, 4); break;
    default: memcpy(to, from, 8);
    }
}

/* Copy n values that are `stride` bytes apart side by side. */
static inline void copy_values(char *to, const char *from, int64_t stride, int64_t n, int64_t size)
{
    if (stride == size)
        copy_line(to, from, n * size);
    else
        for (int64_t t = 0; t < n; t++)
            copy_value(to + t * size, from + t * stride, size);
}

static inline void gather_values(char *to, const char *from, int64_t stride, int64_t n, int64_t size,
                                 widen_function *widen)
{
    if (widen)
        widen(to, from, stride, n);
    else
        copy_values(to, from, stride, n, size);
}

/* Continue a line of `seen` columns, the first of which is column `col` of the image, past those inside: from first to
 * last. The size of values is decided once per line, as there are few columns past the edges of a short one. */
static inline void continue_line(char *line, int64_t size, int64_t col, int64_t first, int64_t last, int64_t seen,
                                 int64_t iw, int64_t pl, const int64_t *col_map, const char *fill)
{
#define CONTINUED(T)                                                             \
    for (int64_t t = edge(0, first, last); t < seen; t = edge(t + 1, first, last)) { \
        const int64_t x = source_of(col + t, iw, pl, col_map);                   \
        memcpy((T *)line + t, x < 0 ? (const T *)fill : (const T *)line + (x - col), sizeof(T)); \
    }
    switch (size) {
    case 1: CONTINUED(int8_t) break;
    case 2: CONTINUED(int16_t) break;
    case 4: CONTINUED(int32_t) break;
    default: CONTINUED(int64_t)
    }
#undef CONTINUED
}

#define WINDOWS_ARGUMENTS(X)                                          \
    X(size)     /* bytes of a value of a line */                      \
    X(in_size)  /* bytes of a value of the image */                   \
    X(out_size) /* bytes of a value of the output */                  \
    X(ih)       /* rows of a plane */                                 \
    X(iw)       /* columns of a plane */                              \
    X(xn)       /* bytes from one plane to the next */                \
    X(xh)       /* bytes from one row to the next */                  \
    X(xw)       /* bytes from one column to the next */               \
    X(kh)       /* rows of the window */                              \
    X(kw)       /* samples of the window along a row */               \
    X(pt)       /* rows of the window above the output's own */       \
    X(pl)       /* columns of the window before the output's own */   \
    X(inner)    /* columns from one sample along a row to the next */ \
    X(row_tile) /* rows of a tile */                                  \
    X(down)     /* tiles down */                                      \
    X(col_tile) /* columns of a tile */                               \
    X(across)   /* tiles across */
ARGUMENTS(Windows, WINDOWS_ARGUMENTS);

typedef struct {
    char *gathered;       /* the three newest rows, for those that are not read in place */
    char *line;           /* what was folded down */
    char *folded;         /* two lines that are folded along in turn */
    Ring ring[MAX_FOLDS]; /* the rows that each step down looks back to */
    int64_t pitch;        /* bytes from one line to the next */
    int64_t bytes;
} window_parts;

static void lay_out_windows(const Windows *a, char *memory, window_parts *parts)
{
    Scratch s = {memory, 0};
    const int64_t seen = a->col_tile + (a->kw - 1) * a->inner, downs = steps_of(a->kh);
    parts->pitch = (seen * a->size + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    parts->gathered = take(&s, 3 * parts->pitch);
    parts->line = take(&s, parts->pitch);
    parts->folded = take(&s, 2 * parts->pitch);
    for (int64_t j = 1; j < downs; j++) {
        const int64_t depth = (a->kh >> (downs - j)) + (a->kh >> (downs - j - 1) & 1) + 1;
        parts->ring[j] = (Ring){take(&s, depth * parts->pitch), depth, 0};
    }
    parts->bytes = s.bytes;
}

static int64_t windows_scratch(const int64_t *ints)
{
    window_parts parts;
    lay_out_windows((const Windows *)ints, 0, &parts);
    return parts.bytes;
}

/* Tile: rows and columns of one plane. arrays: x, out, the value that lies where maps say -1, for means a flag per worker
 * that is set once one is not finite, maps of rows and of columns, the fold of each step, those of the last step down and
 * of the last step along, which get the extent, what widens rows or null, and scratch. */
static void windows(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                    int64_t worker)
{
    const Windows *a = (const Windows *)ints;
    const int64_t size = a->size, in_size = a->in_size, out_size = a->out_size, ih = a->ih, iw = a->iw, xn = a->xn, xh = a->xh, xw = a->xw;
    const int64_t kh = a->kh, kw = a->kw, pt = a->pt, pl = a->pl, inner = a->inner;
    const int64_t row_tile = a->row_tile, down = a->down, col_tile = a->col_tile, across = a->across;
    const int64_t downs = steps_of(kh), alongs = steps_of(kw), reach = (kw - 1) * inner;
    const int64_t *row_map = arrays[4], *col_map = arrays[5];
    const char *fill = arrays[2];
    fold_function *const fold = (fold_function *)arrays[6];
    fold_function *const last_down = (fold_function *)arrays[7], *const last_along = (fold_function *)arrays[8];
    widen_function *const widen = (widen_function *)arrays[9];
    window_parts own;
    lay_out_windows(a, (char *)arrays[10] + worker * windows_scratch(ints), &own);
    char *gathered = own.gathered, *line = own.line, *folded = own.folded;
    Ring *ring = own.ring;
    const int64_t pitch = own.pitch;
    int64_t wrong = 0;
    (void)scalars;
    for (int64_t tile = begin; tile < end; tile++) {
        const int64_t col0 = tile % across * col_tile, row0 = tile / across % down * row_tile;
        const int64_t n = tile / (across * down);
        const int64_t row1 = row0 + row_tile < ih ? row0 + row_tile : ih;
        const int64_t cols = iw - col0 < col_tile ? iw - col0 : col_tile, seen = cols + reach;
        /* A row is columns col0 <= t < col0 + seen of the continued one; those from first to last are inside. */
        const int64_t first = clip(pl - col0, 0, seen), last = clip(iw + pl - col0, first, seen);
        /* The columns that are folded down: all, or those inside, from which the others are continued afterwards. */
        const int inside = xw == in_size && downs && (across == 1 || (first == 0 && last == seen));
        const int64_t begun = inside ? first : 0, wide = (inside ? last : seen) - begun;
        const char *newest[3] = {0}; /* row r at r % 3 */
        for (int64_t r = row0; r < row1 + kh - 1; r++) {
            if (r % 64 == row0 % 64 && stops(arrays, worker))
                return;
            const int64_t y = source_of(r - pt, ih, pt, row_map), rows = r - row0 + 1;
            const char *source = (const char *)arrays[0] + n * xn + y * xh;
            const char *current = source + (col0 + begun - pl) * size;
            if (xw == in_size)
                fetch_line(source + xh + (col0 + first - pl) * xw, (last - first) * xw);
            if (!inside || y < 0 || widen) {
                char *to = downs ? gathered + r % 3 * pitch : line;
                current = to;
                if (y < 0)
                    copy_values(to + (first - begun) * size, fill, 0, last - first, size);
                else
                    gather_values(to + (first - begun) * size, source + (col0 + first - pl) * xw, xw, last - first, size,
                                  widen);
                for (int64_t t = edge(begun, first, last); t < begun + wide; t = edge(t + 1, first, last)) {
                    const int64_t x = source_of(col0 + t - pl, iw, pl, col_map);
                    if (y < 0 || x < 0)
                        copy_value(to + (t - begun) * size, fill, size);
                    else
                        gather_values(to + (t - begun) * size, source + x * xw, xw, 1, size, widen);
                }
            }
            newest[r % 3] = current;
            char *target = (char *)arrays[1] + ((n * ih + r - kh + 1) * iw + col0) * out_size;
            for (int64_t j = 0; j < downs && rows >= kh >> (downs - j - 1); j++) {
                const int64_t m = kh >> (downs - j), odd = kh >> (downs - j - 1) & 1;
                const char *a = j ? row_back(&ring[j], odd, pitch) : newest[(r - odd) % 3];
                const char *b = j ? row_back(&ring[j], odd + m, pitch) : newest[(r - odd - m) % 3];
                if (j == downs - 1)
                    wrong |= last_down(alongs ? line + begun * size : target, a, b, odd ? current : 0, wide, kh);
                else
                    fold(next_row(&ring[j + 1], pitch), a, b, odd ? current : 0, wide, kh);
            }
            if (rows < kh || !alongs)
                continue;
            if (inside)
                continue_line(line, size, col0 - pl, first, last, seen, iw, pl, col_map, fill);
            const char *from = line;
            for (int64_t j = 0; j < alongs; j++) {
                const int64_t m = kw >> (alongs - j), next = kw >> (alongs - j - 1), odd = next & 1;
                const char *a = from + odd * inner * size, *b = a + m * inner * size, *c = odd ? line : 0;
                char *to = folded + (j & 1) * pitch;
                if (j == alongs - 1)
                    wrong |= last_along(target, a, b, c, cols, kw);
                else
                    fold(to, a, b, c, seen - (next - 1) * inner, kw);
                from = to;
            }
        }
    }
    if (wrong)
        ((int64_t *)arrays[3])[worker] = 1;
}
