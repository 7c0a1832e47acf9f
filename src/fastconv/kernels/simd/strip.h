/* Strips: the part of an image that a block of output positions reads, gathered with the zeros around it.
 *
 * For a window of kernel (kh, kw), stride and dilation, columns are split by their phase modulo the stride, so that what
 * one tap reads at neighbouring positions of an output row lies side by side:
 *
 *   strip[c, line, phase, t],   tap (i, j) of position (r, q)  ->  c * plane + line(i, r) * row + phase(j) * pitch + q + t(j)
 *
 * Lines are either all rows that the block spans (dense) or, where dilation or stride leave most of those unused, the rows
 * of each tap in turn, whichever is fewer; likewise columns.
 *
 * Positions are numbered through a block, row after row. LANES neighbouring positions are read as `runs`: one masked load
 * for each row that they touch.
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

/* One line, `phases` interleaved columns of the image apart: the columns t0 <= t < t1 of all phases lie inside. */
static inline __attribute__((always_inline)) void NAME(split_line)(const int phases, const REAL *restrict source,
                                                                   int64_t t0, int64_t t1, int64_t pitch,
                                                                   REAL *restrict target)
{
    for (int64_t t = t0; t < t1; t++)
        UNROLL
        for (int phase = 0; phase < phases; phase++)
            target[phase * pitch + t] = source[t * phases + phase];
}

static void NAME(fill_strip)(const REAL *image, const Window *w, const NAME(strip) *s, int64_t channels, int64_t row0,
                             int64_t col0, REAL *strip)
{
    const int64_t left = col0 * w->sw - w->pl, span = s->phases * s->pitch, step = s->tap_phase ? w->dw : 1;
    /* Where every phase is inside; nowhere, if columns are not split evenly or not neighbours in memory. */
    const int even = !s->tap_phase && w->xw == 1;
    const int64_t first = even ? NAME(clip)(NAME(ceil_div)(-left, w->sw), 0, s->pitch) : s->pitch;
    const int64_t last = even ? NAME(clip)(NAME(ceil_div)(w->iw - left - w->sw + 1, w->sw), first, s->pitch) : s->pitch;
    for (int64_t c = 0; c < channels; c++)
        for (int64_t segment = 0; segment < s->segments; segment++)
            for (int64_t line = 0; line < s->lines; line++) {
                const int64_t y = row0 * w->sh - w->pt + segment * w->dh + line * s->line_step;
                REAL *target = strip + c * s->plane + (segment * s->lines + line) * span;
                if (y < 0 || y >= w->ih) {
                    memset(target, 0, span * sizeof(REAL));
                    continue;
                }
                const REAL *source = image + c * w->xc + y * w->xh + left * w->xw;
                for (int64_t phase = 0; phase < s->phases; phase++)
                    for (int64_t t = first ? 0 : last; t < s->pitch; t = t + 1 == first ? last : t + 1) {
                        const int64_t at = phase * step + t * w->sw;
                        target[phase * s->pitch + t] = at + left >= 0 && at + left < w->iw ? source[at * w->xw] : 0;
                    }
                switch (even ? s->phases : 0) {
                case 0: break;
                case 1: memcpy(target + first, source + first, (last - first) * sizeof(REAL)); break;
                case 2: NAME(split_line)(2, source, first, last, s->pitch, target); break;
                case 4: NAME(split_line)(4, source, first, last, s->pitch, target); break;
                case 6: NAME(split_line)(6, source, first, last, s->pitch, target); break;
                default:
                    for (int64_t phase = 0; phase < s->phases; phase++)
                        for (int64_t t = first; t < last; t++)
                            target[phase * s->pitch + t] = source[t * s->phases + phase];
                }
            }
}

/* Where tap (i, j) of the block's first position lies in channel 0. */
static inline int64_t NAME(tap_at)(const Window *w, const NAME(strip) *s, int64_t i, int64_t j)
{
    const int64_t phase = s->tap_phase ? j : j * w->dw % w->sw, t = s->tap_phase ? 0 : j * w->dw / w->sw;
    return (i * s->tap_line * s->phases + phase) * s->pitch + t;
}

/* From a position to the one below it. */
static inline int64_t NAME(row_stride)(const NAME(strip) *s) { return s->row_line * s->phases * s->pitch; }

typedef struct {
    int64_t count, start[SIMD_BYTES / sizeof(REAL)];
    NAME(mask) mask[SIMD_BYTES / sizeof(REAL)];
} NAME(runs);

/* The runs of the positions p <= position < p + n, n <= LANES, in rows that are `cols` long and `stride` apart. */
static void NAME(find_runs)(NAME(runs) *runs, int64_t p, int64_t n, int64_t cols, int64_t stride)
{
    int64_t row = p / cols, col = p % cols;
    memset(runs, 0, sizeof *runs);
    for (int64_t l = 0; l < n; l++) {
        if (l == 0 || col == 0)
            runs->start[runs->count++] = row * stride + col - l;
        runs->mask[runs->count - 1][l] = -1;
        if (++col == cols) {
            col = 0;
            row++;
        }
    }
}

/* LANES positions at `source`; lanes past the runs are zeros. */
static inline VECTOR NAME(load_runs)(const NAME(runs) *runs, const REAL *source)
{
    NAME(mask) bits = (NAME(mask))NAME(load)(source + runs->start[0]) & runs->mask[0];
    for (int64_t run = 1; run < runs->count; run++)
        bits |= (NAME(mask))NAME(load)(source + runs->start[run]) & runs->mask[run];
    return (VECTOR)bits;
}

/* shift[k - k0] for the steps k0 <= k < k1; channel 0 of the strip is that of step k0. */
static void NAME(shifts)(const Window *w, const NAME(strip) *s, int64_t k0, int64_t k1, int64_t *shift)
{
    const int64_t taps = w->kh * w->kw, c0 = k0 / taps;
    int64_t c = c0, i = k0 % taps / w->kw, j = k0 % w->kw;
    for (int64_t k = k0; k < k1; k++) {
        *shift++ = (c - c0) * s->plane + NAME(tap_at)(w, s, i, j);
        if (++j == w->kw) {
            j = 0;
            if (++i == w->kh) {
                i = 0;
                c++;
            }
        }
    }
}
