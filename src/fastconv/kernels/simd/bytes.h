/* The value of one rank in large windows of bytes, in constant time per output.
 *
 * Each column that a row of windows sees has a histogram, into which one value enters and which one leaves from a row to
 * the next; the histogram of a window is a sum of those of columns, into which one enters and which one leaves from an
 * output to the next (Perreault and Hébert, Median filtering in constant time, 2007). Histograms have two levels: of the
 * upper four bits, and for each of their values, of the lower four. The latter are brought up to date only where the
 * rank falls. All are cumulative: entering and leaving adds a vector, and comparing a vector with the rank finds the
 * value without a search.
 */
typedef uint16_t bins __attribute__((vector_size(32)));
enum { BINS = 16 };

#define BYTES_ARGUMENTS(X)                                           \
    X(ih)       /* rows of a plane */                                \
    X(iw)       /* columns of a plane */                             \
    X(kh)       /* rows of the window */                             \
    X(kw)       /* columns of the window */                          \
    X(rank)     /* of the value, from 0 */                           \
    X(row_tile) /* rows of a tile */                                 \
    X(down)     /* tiles down */                                     \
    X(col_tile) /* columns of a tile */                              \
    X(across)   /* tiles across */
ARGUMENTS(Bytes, BYTES_ARGUMENTS);

typedef struct {
    bins *coarse, *fine; /* of each column; fine for each value of the upper bits */
    bins *ramp;          /* what a value adds: ones from its bin on */
    bins *window;        /* the fine histograms of the window */
    int64_t bytes;
} bytes_parts;

static void lay_out_bytes(const Bytes *a, char *memory, bytes_parts *parts)
{
    Scratch s = {memory, 0};
    const int64_t wide = a->col_tile + a->kw - 1;
    parts->coarse = take(&s, wide * sizeof(bins));
    parts->fine = take(&s, BINS * wide * sizeof(bins));
    parts->ramp = take(&s, BINS * sizeof(bins));
    parts->window = take(&s, BINS * sizeof(bins));
    parts->bytes = s.bytes;
}

static int64_t bytes_scratch(const int64_t *ints)
{
    bytes_parts parts;
    lay_out_bytes((const Bytes *)ints, 0, &parts);
    return parts.bytes;
}

/* How many bins hold at most `most`: there, the lanes that are 1 are counted four at a time. */
static inline __attribute__((always_inline)) int64_t count_bins(const bins *histogram, uint16_t most)
{
    const bins ones = (bins)(*histogram <= most) & 1;
    uint64_t quads[4];
    memcpy(quads, &ones, sizeof quads);
    return (quads[0] + quads[1] + quads[2] + quads[3]) * 0x0001000100010001u >> 48;
}

/* Tile: rows and columns of a plane. arrays: x, out, the value that lies where maps say -1, whole maps of rows and of
 * columns, and scratch. */
static void bytes(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                  int64_t worker)
{
    const Bytes *a = (const Bytes *)ints;
    const int64_t ih = a->ih, iw = a->iw, kh = a->kh, kw = a->kw, rank = a->rank;
    const int64_t *row_map = arrays[3], *col_map = arrays[4];
    const uint8_t fill = *(const uint8_t *)arrays[2];
    bytes_parts own;
    lay_out_bytes(a, (char *)arrays[5] + worker * bytes_scratch(ints), &own);
    bins *coarse = own.coarse, *fine = own.fine, *ramp = own.ramp, *window = own.window;
    (void)scalars;
    for (int i = 0; i < BINS; i++)
        for (int j = 0; j < BINS; j++)
            ((uint16_t *)(ramp + i))[j] = j >= i;
    for (int64_t tile = begin; tile < end; tile++) {
        const int64_t col0 = tile % a->across * a->col_tile, row0 = tile / a->across % a->down * a->row_tile;
        const int64_t n = tile / (a->across * a->down);
        const int64_t row1 = row0 + a->row_tile < ih ? row0 + a->row_tile : ih;
        const int64_t cols = iw - col0 < a->col_tile ? iw - col0 : a->col_tile, wide = cols + kw - 1;
        const uint8_t *x = (const uint8_t *)arrays[0] + n * ih * iw;
        memset(coarse, 0, wide * sizeof(bins));
        memset(fine, 0, BINS * wide * sizeof(bins));
        for (int64_t r = row0; r < row1 + kh - 1; r++) {
            if (r % 16 == 0 && stops(arrays, worker))
                return;
            const int64_t newest = row_map[r], oldest = r - kh >= row0 ? row_map[r - kh] : 0;
            const uint8_t *entering = x + newest * iw, *leaving = x + oldest * iw;
            for (int64_t t = 0; t < wide; t++) {
                const int64_t at = col_map[col0 + t];
                const uint8_t value = newest < 0 || at < 0 ? fill : entering[at];
                coarse[t] += ramp[value >> 4];
                fine[(value >> 4) * wide + t] += ramp[value & 15];
                if (r - kh >= row0) {
                    const uint8_t old = oldest < 0 || at < 0 ? fill : leaving[at];
                    coarse[t] -= ramp[old >> 4];
                    fine[(old >> 4) * wide + t] -= ramp[old & 15];
                }
            }
            if (r - row0 < kh - 1)
                continue;
            uint8_t *target = (uint8_t *)arrays[1] + (n * ih + r - kh + 1) * iw + col0;
            /* The first column of the windows that fine histograms are of, or one before all. */
            int64_t from[BINS];
            bins sum = {0};
            for (int i = 0; i < BINS; i++)
                from[i] = -kw;
            for (int64_t t = 0; t < kw - 1; t++)
                sum += coarse[t];
            for (int64_t t = 0; t < cols; t++) {
                sum += coarse[t + kw - 1];
                const int64_t upper = count_bins(&sum, rank);
                uint16_t counts[BINS];
                memcpy(counts, &sum, sizeof counts);
                const int64_t rest = rank - (upper ? counts[upper - 1] : 0);
                const bins *column = fine + upper * wide;
                bins lower;
                if (2 * (t - from[upper]) >= kw) {
                    lower = column[t];
                    for (int64_t u = t + 1; u < t + kw; u++)
                        lower += column[u];
                } else {
                    lower = window[upper];
                    for (int64_t u = from[upper]; u < t; u++)
                        lower += column[u + kw] - column[u];
                }
                window[upper] = lower;
                from[upper] = t;
                target[t] = upper << 4 | count_bins(&lower, rest);
                sum -= coarse[t];
            }
        }
    }
}
