/* Strips: the part of an image that a block of output positions reads, gathered together with the zeros around it.
 *
 * Rows and columns are each split by their phase modulo the stride, so that the values that one tap reads at
 * neighbouring positions are side by side:
 *
 *   strip[c, row phase, column phase, line, t]
 *   tap (i, j) of position (r, q)  ->  phases of i and j, line r + line(i), t = q + t(j)
 *
 * Where dilation or stride leave most values unused, giving each tap a phase of its own takes less space. If every
 * column tap has one, lines are as long as rows of positions, and neighbouring positions are side by side across rows,
 * too.
 *
 * The positions of a block are numbered row by row. LANES neighbouring positions are read as `runs`, one masked load
 * for each row that they touch.
 */
typedef struct {
    int64_t row_taps, row_phases, row_step, lines;    /* row_taps: each tap has its own phase; row_step image rows on */
    int64_t col_taps, col_phases, col_step, pitch;
    int64_t plane;
} NAME(strip);

static inline int64_t NAME(ceil_div)(int64_t a, int64_t b) { return a > 0 ? (a + b - 1) / b : -(-a / b); }

/* The strip of a block of rows × cols positions. `col_taps` requests a phase per column tap, whatever space it
 * takes. */
static NAME(strip) NAME(strip_of)(const Window *w, int64_t rows, int64_t cols, int64_t col_taps)
{
    NAME(strip) s;
    const int64_t lines = rows + (w->kh - 1) * w->dh / w->sh, pitch = cols + (w->kw - 1) * w->dw / w->sw;
    s.row_taps = w->kh * rows < w->sh * lines;
    s.row_phases = s.row_taps ? w->kh : w->sh;
    s.row_step = s.row_taps ? w->dh : 1;
    s.lines = s.row_taps ? rows : lines;
    s.col_taps = col_taps || w->kw * cols < w->sw * pitch;
    s.col_phases = s.col_taps ? w->kw : w->sw;
    s.col_step = s.col_taps ? w->dw : 1;
    s.pitch = s.col_taps ? cols : pitch;
    s.plane = s.row_phases * s.col_phases * s.lines * s.pitch;
    return s;
}

/* `phases` interleaved runs of n values, `apart` in the target. */
static inline __attribute__((always_inline)) void NAME(split_phases)(const int64_t phases, const REAL *restrict source,
                                                                     int64_t n, int64_t apart, REAL *restrict target)
{
    for (int64_t t = 0; t < n; t++)
        UNROLL
        for (int64_t phase = 0; phase < phases; phase++)
            target[phase * apart + t] = source[t * phases + phase];
}

/* A call of memcpy would cost as much as these few vectors; the last one overlaps the one before it. */
static inline void NAME(copy_run)(const REAL *source, int64_t n, REAL *target)
{
    if (n < LANES) {
        for (int64_t t = 0; t < n; t++)
            target[t] = source[t];
        return;
    }
    for (int64_t t = 0; t < n - LANES; t += LANES)
        NAME(store)(target + t, NAME(load)(source + t));
    NAME(store)(target + n - LANES, NAME(load)(source + n - LANES));
}

/* One run of n values at distance `apart` in the image. */
static inline void NAME(copy_apart)(const REAL *restrict source, int64_t n, int64_t apart, REAL *restrict target)
{
    if (apart == 1)
        NAME(copy_run)(source, n, target);
    else if (apart == 2)
        for (int64_t t = 0; t < n; t++)
            target[t] = source[2 * t];
    else
        for (int64_t t = 0; t < n; t++)
            target[t] = source[apart * t];
}

/* The columns of a phase that are inside the image, *first <= t < *last; column 0 is at `left`. */
static inline void NAME(inside)(const Window *w, int64_t left, int64_t pitch, int64_t *first, int64_t *last)
{
    *first = clip(NAME(ceil_div)(-left, w->sw), 0, pitch);
    *last = clip(NAME(ceil_div)(w->iw - left, w->sw), *first, pitch);
}

