/* The gradient of a convolution with respect to its weight: a matrix product that sums over output positions.
 *
 *   out[m, c, i, j] = sum_{n, r, q} grad[n, m, r, q] * x[n, c, r * sh - pt + i * dh, q * sw - pl + j * dw]
 *
 * The left operand is grad, with positions as steps (pack_left). The rows of the right operand must hold neighbouring
 * columns, which are channels here, so the pixels that a block of positions reads are gathered channels last:
 *
 *   pixels[line, t, c]      tap (i, j) of position (r, q)  ->  line r + line(i), t = q + t(j)
 *
 * for at most NR channels. A row of pixels is then a packed panel already, for every tap: a tap is a constant offset
 * and a position the step's shift, for any stride and dilation. Where stride or dilation leave most pixels unused, each
 * tap has lines or columns of its own, as in strip.h. If there are few channels, those of neighbouring pixels are side
 * by side, and a row of taps is read together (`joined`) rather than one tap in mostly empty vectors.
 */
typedef struct {
    int64_t rows, cols, channels;      /* of the block of positions */
    int64_t row_taps, col_taps;        /* each tap has its own */
    int64_t lines, pitch;              /* pitch in pixels */
} NAME(pixels);

static NAME(pixels) NAME(pixels_of)(const Window *w, int64_t rows, int64_t cols, int64_t channels)
{
    NAME(pixels) s = {.rows = rows, .cols = cols, .channels = channels};
    s.lines = (rows - 1) * w->sh + (w->kh - 1) * w->dh + 1;
    s.row_taps = w->kh * rows < s.lines;
    s.lines = s.row_taps ? w->kh * rows : s.lines;
    s.pitch = (cols - 1) * w->sw + (w->kw - 1) * w->dw + 1;
    s.col_taps = w->kw * cols < s.pitch;
    s.pitch = s.col_taps ? w->kw * cols : s.pitch;
    return s;
}

/* n pixels of one line, the first at image column `left`, `step` columns apart. */
static inline void NAME(gather_pixels)(const REAL *row, const Window *w, int64_t channels, int64_t left, int64_t step,
                                       int64_t n, REAL *restrict target)
{
    const int64_t first = clip(NAME(ceil_div)(-left, step), 0, n);
    const int64_t last = clip(NAME(ceil_div)(w->iw - left, step), first, n);
    const REAL *source = row + left * w->xw;
    memset(target, 0, first * channels * sizeof(REAL));
    memset(target + last * channels, 0, (n - last) * channels * sizeof(REAL));
    int64_t c = 0;
    for (; c + LANES <= channels; c += LANES)
        for (int64_t t = first; t < last; t++)
            UNROLL
            for (int64_t l = 0; l < LANES; l++)
                target[t * channels + c + l] = source[(c + l) * w->xc + t * step * w->xw];
    for (; c < channels; c++)
        for (int64_t t = first; t < last; t++)
            target[t * channels + c] = source[c * w->xc + t * step * w->xw];
}

static void NAME(fill_pixels)(const REAL *image, const Window *w, const NAME(pixels) *s, int64_t row0, int64_t col0,
                              REAL *target)
{
    const int64_t left = col0 * w->sw - w->pl;
    for (int64_t line = 0; line < s->lines; line++, target += s->pitch * s->channels) {
        const int64_t y = row0 * w->sh - w->pt + (s->row_taps ? line % s->rows * w->sh + line / s->rows * w->dh : line);
        if (y < 0 || y >= w->ih)
            memset(target, 0, s->pitch * s->channels * sizeof(REAL));
        else if (s->col_taps)
            for (int64_t j = 0; j < w->kw; j++)
                NAME(gather_pixels)(image + y * w->xh, w, s->channels, left + j * w->dw, w->sw, s->cols,
                                    target + j * s->cols * s->channels);
        else
            NAME(gather_pixels)(image + y * w->xh, w, s->channels, left, 1, s->pitch, target);
    }
}

#define WEIGHT_GRADIENT_ARGUMENTS(X)                                       \
    WINDOW_FIELDS(X)                                                       \
    X(kc)             /* positions of a block */                           \
    X(most)           /* positions of a panel in L1 */                     \
    X(joined)         /* whether a row of taps is one unit, or each tap */ \
    X(tap_blocks)     /* blocks of units */                                \
    X(block_units)    /* units of a block */                               \
    X(channel_blocks) /* blocks of channels */                             \
    X(filter_blocks)  /* blocks of filters */                              \
    X(block_panels)   /* panels of a block of filters */
ARGUMENTS(WeightGradient, WEIGHT_GRADIENT_ARGUMENTS);

typedef struct {
    int64_t *shift; /* of the positions of a block */
    REAL *sums;     /* of the block of filters, by unit, filter and column */
    REAL *pixels;
    int64_t bytes;
} NAME(weight_gradient_parts);

static NAME(weight_gradient_parts) NAME(weight_gradient_layout)(const WeightGradient *a, char *memory)
{
    Scratch s = {memory, 0};
    NAME(weight_gradient_parts) parts;
    const Window *w = (const Window *)a;
    const int64_t icg = w->ic / w->g, channels = icg < NR ? icg : NR, rows = a->kc / w->ow;
    const NAME(pixels) most = NAME(pixels_of)(w, rows ? rows : 1, w->ow < a->kc ? w->ow : a->kc, channels);
    parts.shift = take(&s, a->kc * sizeof(int64_t));
    parts.sums = take(&s, a->block_units * a->block_panels * MR * (a->joined ? w->kw : 1) * channels * sizeof(REAL));
    parts.pixels = take(&s, (most.lines * most.pitch * channels + NR) * sizeof(REAL));
    parts.bytes = s.bytes;
    return parts;
}

