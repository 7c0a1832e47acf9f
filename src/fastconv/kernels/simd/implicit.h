/* Implicit im2col: a convolution as a matrix product whose right operand is packed straight from the image.
 *
 *   out[m, (r, q)] = epilogue(sum_k weight[m, k] * x[c, r * sh - pt + i * dh, q * sw - pl + j * dw]),  k = (c, i, j)
 *
 * A tile of the region is a block of output positions (whole rows, or a part of one) and of output channels. For each
 * block of kc steps the image rows that it sees are gathered into a strip (strip.h), in which step k is a constant shift.
 * The micro-kernel reads NR neighbouring positions of an output row straight from the strip; where they span several rows
 * they are packed into a panel first. A 1×1 kernel packs from the image itself (`pointwise`): its plane is one run of
 * positions. (Reading it unpacked would touch a page a step.)
 */
/* One panel: `steps` rows of the positions p <= position < p + n of a block whose rows are `cols` long and `row_stride`
 * apart in the source. The image itself must not be read past its end, so a vector that is cut off goes value by value. */
static void NAME(pack_right)(const REAL *source, const int64_t *shift, int64_t steps, int64_t p, int64_t n,
                             int64_t cols, int64_t row_stride, REAL *panel)
{
    const int64_t whole = n / LANES * LANES;
    for (int64_t l = 0; l < whole; l += LANES) {
        NAME(runs) runs;
        NAME(find_runs)(&runs, p + l, LANES, cols, row_stride);
        for (int64_t k = 0; k < steps; k++)
            NAME(store)(panel + k * NR + l, NAME(load_runs)(&runs, source + shift[k]));
    }
    for (int64_t l = whole; l < n; l++) {
        const int64_t at = (p + l) / cols * row_stride + (p + l) % cols;
        for (int64_t k = 0; k < steps; k++)
            panel[k * NR + l] = source[shift[k] + at];
    }
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
        const int64_t row_stride = NAME(row_stride)(&s);
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
