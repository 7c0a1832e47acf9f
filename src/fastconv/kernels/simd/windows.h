/* Extremes and means of windows, by few folds of shifted values. fold is the maximum, the minimum or the sum.
 *
 *   W_1 = x,   W_{m+d}[t] = fold(W_m[t], W_m[t + d])   for extremes, d <= m;  for sums, d = m
 *              W_{m+1}[t] = fold(x[t], W_m[t + 1])     a "fresh" step
 *
 * so that a window of k samples takes about log2 k steps: their delays d, which add up to k - 1, are listed by whoever
 * calls (van Herk's and Gil and Werman's three comparisons depend on each other along a line). Every output is folded in
 * the same order: no error grows along a line, as it would in a running sum, and what is flat stays flat.
 *
 * Planes are folded down their columns as rows come in, windows ending at the newest: step j keeps the d_j + 1 newest
 * rows that it reads in a ring, and adds a row to the ring of step j + 1. The last one's row is folded along itself while
 * it lies in L1, from one line into another. Positions past the edges are looked up in maps, as in separable.h.
 *
 * Nothing but the folds knows the type of the values: they are plain loops, of which compilers make vectors. They get
 * here by address.
 */
typedef void fold_function(void *to, const void *a, const void *b, int64_t n, double divisor);

#define FOLD(name, T, result)                                                                              \
    static void name(void *folded, const void *first, const void *second, int64_t n, double divisor)       \
    {                                                                                                      \
        T *restrict to = folded;                                                                           \
        const T *restrict from = first, *restrict with = second;                                           \
        const T k = (T)divisor;                                                                            \
        for (int64_t i = 0; i < n; i++) {                                                                  \
            const T a = from[i], b = with[i];                                                              \
            to[i] = (T)(result);                                                                           \
        }                                                                                                  \
        (void)k;                                                                                           \
    }

