/* Implicit im2col: a convolution as a matrix product whose right operand is packed straight from the image.
 *
 *   out[m, (r, q)] = epilogue(sum_k weight[m, k] * x[c, r * sh - pt + i * dh, q * sw - pl + j * dw]),  k = (c, i, j)
 *
 * A tile of the region is a block of output positions (whole rows, or a part of one) and of output channels. For each
 * block of kc steps the image rows that it sees are copied into a strip, zeros around the image included and columns
 * split by their phase modulo the stride; step k is then a constant shift in the strip:
 *
 *   strip[c, line, phase, t]       k = (c, i, j)  ->  shift[k] = c * plane + line(i) * row + phase(j) * pitch + t(j)
 *
 * so the micro-kernel reads NR neighbouring positions of an output row straight from the strip. Where they span several
 * rows, they are packed into a panel first, a vector from one masked load a row. Lines are either all rows that the block spans (dense) or, where dilation
 * or stride leave most of those unused, the rows of each tap in turn, whichever is fewer; likewise columns.
 * A 1×1 kernel packs from the image itself (`pointwise`): its plane is one run of positions. (Reading it unpacked would
 * touch a page a step.)
 */
typedef struct {
    int64_t lines, line_step, segments, tap_line, row_line;  /* rows: segments of lines, line_step image rows apart */
    int64_t phases, tap_phase, pitch, plane;                 /* columns: tap_phase if every tap has its own phase */
} NAME(strip);

static inline int64_t NAME(ceil_div)(int64_t a, int64_t b) { return a > 0 ? (a + b - 1) / b : -(-a / b); }

static inline int64_t NAME(clip)(int64_t value, int64_t low, int64_t high)
{
    return value < low ? low : value > high ? high : value;
}

static NAME(strip) NAME(strip_of)(const Window *w, int64_t rows, int64_t cols)
{
    NAME(strip) s;
    const int64_t dense_lines = (rows - 1) * w->sh + (w->kh - 1) * w->dh + 1;
    const int dense = dense_lines <= rows * w->kh;
    s.segments = dense ? 1 : w->kh;
    s.lines = dense ? dense_lines : rows;
    s.line_step = dense ? 1 : w->sh;
    s.tap_line = dense ? w->dh : rows;
    s.row_line = dense ? w->sh : 1;
    const int64_t reach = (w->kw - 1) * w->dw / w->sw;
    s.tap_phase = w->kw * cols < w->sw * (cols + reach);
    s.phases = s.tap_phase ? w->kw : w->sw;
    s.pitch = s.tap_phase ? cols : cols + reach;
    s.plane = s.segments * s.lines * s.phases * s.pitch;
    return s;
}

static void NAME(fill_strip)(const REAL *image, const Window *w, const NAME(strip) *s, int64_t channels, int64_t row0,
                             int64_t col0, REAL *strip)
{
    for (int64_t phase = 0; phase < s->phases; phase++) {
        const int64_t left = col0 * w->sw - w->pl + (s->tap_phase ? phase * w->dw : phase);
        const int64_t first = NAME(clip)(NAME(ceil_div)(-left, w->sw), 0, s->pitch);
        const int64_t last = NAME(clip)(NAME(ceil_div)(w->iw - left, w->sw), first, s->pitch);
        for (int64_t c = 0; c < channels; c++)
            for (int64_t segment = 0; segment < s->segments; segment++)
                for (int64_t line = 0; line < s->lines; line++) {
                    const int64_t y = row0 * w->sh - w->pt + segment * w->dh + line * s->line_step;
                    REAL *target = strip + c * s->plane + ((segment * s->lines + line) * s->phases + phase) * s->pitch;
                    if (y < 0 || y >= w->ih) {
                        memset(target, 0, s->pitch * sizeof(REAL));
                        continue;
                    }
                    const REAL *source = image + c * w->xc + y * w->xh + left * w->xw;
                    for (int64_t t = 0; t < first; t++)
                        target[t] = 0;
                    if (w->xw * w->sw == 1)
                        memcpy(target + first, source + first, (last - first) * sizeof(REAL));
                    else if (w->xw * w->sw == 2)
                        for (int64_t t = first; t < last; t++)
                            target[t] = source[2 * t];
                    else
                        for (int64_t t = first; t < last; t++)
                            target[t] = source[t * w->sw * w->xw];
                    for (int64_t t = last; t < s->pitch; t++)
                        target[t] = 0;
                }
    }
}