static int64_t NAME(weight_gradient_scratch)(const int64_t *ints)
{ return NAME(weight_gradient_layout)((const WeightGradient *)ints, 0).bytes; }

/* Tile: a block of filters, channels and rows of taps of one group; it sums over all positions in order. arrays: x,
 * grad packed by pack_left in blocks of kc positions, out, scratch. */
static void NAME(weight_gradient)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                                  int64_t worker)
{
    const WeightGradient *a = (const WeightGradient *)ints;
    const Window *w = (const Window *)ints;
    const int64_t kc = a->kc, most = a->most, joined = a->joined, tap_blocks = a->tap_blocks;
    const int64_t block_units = a->block_units, channel_blocks = a->channel_blocks;
    const int64_t filter_blocks = a->filter_blocks, block_panels = a->block_panels;
    const int64_t icg = w->ic / w->g, ocg = w->oc / w->g, taps = w->kh * w->kw, positions = w->oh * w->ow;
    const int64_t panels = (ocg + MR - 1) / MR, vectors = (icg + LANES - 1) / LANES, units = joined ? w->kh : taps;
    const NAME(weight_gradient_parts) own =
        NAME(weight_gradient_layout)(a, (char *)arrays[3] + worker * NAME(weight_gradient_scratch)(ints));
    int64_t *shift = own.shift;
    REAL *sums = own.sums, *pixels = own.pixels;
    for (int64_t tile = begin; tile < end; tile++) {
        const int64_t block = tile % channel_blocks;
        const int64_t u0 = tile / channel_blocks % tap_blocks * block_units;
        const int64_t u1 = u0 + block_units < units ? u0 + block_units : units;
        const int64_t m0 = tile / (channel_blocks * tap_blocks) % filter_blocks * block_panels * MR;
        const int64_t m1 = m0 + block_panels * MR < ocg ? m0 + block_panels * MR : ocg;
        const int64_t g = tile / (channel_blocks * tap_blocks * filter_blocks);
        const int64_t c0 = block * vectors / channel_blocks * LANES;
        const int64_t c1 = (block + 1) * vectors / channel_blocks * LANES;
        const int64_t channels = (c1 < icg ? c1 : icg) - c0, columns = joined ? w->kw * channels : channels;
        memset(sums, 0, (u1 - u0) * (m1 - m0) * columns * sizeof(REAL));
        for (int64_t n = 0; n < w->n; n++) {
            const REAL *image = (const REAL *)arrays[0] + n * w->xn + (g * icg + c0) * w->xc;
            for (int64_t p = 0, size; p < positions; p += size) {
                if (stops(arrays, worker))
                    return;
                /* Whole rows as far as the block of kc positions reaches, or part of one row. */
                const int64_t k0 = p / kc * kc, steps = positions - k0 < kc ? positions - k0 : kc;
                const int64_t row0 = p / w->ow, col0 = p % w->ow, left = k0 + steps - p;
                const int64_t rows = col0 || left < w->ow ? 1 : left / w->ow;
                const int64_t cols = w->ow - col0 < left ? w->ow - col0 : left;
                const NAME(pixels) s = NAME(pixels_of)(w, rows, cols, channels);
                const REAL *filters = (const REAL *)arrays[1] + ((n * w->g + g) * positions + k0) * panels * MR;
                size = rows * cols;
                NAME(fill_pixels)(image, w, &s, row0, col0, pixels);
                for (int64_t r = 0; r < rows; r++)
                    for (int64_t q = 0; q < cols; q++)
                        shift[r * cols + q] =
                            (r * (s.row_taps ? 1 : w->sh) * s.pitch + q * (s.col_taps ? 1 : w->sw)) * channels;
                for (int64_t q = 0; q < size; q += most) {
                    const int64_t count = size - q < most ? size - q : most;
                    for (int64_t u = u0; u < u1; u++) {
                        const int64_t i = joined ? u : u / w->kw, j = joined ? 0 : u % w->kw;
                        const REAL *right = pixels + (i * (s.row_taps ? rows : w->dh) * s.pitch +
                                                      j * (s.col_taps ? cols : w->dw)) * channels;
                        for (int64_t column = 0, wide; column < columns; column += wide) {
                            wide = NAME(tile_columns)(columns - column);
                            for (int64_t m = m0; m < m1; m += MR)
                                NAME(gemm_tile)(m1 - m < MR ? m1 - m : MR, wide, count,
                                                filters + m * steps + (p - k0 + q) * MR, right + column, shift + q,
                                                sums + ((u - u0) * (m1 - m0) + m - m0) * columns + column, columns,
                                                1, 0);
                        }
                    }
                }
            }
        }
        const int64_t wide = joined ? w->kw : 1;
        for (int64_t m = m0; m < m1; m++)
            for (int64_t u = u0; u < u1; u++)
                for (int64_t j = 0; j < wide; j++) {
                    const REAL *sum = sums + ((u - u0) * (m1 - m0) + m - m0) * columns + j * channels;
                    REAL *out = (REAL *)arrays[2] + ((g * ocg + m) * icg + c0) * taps + u * wide + j;
                    if (taps == 1)
                        NAME(copy_run)(sum, channels, out);
                    else
                        for (int64_t c = 0; c < channels; c++)
                            out[c * taps] = sum[c];
                }
    }
}