/* NaN if either is one: of two choices each becomes one instruction. */
#define EXTREMES(type, T)                                               \
    FOLD(maximum_##type, T, a == a ? (a > b ? a : b) : a)               \
    FOLD(minimum_##type, T, a == a ? (a < b ? a : b) : a)

#define MEANS(type, T)                    \
    FOLD(sum_##type, T, a + b)            \
    FOLD(mean_##type, T, (a + b) / k)

EXTREMES(i1, int8_t)
EXTREMES(u1, uint8_t)
EXTREMES(i2, int16_t)
EXTREMES(u2, uint16_t)
EXTREMES(i4, int32_t)
EXTREMES(u4, uint32_t)
EXTREMES(i8, int64_t)
EXTREMES(u8, uint64_t)
EXTREMES(f4, float)
EXTREMES(f8, double)
MEANS(f4, float)
MEANS(f8, double)

static inline void copy_value(char *to, const char *from, int64_t size)
{
    switch (size) { /* a constant number of bytes is an instruction */
    case 1: memcpy(to, from, 1); break;
    case 2: memcpy(to, from, 2); break;
    case 4: memcpy(to, from, 4); break;
    default: memcpy(to, from, 8);
    }
}

/* n values that lie `stride` bytes apart, side by side. */
static inline void copy_values(char *to, const char *from, int64_t stride, int64_t n, int64_t size)
{
    if (stride == size)
        memcpy(to, from, n * size);
    else
        for (int64_t t = 0; t < n; t++)
            copy_value(to + t * size, from + t * stride, size);
}

/* Tile: rows and columns of one plane. arrays: x, out, workspace, maps of rows and of columns, the value that lies where
 * those say -1, the steps down and then along (pairs of a delay and whether it is fresh), the fold of each step, and that
 * of the last one of either direction, which gets the window's extent as its divisor. ints: as unpacked below; strides of
 * x in bytes. scalars: none. */
static void windows(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                    int64_t worker)
{
    const int64_t size = ints[0], ih = ints[1], iw = ints[2], xn = ints[3], xh = ints[4], xw = ints[5];
    const int64_t kh = ints[6], kw = ints[7], pt = ints[8], pl = ints[9], reach = ints[10];
    const int64_t downs = ints[11], alongs = ints[12];
    const int64_t row_tile = ints[13], down = ints[14], col_tile = ints[15], across = ints[16];
    const int64_t pitch = ints[17], scratch = ints[18];
    const int64_t *row_map = arrays[3], *col_map = arrays[4];
    const char *fill = arrays[5];
    const int64_t(*step_down)[2] = arrays[6], (*step_along)[2] = step_down + downs;
    fold_function *const fold = (fold_function *)arrays[7], *const last_fold = (fold_function *)arrays[8];
    /* Two lines each that rows are gathered in and folded along, and one that is folded down. */
    char *gathered = (char *)arrays[2] + worker * scratch, *line = gathered + 2 * pitch, *folded = line + pitch;
    char *ring[MAX_FOLDS];
    int64_t newest[MAX_FOLDS];
    char *free_line = folded + 2 * pitch;
    for (int64_t j = 1; j < downs; j++) {
        ring[j] = free_line;
        free_line += (step_down[j][0] + 1) * pitch;
        newest[j] = 0;
    }
    (void)scalars;
    for (int64_t tile = begin; tile < end; tile++) {
        const int64_t col0 = tile % across * col_tile, row0 = tile / across % down * row_tile;
        const int64_t n = tile / (across * down);
        const int64_t row1 = row0 + row_tile < ih ? row0 + row_tile : ih;
        const int64_t cols = iw - col0 < col_tile ? iw - col0 : col_tile, seen = cols + reach;
        /* A row is columns col0 <= t < col0 + seen of the continued one; those from first to last are inside. */
        const int64_t first = clip(pl - col0, 0, seen), last = clip(iw + pl - col0, first, seen);
        const int straight = xw == size && first == 0 && last == seen;
        const char *previous = 0;
        for (int64_t r = row0; r < row1 + kh - 1; r++) {
            const int64_t y = source_of(r - pt, ih, pt, row_map);
            const char *source = (const char *)arrays[0] + n * xn + y * xh, *current = source + (col0 - pl) * size;
            if (!straight || y < 0) {
                char *to = gathered + (r & 1) * pitch;
                for (int64_t t = first ? 0 : last; t < seen; t = t + 1 == first ? last : t + 1) {
                    const int64_t x = source_of(col0 + t - pl, iw, pl, col_map);
                    copy_value(to + t * size, y >= 0 && x >= 0 ? source + x * xw : fill, size);
                }
                copy_values(to + first * size, y < 0 ? fill : source + (col0 + first - pl) * xw, y < 0 ? 0 : xw,
                            last - first, size);
                current = to;
            }
            char *target = (char *)arrays[1] + ((n * ih + r - kh + 1) * iw + col0) * size;
            const char *value = current;
            int64_t rows = r - row0; /* before the one that ends the windows of a step's values */
            for (int64_t j = 0; j < downs && (rows -= step_down[j][0]) >= 0; j++) {
                const int final = j == downs - 1;
                const char *delayed = j ? ring[j] + newest[j] * pitch : previous;
                char *to = !final ? ring[j + 1] + newest[j + 1] * pitch : alongs ? line : target;
                (final ? last_fold : fold)(to, step_down[j][1] ? current : value, delayed, seen, kh);
                if (!final) /* what comes after the newest is the oldest */
                    newest[j + 1] = newest[j + 1] == step_down[j + 1][0] ? 0 : newest[j + 1] + 1;
                value = to;
            }
            previous = current;
            if (rows < 0)
                continue;
            current = value;
            for (int64_t j = 0, wide = seen; j < alongs; j++) {
                const int final = j == alongs - 1;
                char *to = final ? target : folded + (j & 1) * pitch;
                wide -= step_along[j][0];
                (final ? last_fold : fold)(to, step_along[j][1] ? current : value, value + step_along[j][0] * size, wide,
                                           kw);
                value = to;
            }
        }
    }
}
