/* Transposition: the rows of a matrix become columns, as images of channels last become planes, and back.
 *
 *   to[c * to_column + r] = from[r * from_row + c]
 */

/* Turn `rows` rows, `from_row` apart, into columns. As many rows at a time as fill a cache line of a column: planes may
 * be a power of two apart, and then few of their lines fit L1 together. */
static void NAME(turn_rows)(const REAL *from, int64_t from_row, int64_t rows, int64_t columns, REAL *to,
                            int64_t to_column)
{
    const int64_t line = CACHE_LINE / (int64_t)sizeof(REAL);
    for (int64_t r = 0, some; r < rows; r += some) {
        some = rows - r < line ? rows - r : line;
        int64_t c = 0;
        for (; c + 4 <= columns; c += 4) {
            int64_t i = r;
            for (; i + 4 <= r + some; i += 4)
                NAME(transpose)(from + i * from_row + c, from_row, to + c * to_column + i, to_column);
            for (; i < r + some; i++)
                for (int j = 0; j < 4; j++)
                    to[(c + j) * to_column + i] = from[i * from_row + c + j];
        }
        for (; c < columns; c++)
            for (int64_t i = r; i < r + some; i++)
                to[c * to_column + i] = from[i * from_row + c];
    }
}

#define TURN_IMAGES_ARGUMENTS(X)                                       \
    X(rows)       /* rows of a matrix */                        \
    X(columns)    /* columns of a matrix */                     \
    X(from_image) /* values from one matrix to the next */      \
    X(from_row)   /* values from one row to the next */         \
    X(to_image)   /* likewise of the output */                  \
    X(to_column)  /* values from one of its rows to the next */ \
    X(block_rows) /* rows of a block */                         \
    X(blocks)     /* blocks of a matrix */
ARGUMENTS(TurnImages, TURN_IMAGES_ARGUMENTS);

/* Tile: a block of rows of a matrix. arrays: from, to. */
static void NAME(turn_images)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                       int64_t worker)
{
    const TurnImages *a = (const TurnImages *)ints;
    for (int64_t tile = begin; tile < end; tile++) {
        if (stops(arrays, worker))
            return;
        const int64_t image = tile / a->blocks, row0 = tile % a->blocks * a->block_rows;
        const int64_t rows = a->rows - row0 < a->block_rows ? a->rows - row0 : a->block_rows;
        NAME(turn_rows)((const REAL *)arrays[0] + image * a->from_image + row0 * a->from_row, a->from_row, rows,
                        a->columns, (REAL *)arrays[1] + image * a->to_image + row0, a->to_column);
    }
}
