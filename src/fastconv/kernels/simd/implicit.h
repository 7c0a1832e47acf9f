/* Implicit im2col: a convolution as a matrix product whose right operand is packed straight from the image.
 *
 *   out[m, (r, q)] = epilogue(sum_k weight[m, k] * x[c, r * sh - pt + i * dh, q * sw - pl + j * dw]),  k = (c, i, j)
 *
 * A tile is a block of output positions (whole rows, or part of one) and of output channels. For each block of kc
 * steps, the image rows that it reads are gathered into a strip (strip.h), in which step k is a constant shift. The
 * micro-kernel reads NR neighbouring positions of an output row straight from the strip. Positions that span several
 * rows are packed into a panel first, unless the strip fits L1 and is laid out so that rows are contiguous. (In L2,
 * such strips are slower than panels: three layers in four lost 15 to 35 %.) A 1×1 kernel packs from the image itself
 * (`pointwise`): its plane is one run of positions. (Reading it unpacked would touch one page per step.)
 */
#define PACK(value)                     \
    for (int64_t k = 0; k < steps; k++) \
    NAME(store)(panel + k * NR + l, value)

/* Pack one panel: `steps` rows of positions p to p + n - 1 of a block whose rows are `cols` long and `pitch` apart in
 * the source. The image itself must not be read past its end, so a partial vector is copied value by value.
 * (Overlapping stores, each row's over the spill of the last, took twice as long as the blends of `load_runs`.) */
static void NAME(pack_right)(const REAL *source, const int64_t *shift, int64_t steps, int64_t p, int64_t n,
                             int64_t cols, int64_t pitch, REAL *panel)
{
    const int64_t whole = n / LANES * LANES;
    const int64_t plain = p / cols == (p + n - 1) / cols ? whole : 0;
    const REAL *first = source + p / cols * pitch + p % cols;
    for (int64_t k = 0; k < steps; k++) {
        for (int64_t l = 0; l < plain; l += LANES)
            NAME(store)(panel + k * NR + l, NAME(load)(first + shift[k] + l));
    }
    for (int64_t l = plain; l < whole; l += LANES) {
        NAME(runs) runs;
        NAME(find_runs)(&runs, p + l, LANES, cols, pitch);
        switch (runs.count) {
        case 1: PACK(NAME(load)(source + runs.start[0] + shift[k])); break;
        case 2: PACK(NAME(load_runs)(&runs, 2, source + shift[k])); break;
        default: PACK(NAME(load_runs)(&runs, runs.count, source + shift[k]));
        }
    }
    for (int64_t l = whole; l < n; l++) {
        const int64_t at = (p + l) / cols * pitch + (p + l) % cols;
        for (int64_t k = 0; k < steps; k++)
            panel[k * NR + l] = source[shift[k] + at];
    }
}

/* The columns of a product, whose right operand is in place. */
typedef struct {
    int64_t position, columns;
    const REAL *right;
    const int64_t *shift; /* null: a panel */
} NAME(product);

/* What the next products will pack, to be fetched while these are multiplied: `values` at each of `steps` places. Such
 * runs are too short for the hardware to see a pattern, and packing would wait for each of them. */
typedef struct {
    const REAL *source;
    const int64_t *shift;
    int64_t steps, values;
} NAME(next);

/* Multiply by the filters of channels m0 <= m < m1, one panel of them at a time, into planes of `out` that are `plane`
 * values apart, and activate. */
static __attribute__((noinline)) void NAME(multiply)(const NAME(product) *products, int64_t count, int64_t m0,
                                                     int64_t m1, int64_t steps, const REAL *left, REAL *out,
                                                     int64_t plane, int accumulate, const REAL *bias,
                                                     int64_t activation, double parameter,
                                                     const NAME(next) *next)
{
    const int64_t line = CACHE_LINE / (int64_t)sizeof(REAL);
    int64_t fetched = 0;
    for (int64_t m = m0; m < m1; m += MR) {
        const int64_t channels = m1 - m < MR ? m1 - m : MR;
        for (int64_t due = (m - m0 + MR) * next->steps / (m1 - m0); fetched < due && fetched < next->steps; fetched++) {
            const REAL *run = next->source + next->shift[fetched];
            for (int64_t j = 0; j < next->values; j += line)
                __builtin_prefetch(run + j);
            __builtin_prefetch(run + next->values - 1);
        }
        for (int64_t i = 0; i < count; i++) {
            REAL *target = out + m * plane + products[i].position;
            NAME(gemm_tile)(channels, products[i].columns, steps, left + m * steps, products[i].right,
                            products[i].shift, target, plane, accumulate, bias ? bias + m : 0);
            if (activation)
                for (int64_t j = 0; j < channels; j++)
                    NAME(epilogue)(target + j * plane, products[i].columns, 0, 0, activation, parameter);
        }
    }
}

#define IMPLICIT_ARGUMENTS(X)                                                \
    WINDOW_FIELDS(X)                                                         \
    X(kc)             /* steps of a block of the reduction */                \
    X(block_rows)     /* rows of a block of output positions */              \
    X(block_cols)     /* columns of a block of output positions */           \
    X(down)           /* blocks of positions down */                         \
    X(across)         /* blocks of positions across */                       \
    X(block_panels)   /* panels of a block of output channels */             \
    X(channel_blocks) /* blocks of output channels */                        \
    X(sharing)        /* products that share L1 */                           \
    X(pointwise)      /* whether panels are packed from the image itself */  \
    X(contiguous)     /* whether strips have a phase for every column tap */ \
    X(activation)     /* code of the activation */                           \
    X(out_plane)      /* values of the output from one plane to the next */  \
    X(out_image)      /* values of the output from one image to the next */
