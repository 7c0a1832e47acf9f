/* Direct convolution of single channels, 3 × 3 at stride 1 or 2, by sums that roll down the columns.
 *
 * Line l of the image is tap i of output row r where l = r * stride + i. So at most `rows` = 3 / stride rows of sums,
 * rounded up, are open at a time, each of two vectors. A line is loaded once for all of them; the row it completes is
 * written, and its registers become the next row's. Nothing is loaded twice except where vectors overlap sideways, and
 * no multiply-add is wasted at either end.
 *
 * This suits strips in L1. A wide image is swept faster along its rows (filter.h), and so are larger filters, whose
 * sums and taps do not fit the registers. One vector per row was slower, too: its chains of additions are as long, and
 * there are half as many.
 *
 * At stride 2, a line's even and odd columns are separated by single instructions, which work within 16 bytes of two
 * vectors. Sums stay in that order until they are written.
 */
#define ROWS 3
#define ABREAST_DOWN 2

typedef struct {
    int64_t line, rows, width, out_row;
    NAME(finish) finish;
} NAME(roll);

/* Products of a line with taps `first`, first + stride, ... of column J: the first belongs to row `top`, the others to
 * the rows above. */
#define ADD_TAPS(J, X)                                                                  \
    UNROLL                                                                              \
    for (int i = first; i <= last; i += stride)                                         \
        UNROLL                                                                          \
        for (int s = 0; s < n; s++)                                                     \
            sum[(top - i / stride + rows) % rows][s] += taps[3 * (J) + i] * (X)[s];

/* Line `LAST` of row TOP - LAST / stride, whose later lines are not open yet. */
#define ADD_LINE(LAST, TOP)                                                             \
    do {                                                                                \
        const int last = (LAST), first = last % stride, top = (TOP);                    \
        UNROLL                                                                          \
        for (int j = 0; j < 3; j += stride) {                                           \
            VECTOR even[ABREAST_DOWN], odd[ABREAST_DOWN];                               \
            UNROLL                                                                      \
            for (int s = 0; s < n; s++) {                                               \
                const REAL *at = line + j + s * stride * LANES;                         \
                even[s] = NAME(load)(at);                                               \
                if (stride == 2 && j + 1 < 3) {                                         \
                    const VECTOR a = even[s], b = NAME(load)(at + LANES);               \
                    even[s] = SHUFFLE(a, b, NAME(EVENS));                               \
                    odd[s] = SHUFFLE(a, b, NAME(ODDS));                                 \
                } else if (stride == 2)                                                 \
                    even[s] = SHUFFLE(even[s], NAME(load)(at + LANES - 1), NAME(OVERLAPPING_EVENS)); \
                LOAD_ONCE(even[s]);                                                         \
            }                                                                           \
            ADD_TAPS(j, even)                                                           \
            if (stride == 2 && j + 1 < 3) {                                             \
                ADD_TAPS(j + 1, odd)                                                    \
            }                                                                           \
        }                                                                               \
        line += roll->line;                                                             \
    } while (0)

#define OPEN_ROW(ROW)                                                                   \
    UNROLL                                                                              \
    for (int s = 0; s < n; s++)                                                         \
        sum[(ROW) % rows][s] = (VECTOR){0};

/* The `stride` lines that complete a row. */
#define COMPLETE(ROW)                                                                   \
    {                                                                                   \
        if (stride == 2)                                                                \
            ADD_LINE(1, ROW);                                                           \
        OPEN_ROW((ROW) + 2 / stride)                                                    \
        ADD_LINE(2, (ROW) + 2 / stride);                                                \
        UNROLL                                                                          \
        for (int s = 0; s < n; s++) {                                                   \
            VECTOR v = sum[ROW][s];                                                     \
            if (stride == 2)                                                            \
                v = NAME(ordered)(v);                                                   \
            if (roll->finish.applies)                                                   \
                v = NAME(finished)(v, &roll->finish);                                   \
            if (n == 1 && roll->width < LANES)                                          \
                memcpy(out, &v, roll->width * sizeof(REAL));                            \
            else                                                                        \
                NAME(store)(out + s * LANES, v);                                        \
        }                                                                               \
        out += roll->out_row;                                                           \
        if (++row == roll->rows)                                                        \
            return;                                                                     \
    }

/* n vectors abreast of all rows. */
static inline __attribute__((always_inline)) void NAME(roll_down)(const int stride, const int n, const NAME(roll) *roll,
                                                                  const VECTOR *taps, const REAL *line, REAL *out)
{
    const int rows = stride == 1 ? 3 : 2;
    VECTOR sum[ROWS][ABREAST_DOWN] = {0};
    int64_t row = 0;
    ADD_LINE(0, 0);
    if (stride == 1)
        ADD_LINE(1, 1);
    for (;;) { /* a loop over these would not be unrolled, and the sums would be in memory */
        COMPLETE(0)
        COMPLETE(1)
        if (stride == 1)
            COMPLETE(2)
    }
}

/* Two vectors side by side, or one if the plane is no wider; the last overlap those before them. */
static inline __attribute__((always_inline)) void NAME(roll_across)(const int stride, const NAME(roll) *roll,
                                                                    const VECTOR *taps, const REAL *line, REAL *out)
{
    const int64_t width = roll->width, step = width < 2 * LANES ? LANES : 2 * LANES;
    for (int64_t q = 0; q < width; q += step) {
        q = width < step || q < width - step ? q : width - step;
        if (step == LANES)
            NAME(roll_down)(stride, 1, roll, taps, line + q * stride, out + q);
        else
            NAME(roll_down)(stride, 2, roll, taps, line + q * stride, out + q);
    }
}

/* A sweep (kernels/sweep.pyx): any rectangle of the output planes begin <= m < end. The part of the image that it uses
 * must be followed by enough readable memory to complete vectors of the output's columns. */
static void NAME(rolling)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                          int64_t worker)
{
    const Sweep *s = (const Sweep *)ints;
    const REAL *line = arrays[0], *bias = arrays[3];
    VECTOR taps[9];
    NAME(roll) roll = {
        .line = s->line,
        .rows = s->rows,
        .width = s->cols,
        .out_row = s->out_vector,
    };
    for (int64_t m = begin; m < end; m++) {
        const REAL *weight = (const REAL *)arrays[1] + m * s->weights;
        REAL *out = (REAL *)arrays[2] + (m - begin) * s->out_plane;
        for (int64_t i = 0; i < 3; i++)
            for (int64_t j = 0; j < 3; j++)
                taps[3 * j + i] = NAME(broadcast)(weight[3 * i + j]);
        roll.finish = NAME(finish_of)(s, bias, m, scalars[0]);
        if (s->stride == 1)
            NAME(roll_across)(1, &roll, taps, line, out);
        else
            NAME(roll_across)(2, &roll, taps, line, out);
    }
}

#undef ADD_TAPS
#undef ADD_LINE
#undef OPEN_ROW
#undef COMPLETE
#undef ROWS
#undef ABREAST_DOWN
