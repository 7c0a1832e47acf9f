/* The extremes of footprints, from those of the runs of their rows.
 *
 * The extremes of all runs of one length are computed once for each row of the image, from those of shorter runs:
 * three of length m, which may overlap, cover any length up to 3 m. They are kept for as many rows as a footprint has,
 * and the extreme of a footprint is that of one run, or a few, from each of its rows.
 *
 * Folds are those of windows.h, and know the type of the values.
 */
#define FOOTPRINTS_ARGUMENTS(X)                            \
    X(size)     /* bytes of a value */                     \
    X(ih)       /* rows of a plane */                      \
    X(iw)       /* columns of a plane */                   \
    X(kh)       /* rows of the footprint */                \
    X(kw)       /* columns of the footprint */             \
    X(pl)       /* columns before the output's own */      \
    X(lengths)  /* of runs, the first of which is 1 */     \
    X(runs)     /* that cover the footprint: 3, 5, 7... */ \
    X(row_tile) /* rows of a tile */                       \
    X(down)     /* tiles down */                           \
    X(col_tile) /* columns of a tile */                    \
    X(across)   /* tiles across */
ARGUMENTS(Footprints, FOOTPRINTS_ARGUMENTS);

typedef struct {
    char *ring;        /* the newest rows, one line for each length of runs */
    const char **rows; /* where the line of length 1 of each of these rows is: there, or in the image */
    char *folded;      /* two lines that are folded in turn */
    int64_t pitch;     /* bytes from one line to the next */
    int64_t bytes;
} footprint_parts;

static footprint_parts lay_out_footprints(const Footprints *a, char *memory)
{
    Scratch s = {memory, 0};
    footprint_parts parts;
    parts.pitch = ((a->col_tile + a->kw - 1) * a->size + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE;
    parts.ring = take(&s, a->kh * a->lengths * parts.pitch);
    parts.rows = take(&s, a->kh * sizeof(char *));
    parts.folded = take(&s, 2 * parts.pitch);
    parts.bytes = s.bytes;
    return parts;
}

static int64_t footprints_scratch(const int64_t *ints) { return lay_out_footprints((const Footprints *)ints, 0).bytes; }

/* Tile: rows and columns of a plane. arrays: x, out, the value that lies where maps say -1, whole maps of rows and of
 * columns, the fold, for each length of runs but 1, that length, the line it is folded from and by how many columns the
 * second and the third operand are shifted (0: there is no third), for each run its row, its line and its column, and
 * scratch. */
static void footprints(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                       int64_t worker)
{
    const Footprints *a = (const Footprints *)ints;
    const int64_t size = a->size, ih = a->ih, iw = a->iw, kh = a->kh, lengths = a->lengths, runs = a->runs;
    const int64_t *row_map = arrays[3], *col_map = arrays[4], *length = arrays[6], *run = arrays[7];
    const char *fill = arrays[2];
    fold_function *const fold = (fold_function *)arrays[5];
    const footprint_parts own = lay_out_footprints(a, (char *)arrays[8] + worker * footprints_scratch(ints));
    const int64_t pitch = own.pitch;
    (void)scalars;
    for (int64_t tile = begin; tile < end; tile++) {
        const int64_t col0 = tile % a->across * a->col_tile, row0 = tile / a->across % a->down * a->row_tile;
        const int64_t n = tile / (a->across * a->down);
        const int64_t row1 = row0 + a->row_tile < ih ? row0 + a->row_tile : ih;
        const int64_t cols = iw - col0 < a->col_tile ? iw - col0 : a->col_tile, wide = cols + a->kw - 1;
        /* Those from first to last are inside. */
        const int64_t first = clip(a->pl - col0, 0, wide), last = clip(iw + a->pl - col0, first, wide);
        for (int64_t r = row0; r < row1 + kh - 1; r++) {
            if (r % 16 == row0 % 16 && stops(arrays, worker))
                return;
            const int64_t y = row_map[r], slot = r % kh;
            const char *source = (const char *)arrays[0] + (n * ih + y) * iw * size;
            char *lines = own.ring + slot * lengths * pitch;
            fetch_line(source + (iw + col0 + first - a->pl) * size, (last - first) * size);
            if (y >= 0 && first == 0 && last == wide)
                own.rows[slot] = source + (col0 - a->pl) * size;
            else {
                own.rows[slot] = lines;
                if (y >= 0)
                    copy_line(lines + first * size, source + (col0 + first - a->pl) * size, (last - first) * size);
                for (int64_t t = y < 0 ? 0 : edge(0, first, last); t < wide; t = y < 0 ? t + 1 : edge(t + 1, first, last)) {
                    const int64_t x = y < 0 ? -1 : col_map[col0 + t];
                    copy_value(lines + t * size, x < 0 ? fill : source + x * size, size);
                }
            }
            for (int64_t j = 1; j < lengths; j++) {
                const int64_t *l = length + 4 * (j - 1);
                const char *from = l[1] ? lines + l[1] * pitch : own.rows[slot];
                fold(lines + j * pitch, from, from + l[2] * size, l[3] ? from + l[3] * size : 0, wide - l[0] + 1, 0);
            }
            if (r - row0 < kh - 1)
                continue;
            const char *operand[3] = {0};
            const int64_t oldest = slot + 1 < kh ? slot + 1 : 0;
            for (int64_t j = 0, held = 0, turn = 0; j < runs; j++) {
                const int64_t row = oldest + run[3 * j], at = row < kh ? row : row - kh, line = run[3 * j + 1];
                const char *from = line ? own.ring + (at * lengths + line) * pitch : own.rows[at];
                operand[held++] = from + run[3 * j + 2] * size;
                if (held < 3)
                    continue;
                char *to = j == runs - 1 ? (char *)arrays[1] + ((n * ih + r - kh + 1) * iw + col0) * size
                                         : own.folded + turn * pitch;
                fold(to, operand[0], operand[1], operand[2], cols, 0);
                operand[0] = to, held = 1, turn = !turn;
            }
        }
    }
}