ARGUMENTS(Implicit, IMPLICIT_ARGUMENTS);

typedef struct {
    REAL *panel;          /* right operands of `sharing` products */
    int64_t *shift;       /* of the steps in a strip, or in the image */
    REAL *strip;
    int64_t bytes;
} NAME(implicit_parts);

static NAME(implicit_parts) NAME(implicit_layout)(const Implicit *a, char *memory)
{
    Scratch s = {memory, 0};
    NAME(implicit_parts) parts;
    const Window *w = (const Window *)a;
    const int64_t icg = w->ic / w->g, taps = w->kh * w->kw;
    /* A block of steps that begins amid a channel sees a part of one more. */
    const int64_t seen = a->kc % taps ? (a->kc - 2 + taps) / taps + 1 : a->kc / taps;
    const int64_t channels = seen < icg ? seen : icg;
    const NAME(strip) strip = NAME(strip_of)(w, a->block_rows, a->block_cols, a->contiguous);
    parts.panel = take(&s, a->sharing * a->kc * NR * sizeof(REAL));
    parts.shift = take(&s, a->kc * sizeof(int64_t));
    parts.strip = take(&s, a->pointwise ? 0 : (channels * strip.plane + NR) * sizeof(REAL));
    parts.bytes = s.bytes;
    return parts;
}

static int64_t NAME(implicit_scratch)(const int64_t *ints)
{ return NAME(implicit_layout)((const Implicit *)ints, 0).bytes; }

/* Tile: a block of output positions and channels of one group of one image. arrays: x, packed weight (pack_left), bias
 * or null, out, scratch. scalars: the activation's parameter. */
static void NAME(implicit)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                           int64_t worker)
{
    const Implicit *a = (const Implicit *)ints;
    const Window *w = (const Window *)ints;
    const int64_t kc = a->kc, block_rows = a->block_rows, block_cols = a->block_cols, down = a->down;
    const int64_t across = a->across, block_panels = a->block_panels, channel_blocks = a->channel_blocks;
    const int64_t sharing = a->sharing, pointwise = a->pointwise, plane = a->out_plane;
    const int64_t icg = w->ic / w->g, ocg = w->oc / w->g, taps = w->kh * w->kw, K = icg * taps;
    const int64_t panels = (ocg + MR - 1) / MR;
    const NAME(implicit_parts) own =
        NAME(implicit_layout)(a, (char *)arrays[4] + worker * NAME(implicit_scratch)(ints));
    REAL *panel = own.panel, *strip = own.strip;
    int64_t *shift = own.shift;
    for (int64_t tile = begin; tile < end; tile++) {
        const int64_t col0 = tile % across * block_cols, row0 = tile / across % down * block_rows;
        const int64_t m0 = tile / (across * down) % channel_blocks * block_panels * MR;
        const int64_t m1 = m0 + block_panels * MR < ocg ? m0 + block_panels * MR : ocg;
        const int64_t g = tile / (across * down * channel_blocks) % w->g;
        const int64_t n = tile / (across * down * channel_blocks) / w->g;
        const int64_t rows = w->oh - row0 < block_rows ? w->oh - row0 : block_rows;
        const int64_t cols = w->ow - col0 < block_cols ? w->ow - col0 : block_cols;
        const int64_t size = rows * cols;
        const REAL *image = (const REAL *)arrays[0] + n * w->xn + g * icg * w->xc;
        REAL *out = (REAL *)arrays[3] + n * a->out_image + g * ocg * plane + row0 * w->ow + col0;
        const NAME(strip) s = NAME(strip_of)(w, rows, cols, a->contiguous);
        const int64_t pitch = pointwise ? cols : s.pitch, row = pitch == cols ? size : cols;
        /* Rows that happen to be contiguous need not be packed, but short ones are, or they would be read from L2. */
        const int64_t packs = pointwise || (!a->contiguous && cols < NR);
        for (int64_t k0 = 0; k0 < K; k0 += kc) {
            const int64_t k1 = k0 + kc < K ? k0 + kc : K, steps = k1 - k0;
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
            for (int64_t p = 0; p < size;) {
                if (stops(arrays, worker))
                    return;
                NAME(product) products[MOST_SHARING];
                int64_t count = 0;
                for (; count < sharing && p < size; p += products[count++].columns) {
                    const int64_t columns = NAME(tile_columns)(size - p);
                    NAME(product) *product = products + count;
                    *product = (NAME(product)){p, columns, source + p / row * pitch + p % row, shift};
                    if (packs || p / row != (p + columns - 1) / row) {
                        product->right = panel + count * kc * NR;
                        product->shift = 0;
                        NAME(pack_right)(source, shift, steps, p, columns, row, pitch, panel + count * kc * NR);
                    }
                }
                const int64_t following = size - p < sharing * NR ? size - p : sharing * NR;
                const NAME(next) next = {source + p, shift, pointwise && following > 0 ? steps : 0, following};
                NAME(multiply)(products, count, m0, m1, steps, left, out, plane, k0 > 0, bias,
                               k1 == K ? a->activation : 0, scalars[0], &next);
            }
        }
    }
}