/* shift[k - k0] for the steps k0 <= k < k1; channel 0 of the strip is that of step k0. */
static void NAME(shifts)(const Window *w, const NAME(strip) *s, int64_t k0, int64_t k1, int64_t *shift)
{
    const int64_t taps = w->kh * w->kw, c0 = k0 / taps;
    int64_t c = c0, i = k0 % taps / w->kw, j = k0 % w->kw;
    for (int64_t k = k0; k < k1; k++) {
        const int64_t phase = s->tap_phase ? j : j * w->dw % w->sw, t = s->tap_phase ? 0 : j * w->dw / w->sw;
        *shift++ = (c - c0) * s->plane + (i * s->tap_line * s->phases + phase) * s->pitch + t;
        if (++j == w->kw) {
            j = 0;
            if (++i == w->kh) {
                i = 0;
                c++;
            }
        }
    }
}

/* The first `vectors` vectors of every row of a panel; vector v is the union over runs of masked loads at start[run][v]. */
static inline __attribute__((always_inline)) void NAME(pack_steps)(
    const int vectors, int64_t runs, const REAL *source, const int64_t *shift, int64_t steps,
    const int64_t (*start)[NV], const NAME(mask) (*mask)[NV], REAL *restrict panel)
{
    if (runs == 1) {
        for (int64_t k = 0; k < steps; k++)
            _Pragma("GCC unroll 3")
            for (int v = 0; v < vectors; v++)
                NAME(store)(panel + k * NR + v * LANES, NAME(load)(source + shift[k] + start[0][v]));
        return;
    }
    for (int64_t k = 0; k < steps; k++)
        _Pragma("GCC unroll 3")
        for (int v = 0; v < vectors; v++) {
            NAME(mask) bits = (NAME(mask))NAME(load)(source + shift[k] + start[0][v]) & mask[0][v];
            for (int64_t run = 1; run < runs; run++)
                bits |= (NAME(mask))NAME(load)(source + shift[k] + start[run][v]) & mask[run][v];
            NAME(store)(panel + k * NR + v * LANES, (VECTOR)bits);
        }
}

/* One panel: `steps` rows of the positions p <= position < p + n of a block whose rows are `cols` long and
 * `row_stride` apart in the source. */
static void NAME(pack_right)(const REAL *source, const int64_t *shift, int64_t steps, int64_t p, int64_t n,
                             int64_t cols, int64_t row_stride, REAL *panel)
{
    const int64_t vectors = n / LANES;
    int64_t at[NR], runs = 1;
    for (int64_t l = 0, row = p / cols, col = p % cols; l < n; l++) {
        at[l] = row * row_stride + col;
        if (++col == cols) {
            col = 0;
            row++;
        }
    }
    int64_t start[LANES][NV];
    NAME(mask) mask[LANES][NV];
    memset(mask, 0, sizeof mask);
    for (int64_t v = 0; v < vectors; v++) {
        int64_t run = 0;
        for (int64_t other = 0; other < LANES; other++)
            start[other][v] = at[v * LANES];
        for (int64_t l = 0; l < LANES; l++) {
            if (at[v * LANES + l] - l != start[run][v])
                start[++run][v] = at[v * LANES + l] - l;
            mask[run][v][l] = -1;
        }
        runs = run + 1 > runs ? run + 1 : runs;
    }
    switch (vectors) {
    case 3: NAME(pack_steps)(3, runs, source, shift, steps, start, mask, panel); break;
    case 2: NAME(pack_steps)(2, runs, source, shift, steps, start, mask, panel); break;
    case 1: NAME(pack_steps)(1, runs, source, shift, steps, start, mask, panel); break;
    }
    for (int64_t l = vectors * LANES; l < n; l++)
        for (int64_t k = 0; k < steps; k++)
            panel[k * NR + l] = source[shift[k] + at[l]];
}

