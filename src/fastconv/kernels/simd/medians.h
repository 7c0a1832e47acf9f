/* The medians of 3 x 3 and of 5 x 5 values, for four rows of outputs at a time.
 *
 * The neighbours along each row are sorted first, once for all windows that contain them. Rows that two windows have in
 * common are combined next: of 3 x 3 values, the highest of the lows, the lowest of the highs and a sorted pair of the
 * middles; of 5 x 5, two sorted pairs of rows, of whose 20 values only the six in the middle may become the median of
 * either window. The row that is each window's own decides. That takes 19 and 84 minima and maxima per output, where
 * the networks of single windows take 38 and 198.
 *
 * Rows are copied into a ring, with the columns that continue them past their ends. Included once for each type T of
 * values.
 */

/* One instruction of most instruction sets; of two zeros of different signs, either may be lost. */
#define LOWER_OF(a, b) ((a) < (b) ? (a) : (b))
#define HIGHER_OF(a, b) ((a) > (b) ? (a) : (b))
#define EXCHANGED(a, b)                      \
    {                                        \
        const T lower = LOWER_OF(a, b);      \
        b = HIGHER_OF(a, b);                 \
        a = lower;                           \
    }

/* Sorted neighbours along a row, a step apart: r0, r1, ... of a row r. */
#define SORTED_3(r)                                     \
    T r##0 = r[i], r##1 = r[i + step], r##2 = r[i + 2 * step];    \
    EXCHANGED(r##0, r##1) EXCHANGED(r##1, r##2) EXCHANGED(r##0, r##1)
#define SORTED_5(r)                                                                                          \
    T r##0 = r[i], r##1 = r[i + step], r##2 = r[i + 2 * step], r##3 = r[i + 3 * step], r##4 = r[i + 4 * step];   \
    EXCHANGED(r##0, r##1) EXCHANGED(r##3, r##4) EXCHANGED(r##2, r##4) EXCHANGED(r##2, r##3)                  \
    EXCHANGED(r##1, r##4) EXCHANGED(r##0, r##3) EXCHANGED(r##0, r##2) EXCHANGED(r##1, r##3) EXCHANGED(r##1, r##2)

/* Two sorted rows a and b: of 3 values, what a third row is compared with; of 5, all of them in order, by Batcher's
 * odd-even merge, whose inputs lie where the outputs come to be in order. */
#define PAIR_3(p, a, b)                                                                     \
    const T p##low = HIGHER_OF(a##0, b##0), p##high = LOWER_OF(a##2, b##2);                 \
    T p##0 = a##1, p##1 = b##1;                                                             \
    EXCHANGED(p##0, p##1)
#define PAIR_5(p, a, b)                                                                                      \
    T p##0 = a##0, p##1 = a##1, p##2 = a##2, p##3 = a##3, p##4 = a##4;                                       \
    T p##5 = b##1, p##6 = b##2, p##7 = b##3, p##8 = b##0, p##9 = b##4;                                       \
    EXCHANGED(p##0, p##8) EXCHANGED(p##4, p##9) EXCHANGED(p##4, p##8) EXCHANGED(p##2, p##6)                  \
    EXCHANGED(p##2, p##4) EXCHANGED(p##6, p##8) EXCHANGED(p##1, p##5) EXCHANGED(p##3, p##7)                  \
    EXCHANGED(p##3, p##5) EXCHANGED(p##1, p##2) EXCHANGED(p##3, p##4) EXCHANGED(p##5, p##6) EXCHANGED(p##7, p##8)

/* The six in the middle of two sorted pairs of rows, c7 to c12: what the same merge needs for these. */
#define COMMON(c, p, q)                                                                                      \
    T c##0 = p##0, c##1 = p##1, c##2 = p##2, c##3 = p##3, c##4 = p##4;                                       \
    T c##5 = p##5, c##6 = p##6, c##7 = p##7, c##8 = p##8, c##9 = p##9;                                       \
    T c##16 = q##0, c##17 = q##1, c##10 = q##2, c##11 = q##3, c##12 = q##4;                                  \
    T c##13 = q##5, c##14 = q##6, c##15 = q##7, c##18 = q##8, c##19 = q##9;                                  \
    EXCHANGED(c##0, c##16) EXCHANGED(c##8, c##18) EXCHANGED(c##8, c##16) EXCHANGED(c##4, c##12)              \
    EXCHANGED(c##4, c##8) EXCHANGED(c##12, c##16) EXCHANGED(c##2, c##10) EXCHANGED(c##6, c##14)              \
    EXCHANGED(c##6, c##10) EXCHANGED(c##6, c##8) EXCHANGED(c##10, c##12) EXCHANGED(c##1, c##17)              \
    EXCHANGED(c##9, c##19) EXCHANGED(c##9, c##17) EXCHANGED(c##5, c##13) EXCHANGED(c##5, c##9)               \
    EXCHANGED(c##13, c##17) EXCHANGED(c##3, c##11) EXCHANGED(c##7, c##15) EXCHANGED(c##7, c##11)             \
    EXCHANGED(c##7, c##9) EXCHANGED(c##11, c##13) EXCHANGED(c##7, c##8) EXCHANGED(c##9, c##10)               \
    EXCHANGED(c##11, c##12)

/* The median of the values of a pair and those of a third row r. */
#define MEDIAN_3(to, p, r)                                                                              \
    {                                                                                                   \
        T low = HIGHER_OF(p##low, r##0), middle = HIGHER_OF(p##0, LOWER_OF(p##1, r##1));                \
        const T high = LOWER_OF(p##high, r##2);                                                         \
        EXCHANGED(low, middle)                                                                          \
        to[i] = HIGHER_OF(low, LOWER_OF(middle, high));                                                 \
    }

/* The median of six sorted values and the five of a row r: the lowest of the higher ends of what may lie below it. */
#define MEDIAN_5(to, c, r)                                                                              \
    {                                                                                                   \
        const T one = LOWER_OF(c##12, HIGHER_OF(c##11, r##0)), two = HIGHER_OF(c##10, r##1);            \
        const T three = HIGHER_OF(c##9, r##2), four = HIGHER_OF(c##8, r##3), five = HIGHER_OF(c##7, r##4); \
        to[i] = LOWER_OF(LOWER_OF(one, two), LOWER_OF(three, LOWER_OF(four, five)));                    \
    }

/* Copies a line, and tells whether one of its values is NaN. */
static inline int NAME(copy_with_nan)(T *restrict to, const T *restrict from, int64_t n)
{
    int wrong = 0;
    for (int64_t i = 0; i < n; i++) {
        const T value = from[i];
        wrong |= value != value;
        to[i] = value;
    }
    return wrong;
}

/* n outputs of four rows, from rows a, b, ... The loops have no constant extent, or GCC would unroll them into scalars
 * before it vectorises. */
static __attribute__((noinline)) void NAME(medians_of_3)(T *const *to, const T *const *row, int64_t at, int64_t n,
                                                       int64_t step)
{
    T *const w = to[0] + at, *const x = to[1] + at, *const y = to[2] + at, *const z = to[3] + at;
    const T *const a = row[0] + at, *const b = row[1] + at, *const c = row[2] + at, *const d = row[3] + at;
    const T *const e = row[4] + at, *const f = row[5] + at;
    INDEPENDENT for (int64_t i = 0; i < n; i++)
    {
        SORTED_3(b) SORTED_3(c) PAIR_3(p, b, c)
        SORTED_3(a) MEDIAN_3(w, p, a)
        SORTED_3(d) MEDIAN_3(x, p, d)
        SORTED_3(e) PAIR_3(q, d, e) MEDIAN_3(y, q, c)
        SORTED_3(f) MEDIAN_3(z, q, f)
    }
}

static __attribute__((noinline)) void NAME(medians_of_5)(T *const *to, const T *const *row, int64_t at, int64_t n,
                                                       int64_t step)
{
    T *const w = to[0] + at, *const x = to[1] + at, *const y = to[2] + at, *const z = to[3] + at;
    const T *const a = row[0] + at, *const b = row[1] + at, *const c = row[2] + at, *const d = row[3] + at;
    const T *const e = row[4] + at, *const f = row[5] + at, *const g = row[6] + at, *const h = row[7] + at;
    INDEPENDENT for (int64_t i = 0; i < n; i++)
    {
        SORTED_5(d) SORTED_5(e) PAIR_5(q, d, e)
        SORTED_5(b) SORTED_5(c) PAIR_5(p, b, c)
        COMMON(s, p, q)
        SORTED_5(a) MEDIAN_5(w, s, a)
        SORTED_5(f) MEDIAN_5(x, s, f)
        SORTED_5(g) PAIR_5(r, f, g)
        COMMON(t, q, r)
        MEDIAN_5(y, t, c)
        SORTED_5(h) MEDIAN_5(z, t, h)
    }
}

typedef struct {
    T *ring, *spare; /* the newest rows; what nobody wants to know */
    int64_t pitch, bytes;
} NAME(medians_parts);

static void NAME(lay_out_medians)(const Medians *a, char *memory, NAME(medians_parts) *parts)
{
    Scratch s = {memory, 0};
    const int64_t lanes = SIMD_BYTES / sizeof(T);
    parts->pitch = (a->col_tile + (a->k - 1) * a->step + 2 * lanes - 1) / lanes * lanes;
    parts->ring = take(&s, (a->k + MEDIAN_ROWS - 1) * parts->pitch * sizeof(T));
    parts->spare = take(&s, MEDIAN_ROWS * parts->pitch * sizeof(T));
    parts->bytes = s.bytes;
}

static int64_t NAME(medians_scratch)(const int64_t *ints)
{
    NAME(medians_parts) parts;
    NAME(lay_out_medians)((const Medians *)ints, 0, &parts);
    return parts.bytes;
}

/* Tile: rows and columns of a plane. arrays: x, out, the value that lies where maps say -1, for reals a flag per worker
 * that is set once one is NaN, whole maps of rows and of columns, and scratch. */
static void NAME(medians)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                          int64_t worker)
{
    enum { lanes = SIMD_BYTES / sizeof(T) };
    const Medians *a = (const Medians *)ints;
    const int64_t ih = a->ih, iw = a->iw, k = a->k, step = a->step, depth = k + MEDIAN_ROWS - 1;
    const int64_t *row_map = arrays[4], *col_map = arrays[5];
    const T fill = *(const T *)arrays[2];
    NAME(medians_parts) own;
    NAME(lay_out_medians)(a, (char *)arrays[6] + worker * NAME(medians_scratch)(ints), &own);
    int wrong = 0;
    (void)scalars;
    for (int64_t tile = begin; tile < end; tile++) {
        const int64_t col0 = tile % a->across * a->col_tile, row0 = tile / a->across % a->down * a->row_tile;
        const int64_t n = tile / (a->across * a->down);
        const int64_t row1 = row0 + a->row_tile < ih ? row0 + a->row_tile : ih;
        const int64_t cols = iw - col0 < a->col_tile ? iw - col0 : a->col_tile, wide = cols + (k - 1) * step;
        /* Those from first to last are inside. */
        const int64_t first = clip(a->pl - col0, 0, wide), last = clip(iw + a->pl - col0, first, wide);
        const int64_t whole = cols / lanes * lanes;
        const T *x = (const T *)arrays[0] + n * ih * iw;
        T *out = (T *)arrays[1] + n * ih * iw + col0;
        for (int64_t row = row0, next = row0; row < row1; row += MEDIAN_ROWS) {
            if ((row - row0) % (8 * MEDIAN_ROWS) == 0 && stops(arrays, worker))
                return;
            for (; next < row + depth && next < row1 + k - 1; next++) {
                T *restrict to = own.ring + next % depth * own.pitch;
                const int64_t y = row_map[next];
                const T *restrict source = x + y * iw;
                const T *restrict inside = source + (col0 - a->pl);
                if (y < 0) {
                    for (int64_t t = 0; t < wide; t++)
                        to[t] = fill;
                    continue;
                }
                const int64_t bytes = (last - first) * sizeof(T);
                fetch_line((const char *)(inside + first) + MEDIAN_ROWS * iw * (int64_t)sizeof(T), bytes);
                if (FLOATING)
                    wrong |= NAME(copy_with_nan)(to + first, inside + first, last - first);
                else
                    copy_line((char *)(to + first), (const char *)(inside + first), bytes);
                for (int64_t t = edge(0, first, last); t < wide; t = edge(t + 1, first, last))
                    to[t] = col_map[col0 + t] < 0 ? fill : source[col_map[col0 + t]];
            }
            const T *line[5 + MEDIAN_ROWS - 1];
            T *to[MEDIAN_ROWS];
            for (int64_t j = 0, at = row % depth; j < depth; j++, at = at + 1 < depth ? at + 1 : 0)
                line[j] = own.ring + at * own.pitch;
            for (int64_t j = 0; j < MEDIAN_ROWS; j++)
                to[j] = row + j < row1 && whole ? out + (row + j) * iw : own.spare + j * own.pitch;
            const int64_t all = whole ? whole : lanes;
            if (k == 3)
                NAME(medians_of_3)(to, line, 0, all, step);
            else
                NAME(medians_of_5)(to, line, 0, all, step);
            if (whole && whole < cols) { /* the last vector overlaps the one before it */
                if (k == 3)
                    NAME(medians_of_3)(to, line, cols - lanes, lanes, step);
                else
                    NAME(medians_of_5)(to, line, cols - lanes, lanes, step);
            }
            for (int64_t j = 0; !whole && j < MEDIAN_ROWS && row + j < row1; j++)
                memcpy(out + (row + j) * iw, to[j], cols * sizeof(T));
        }
    }
    if (wrong)
        ((int64_t *)arrays[3])[worker] = 1;
}

#undef LOWER_OF
#undef HIGHER_OF
#undef EXCHANGED
#undef SORTED_3
#undef SORTED_5
#undef PAIR_3
#undef PAIR_5
#undef COMMON
#undef MEDIAN_3
#undef MEDIAN_5