static void NAME(fill_strip)(const REAL *image, const Window *w, const NAME(strip) *s, int64_t channels, int64_t row0,
                             int64_t col0, REAL *target)
{
    const int64_t plane = s->lines * s->pitch, left = col0 * w->sw - w->pl, apart = w->sw * w->xw;
    /* Columns that are inside the image in every phase are split together if the phases are adjacent in memory. */
    const int together = w->xw == 1 && !s->col_taps;
    int64_t all_first = 0, all_last = 0, other;
    if (together) {
        NAME(inside)(w, left, s->pitch, &all_first, &other);
        NAME(inside)(w, left + w->sw - 1, s->pitch, &other, &all_last);
        all_last = clip(all_last, all_first, s->pitch);
    }
    for (int64_t i = 0; i < channels * s->row_phases; i++, target += s->col_phases * plane) {
        const int64_t top = row0 * w->sh - w->pt + i % s->row_phases * s->row_step;
        const REAL *channel = image + i / s->row_phases * w->xc;
        for (int64_t line = 0; line < s->lines; line++) {
            const int64_t y = top + line * w->sh;
            const REAL *row = channel + y * w->xh + left * w->xw;
            REAL *to = target + line * s->pitch;
            if (y < 0 || y >= w->ih) {
                for (int64_t phase = 0; phase < s->col_phases; phase++)
                    memset(to + phase * plane, 0, s->pitch * sizeof(REAL));
                continue;
            }
            /* Prefetch the next channel's row: lines are too short for the hardware to see a pattern. */
            for (int64_t t = all_first * w->sw; t < all_last * w->sw; t += CACHE_LINE / (int64_t)sizeof(REAL))
                __builtin_prefetch(row + w->xc + t);
            switch (all_first < all_last ? s->col_phases : 0) {
            case 0: break;
            case 1: NAME(copy_run)(row + all_first, all_last - all_first, to + all_first); break;
            case 2: NAME(split_phases)(2, row + all_first * 2, all_last - all_first, plane, to + all_first); break;
            case 4: NAME(split_phases)(4, row + all_first * 4, all_last - all_first, plane, to + all_first); break;
            default: NAME(split_phases)(w->sw, row + all_first * w->sw, all_last - all_first, plane, to + all_first);
            }
        }
        for (int64_t phase = 0; phase < s->col_phases; phase++) {
            const int64_t begin = left + phase * s->col_step;
            int64_t first, last;
            NAME(inside)(w, begin, s->pitch, &first, &last);
            const int64_t done = together ? all_first : first, resume = together ? all_last : last;
            for (int64_t line = 0; line < s->lines; line++) {
                const int64_t y = top + line * w->sh;
                if (y < 0 || y >= w->ih)
                    continue;
                const REAL *row = channel + y * w->xh + begin * w->xw;
                REAL *to = target + phase * plane + line * s->pitch;
                if (!together)
                    NAME(copy_apart)(row + first * apart, last - first, apart, to + first);
                for (int64_t t = done ? 0 : resume; t < s->pitch; t = t + 1 == done ? resume : t + 1)
                    to[t] = t >= first && t < last ? row[t * apart] : 0;
            }
        }
    }
}

/* The offset in channel 0 that tap (i, j) of the block's first position reads. */
static inline int64_t NAME(tap_at)(const Window *w, const NAME(strip) *s, int64_t i, int64_t j)
{
    const int64_t row_phase = s->row_taps ? i : i * w->dh % w->sh, line = s->row_taps ? 0 : i * w->dh / w->sh;
    const int64_t col_phase = s->col_taps ? j : j * w->dw % w->sw, t = s->col_taps ? 0 : j * w->dw / w->sw;
    return ((row_phase * s->col_phases + col_phase) * s->lines + line) * s->pitch + t;
}

typedef struct {
    int64_t count, start[SIMD_BYTES / sizeof(REAL)];
    NAME(mask) mask[SIMD_BYTES / sizeof(REAL)];
} NAME(runs);

/* The runs of positions p to p + n - 1, n <= LANES, in rows that are `cols` long and `stride` apart. */
static void NAME(find_runs)(NAME(runs) *runs, int64_t p, int64_t n, int64_t cols, int64_t stride)
{
    int64_t row = p / cols, col = p % cols;
    runs->count = 0;
    for (int64_t l = 0; l < n; row++, col = 0) {
        const int64_t end = l + cols - col < n ? l + cols - col : n;
        NAME(mask) mask;
        for (int64_t lane = 0; lane < LANES; lane++)
            mask[lane] = lane >= l && lane < end ? -1 : 0;
        runs->start[runs->count] = row * stride + col - l;
        runs->mask[runs->count++] = mask;
        l = end;
    }
}

/* LANES positions at `source`; lanes past the runs are zeros. `count` is the number of runs; if it is a constant, this
 * becomes straight-line code. */
static inline __attribute__((always_inline)) VECTOR NAME(load_runs)(const NAME(runs) *runs, int64_t count,
                                                                    const REAL *source)
{
    NAME(mask) bits = (NAME(mask))NAME(load)(source + runs->start[0]) & runs->mask[0];
    for (int64_t run = 1; run < count; run++)
        bits |= (NAME(mask))NAME(load)(source + runs->start[run]) & runs->mask[run];
    return (VECTOR)bits;
}

/* shift[k - k0] for the steps k0 <= k < k1; channel 0 of the strip is the channel of step k0. */
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