/* Tile: a block of output positions and channels of one group of one image. arrays: x, packed weight (pack_left), bias
 * or null, out, workspace. ints: Window; kc; rows and cols of a block, blocks down and across; panels of a channel
 * block, channel blocks; pointwise; workspace values of a worker; activation. scalars: its parameter. */
static void NAME(implicit)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                           int64_t worker)
{
    const Window *w = (const Window *)ints;
    const int64_t *extra = ints + sizeof(Window) / sizeof(int64_t);
    const int64_t kc = extra[0], block_rows = extra[1], block_cols = extra[2], down = extra[3], across = extra[4];
    const int64_t block_panels = extra[5], channel_blocks = extra[6], pointwise = extra[7], activation = extra[9];
    const int64_t icg = w->ic / w->g, ocg = w->oc / w->g, taps = w->kh * w->kw, K = icg * taps;
    const int64_t panels = (ocg + MR - 1) / MR, positions = w->oh * w->ow;
    REAL *panel = (REAL *)arrays[4] + worker * extra[8];
    int64_t *panel_shift = (int64_t *)(panel + kc * NR), *shift = panel_shift + kc;
    REAL *strip = (REAL *)(shift + kc);
    for (int64_t k = 0; k < kc; k++)
        panel_shift[k] = k * NR;
    for (int64_t tile = begin; tile < end; tile++) {
        const int64_t col0 = tile % across * block_cols, row0 = tile / across % down * block_rows;
        const int64_t first_panel = tile / (across * down) % channel_blocks * block_panels;
        const int64_t last_panel = first_panel + block_panels < panels ? first_panel + block_panels : panels;
        const int64_t g = tile / (across * down * channel_blocks) % w->g;
        const int64_t n = tile / (across * down * channel_blocks) / w->g;
        const int64_t rows = w->oh - row0 < block_rows ? w->oh - row0 : block_rows;
        const int64_t cols = w->ow - col0 < block_cols ? w->ow - col0 : block_cols;
        const int64_t size = rows * cols;
        const REAL *image = (const REAL *)arrays[0] + n * w->xn + g * icg * w->xc;
        REAL *out = (REAL *)arrays[3] + (n * w->oc + g * ocg) * positions + row0 * w->ow + col0;
        const NAME(strip) s = NAME(strip_of)(w, rows, cols);
        const int64_t row_stride = s.row_line * s.phases * s.pitch;
        for (int64_t k0 = 0; k0 < K; k0 += kc) {
            const int64_t k1 = k0 + kc < K ? k0 + kc : K;
            const REAL *left = (const REAL *)arrays[1] + (g * K + k0) * panels * MR;
            const REAL *bias = arrays[2] && k1 == K ? (const REAL *)arrays[2] + g * ocg : 0;
            const REAL *source = strip;
            if (pointwise) {
                source = image + row0 * w->xh + col0;
                for (int64_t k = k0; k < k1; k++)
                    shift[k - k0] = k * w->xc;
            } else {
                const int64_t c0 = k0 / taps, c1 = (k1 - 1) / taps + 1;
                NAME(fill_strip)(image + c0 * w->xc, w, &s, c1 - c0, row0, col0, strip);
                NAME(shifts)(w, &s, k0, k1, shift);
            }
            for (int64_t p = 0, columns; p < size; p += columns) {
                columns = NAME(tile_columns)(size - p);
                const REAL *right = source + p / cols * row_stride + p % cols;
                const int64_t *step = shift;
                if (pointwise || p / cols != (p + columns - 1) / cols) {
                    NAME(pack_right)(source, shift, k1 - k0, p, columns, pointwise ? size : cols, row_stride, panel);
                    right = panel;
                    step = panel_shift;
                }
                for (int64_t m = first_panel; m < last_panel; m++) {
                    const int64_t channels = ocg - m * MR < MR ? ocg - m * MR : MR;
                    REAL *target = out + m * MR * positions + p;
                    NAME(gemm_tile)(channels, columns, k1 - k0, left + m * MR * (k1 - k0), right, step, target, positions,
                                    k0 > 0, bias ? bias + m * MR : 0);
                    if (k1 == K && activation)
                        for (int64_t i = 0; i < channels; i++)
                            NAME(epilogue)(target + i * positions, columns, 0, 0, activation, scalars[0]);
                }
            }
        }
    }
}
