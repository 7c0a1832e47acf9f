/* Convolution as a matrix product that is never lowered: rows are output positions, columns are filters.
 *
 *   out[p, m] = epilogue(sum_k x[c, r * sh - pt + i * dh, q * sw - pl + j * dw] * weight[m, k]),  k = (i, j, c)
 *
 * (Dukhan, The indirect convolution algorithm, 2019.) im2row.h packs each position's values for every tap that sees
 * them. Here the part of the image that a tile sees is laid out once, with the channels of a group last and zeros around
 * it. What a tap reads is then a constant shift from its position, and each value is broadcast from where it lies:
 *
 *   strip[line][column][channel]      position (r, q), tap (i, j): line r * sh + i * dh, column q * sw + j * dw
 *
 * The strip may be the image itself, wherever its channels lie, for the positions that see no padding. Those along the
 * edges are then blocks of their own: only what they see is laid out. Groups of many channels are laid out and summed
 * some at a time, so that blocks of enough positions fit L2: they would read all filters too often. Sums
 * are turned in registers on their way to planes. (Strips of planes, which need no transposition, were no faster than
 * pixels: a tile touches a cache line per channel.)
 *
 * Groups with few filters leave vectors of a tile of gemm.h empty. A tile here has more rows when it has fewer vectors,
 * so that enough sums are under way to hide the latency of multiply-adds.
 */
#define INDIRECT_ARGUMENTS(X)                                                   \
    WINDOW_FIELDS(X)                                                            \
    X(blocks)         /* blocks of positions of a plane, in all regions */      \
    X(positions)      /* of the largest block */                                \
    X(strip)          /* pixels of the largest strip */                         \
    X(some)           /* channels of a strip */                                 \
    X(kc)             /* most steps of a block of the reduction */              \
    X(block_panels)   /* panels of a block of filters */                        \
    X(channel_blocks) /* blocks of filters of a group */                        \
    X(activation)     /* code of the activation */                              \
    X(out_image)      /* values of the output from one image to the next */     \
    X(out_plane)      /* values of the output from one channel to the next */   \
    X(out_row)        /* values of the output from one row to the next */       \
    X(out_position)   /* values of the output from one position to the next */
ARGUMENTS(Indirect, INDIRECT_ARGUMENTS);

/* Positions of a plane, row <= r < past_row and col <= q < past_col, in blocks of at most rows × cols. */
typedef struct {
    int64_t row, past_row, col, past_col, rows, cols;
    int64_t in_place; /* whether the strip is the image itself */
} NAME(region);

/* Steps of the sums of a tile: `runs` runs of `length` values. */
typedef struct {
    int64_t runs, length;
    int64_t apart;        /* values of the strip from one of a run to the next */
    const int64_t *shift; /* of the first value of each run, in the strip */
    const REAL *filters;  /* the vectors of each step */
    const REAL *next;     /* filters that are used next, and are prefetched meanwhile */
    int accumulate;
    const NAME(finish) *finish; /* of each vector; null if it does nothing, or sums are not complete */
    int64_t channels, plane;    /* filters that exist, and values from a plane of them to the next */
} NAME(steps);

typedef void NAME(position_kernel)(const NAME(steps) *s, const REAL *source, const int64_t *at, const int64_t *to,
                                   REAL *sums, REAL *planes);

/* Add sums that are there, of `m` rows of `nv` vectors that begin at `to`, and finish them. The `finish` of a row is `own`
 * further on than that of the row before. */
static inline __attribute__((always_inline)) void NAME(add_and_finish)(const int m, const int nv, VECTOR *sum,
                                                                       const NAME(steps) *s, const REAL *sums,
                                                                       const int64_t *to, const int own)
{
    const NAME(finish) *finish = s->finish;
    if (s->accumulate)
        UNROLL
        for (int i = 0; i < m; i++)
            UNROLL
            for (int v = 0; v < nv; v++)
                sum[i * nv + v] += NAME(load)(sums + to[i] + v * LANES);
    if (finish)
        UNROLL
        for (int i = 0; i < m; i++)
            UNROLL
            for (int v = 0; v < nv; v++)
                sum[i * nv + v] = NAME(finished)(sum[i * nv + v], finish + i * own + v);
}

/* Write rows of sums, each of which begins at `to`. */
static inline __attribute__((always_inline)) void NAME(put_sums)(const int m, const int nv, const VECTOR *sum,
                                                                 REAL *sums, const int64_t *to)
{
    UNROLL
    for (int i = 0; i < m; i++)
        UNROLL
        for (int v = 0; v < nv; v++)
            NAME(store)(sums + to[i] + v * LANES, sum[i * nv + v]);
}

/* The sums of m positions, whose values are `at` in the strip, and nv vectors of filters. They go `to` places in `sums`;
 * or to `planes`, where positions are neighbours, if that is not null, and `sums` are only read. */
static inline __attribute__((always_inline)) void NAME(positions)(const int m, const int nv, const NAME(steps) *s,
                                                                  const REAL *source, const int64_t *at,
                                                                  const int64_t *to, REAL *sums, REAL *planes)
{
    VECTOR sum[MR * NV < 8 ? 8 : MR * NV];
    const REAL *filters = s->filters;
    const int64_t apart = s->apart;
    int64_t offset[2 * MR < 8 ? 8 : 2 * MR];
    UNROLL
    for (int i = 0; i < m; i++)
        offset[i] = at[i];
    UNROLL
    for (int i = 0; i < m * nv; i++)
        sum[i] = (VECTOR){0};
    for (int64_t j = 0; planes && j < nv * LANES && j < s->channels; j++)
        __builtin_prefetch(planes + j * s->plane, 1);
    for (int64_t run = 0; run < s->runs; run++) {
        const REAL *x = source + s->shift[run];
        TWO_AT_A_TIME
        for (int64_t step = 0; step < s->length; step++, x += apart, filters += nv * LANES) {
            VECTOR row[NV];
            UNROLL
            for (int v = 0; v < nv; v++)
                row[v] = NAME(load)(filters + v * LANES);
            UNROLL
            for (int i = 0; i < m; i++) {
                const VECTOR left = NAME(broadcast)(x[offset[i]]);
                UNROLL
                for (int v = 0; v < nv; v++)
                    sum[i * nv + v] += left * row[v];
            }
        }
    }
    NAME(add_and_finish)(m, nv, sum, s, sums, to, 0);
    if (planes)
        NAME(write_turned)(m, nv, sum, s->channels, planes, s->plane);
    else
        NAME(put_sums)(m, nv, sum, sums, to);
}

/* The sums of one position and `m` panels of `nv` vectors of filters, `panel` values from each other. A single panel would
 * wait for its multiply-adds. */
static inline __attribute__((always_inline)) void NAME(at_position)(const int m, const int nv, const NAME(steps) *s,
                                                                    const REAL *source, int64_t panel, REAL *sums)
{
    VECTOR sum[MR * NV];
    const REAL *filters = s->filters;
    int64_t to[MR];
    UNROLL
    for (int i = 0; i < m; i++)
        to[i] = i * nv * LANES;
    UNROLL
    for (int i = 0; i < m * nv; i++)
        sum[i] = (VECTOR){0};
    for (int64_t run = 0; run < s->runs; run++) {
        const REAL *x = source + s->shift[run];
        for (int64_t step = 0; step < s->length; step++, x += s->apart, filters += nv * LANES) {
            const VECTOR left = NAME(broadcast)(*x);
            UNROLL
            for (int i = 0; i < m; i++)
                UNROLL
                for (int v = 0; v < nv; v++)
                    sum[i * nv + v] += left * NAME(load)(filters + i * panel + v * LANES);
        }
    }
    NAME(add_and_finish)(m, nv, sum, s, sums, to, nv);
    NAME(put_sums)(m, nv, sum, sums, to);
}

/* X(positions, vectors) of the tiles that there are: of 12 sums, or 8 where that is what registers hold. */
#define TILES_OF_1(X) X(1, 1) X(2, 1) X(3, 1) X(4, 1) X(5, 1) X(6, 1) X(7, 1) X(8, 1)
#define TILES_OF_2(X) X(1, 2) X(2, 2) X(3, 2) X(4, 2)
#if NV == 3
#define MORE_TILES_OF_2(X) X(5, 2) X(6, 2)
#define TILES_OF_3(X) X(1, 3) X(2, 3) X(3, 3) X(4, 3)
#else
#define MORE_TILES_OF_2(X)
#define TILES_OF_3(X)
#endif
#define DEFINE(m, nv)                                                                                      \
    static __attribute__((noinline)) void NAME(positions_##m##x##nv)(                                     \
        const NAME(steps) *s, const REAL *source, const int64_t *at, const int64_t *to, REAL *sums,        \
        REAL *planes)                                                                                      \
    { NAME(positions)(m, nv, s, source, at, to, sums, planes); }
#define POSITIONS_OF(m, nv) NAME(positions_##m##x##nv),
TILES_OF_1(DEFINE) TILES_OF_2(DEFINE) MORE_TILES_OF_2(DEFINE) TILES_OF_3(DEFINE)
static NAME(position_kernel) *const NAME(position_kernels)[NV][8] = {
    {TILES_OF_1(POSITIONS_OF)},
    {TILES_OF_2(POSITIONS_OF) MORE_TILES_OF_2(POSITIONS_OF)},
#if NV == 3
    {TILES_OF_3(POSITIONS_OF)},
#endif
};
static const int NAME(most_positions)[] = {8, NV == 3 ? 6 : 4, 4};
#undef DEFINE
#undef POSITIONS_OF

typedef void NAME(panels_kernel)(const NAME(steps) *s, const REAL *source, int64_t panel, REAL *sums);

/* X(panels, vectors) of the tiles of one position. At most two panels are narrower than NR (`panel_first` of gemm.h). */
#define TWO_PANELS(X, nv) X(1, nv) X(2, nv)
#if MR == 8
#define ALL_PANELS(X, nv) TWO_PANELS(X, nv) X(3, nv) X(4, nv) X(5, nv) X(6, nv) X(7, nv) X(8, nv)
#else
#define ALL_PANELS(X, nv) TWO_PANELS(X, nv) X(3, nv) X(4, nv)
#endif
#define DEFINE(m, nv)                                                                                  \
    static __attribute__((noinline)) void NAME(panels_##m##x##nv)(const NAME(steps) *s, const REAL *source, \
                                                                  int64_t panel, REAL *sums)           \
    { NAME(at_position)(m, nv, s, source, panel, sums); }
#define PANELS_OF(m, nv) NAME(panels_##m##x##nv),
#if NV == 3
TWO_PANELS(DEFINE, 1) TWO_PANELS(DEFINE, 2) ALL_PANELS(DEFINE, 3)
#else
TWO_PANELS(DEFINE, 1) ALL_PANELS(DEFINE, 2)
#endif
static NAME(panels_kernel) *const NAME(panels_kernels)[NV][MR] = {
    {TWO_PANELS(PANELS_OF, 1)},
#if NV == 3
    {TWO_PANELS(PANELS_OF, 2)},
    {ALL_PANELS(PANELS_OF, 3)},
#else
    {ALL_PANELS(PANELS_OF, 2)},
#endif
};
#undef DEFINE
#undef PANELS_OF

/* How many panels from this one on, which ends at channel `m`, are as wide as it and end by channel `past`: as many as
 * `panels_kernels` has at most. */
static int64_t NAME(equal_panels)(int64_t panel, int64_t m, int64_t past, int64_t width, int64_t vectors)
{
    const int64_t most = vectors == NV ? MR : 2;
    int64_t panels = 1;
    while (panels < most && m + vectors * LANES <= past &&
           NAME(panel_first)(panel + panels + 1, width) == m + vectors * LANES) {
        panels++;
        m += vectors * LANES;
    }
    return panels;
}

/* The sums of `count` positions, in tiles of about equal numbers of them, none of which crosses a row of `cols`. Rows of
 * planes are `row` values apart. */
static void NAME(sum_positions)(int64_t vectors, const NAME(steps) *s, const REAL *source, const int64_t *at,
                                const int64_t *to, int64_t count, int64_t cols, REAL *sums, REAL *planes, int64_t row)
{
    const int64_t tiles = NAME(ceil_div)(cols, NAME(most_positions)[vectors - 1]), least = cols / tiles;
    const int64_t larger = cols - tiles * least; /* tiles of one position more */
    const int64_t share = s->runs * s->length * vectors * LANES / (tiles * (count / cols)) + LINE;
    const REAL *next = s->next;
    for (int64_t p = 0; p < count; p += cols, planes = planes ? planes + row : 0)
        for (int64_t tile = 0, q = 0, m; tile < tiles; tile++, q += m, next += share) {
            m = least + (tile < larger);
            for (int64_t i = 0; i < share; i += LINE)
                __builtin_prefetch(next + i, 0, 2);
            NAME(position_kernels)[vectors - 1][m - 1](s, source, at + p + q, to + p + q, sums,
                                                       planes ? planes + q : 0);
        }
}

#define PACK_PANELS_ARGUMENTS(X)            \
    X(M)      /* filters of a group */      \
    X(C)      /* channels of a group */     \
    X(taps)   /* positions of a filter */   \
    X(some)   /* channels of a strip */     \
    X(panels) /* panels of a group */
ARGUMENTS(PackPanels, PACK_PANELS_ARGUMENTS);

/* Bytes of the packed filters of a group. */
static int64_t NAME(pack_panels_packed)(const int64_t *ints)
{
    const PackPanels *a = (const PackPanels *)ints;
    return a->C * a->taps * NAME(ceil_div)(a->M, LANES) * SIMD_BYTES;
}

/* Pack filters (groups * M, C, taps) into panels of up to NV whole vectors, steps k = (tap, c) of each, for some channels
 * after the other. Filters past M are zeros. Tile: one panel. arrays: weight, packed. */
static void NAME(pack_panels)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                              int64_t worker)
{
    enum { AT_ONCE = 256 };
    const PackPanels *a = (const PackPanels *)ints;
    const int64_t K = a->C * a->taps, width = NAME(ceil_div)(a->M, LANES) * LANES;
    for (int64_t tile = begin; tile < end; tile++) {
        const int64_t group = tile / a->panels, panel = tile % a->panels, start = NAME(panel_first)(panel, width);
        const int64_t columns = NAME(panel_first)(panel + 1, width) - start;
        const REAL *source = (const REAL *)arrays[0] + (group * a->M + start) * K;
        REAL *target = (REAL *)arrays[1] + (group * width + start) * K;
        for (int64_t first = 0; first < K; first += AT_ONCE) {
            if (stops(arrays, worker))
                return;
            const int64_t count = K - first < AT_ONCE ? K - first : AT_ONCE;
            int64_t at[AT_ONCE];
            for (int64_t i = 0; i < count; i++) {
                const int64_t tap = (first + i) % a->taps, c = (first + i) / a->taps, c0 = c / a->some * a->some;
                const int64_t some = a->C - c0 < a->some ? a->C - c0 : a->some;
                at[i] = (c0 * a->taps + tap * some + c - c0) * columns;
            }
            NAME(pack_filters)(source + first, K, a->M - start < columns ? a->M - start : columns, columns, count, at,
                               target);
        }
    }
}

/* Whether there is one block of the reduction. */
static inline int NAME(indirect_at_once)(const Indirect *a)
{ return a->ic / a->g == a->some && a->some * a->kh * a->kw <= a->kc; }

/* Whether complete sums are turned on their way to planes: blocks of single positions are few, and have tiles of their
 * own. */
static inline int NAME(indirect_in_planes)(const Indirect *a)
{ return a->out_position == 1 && a->positions > 1; }

typedef struct {
    REAL *strip;    /* (lines, pitch, some) */
    REAL *sums;     /* of the block, position by position */
    int64_t *at;    /* of each position in the strip */
    int64_t *to;    /* of each position in `sums`, or in the output if complete sums are those */
    int64_t *shift; /* of each run in the strip */
    int64_t ld;     /* values of the sums from one position to the next */
    int64_t bytes;
} NAME(indirect_parts);

static NAME(indirect_parts) NAME(indirect_layout)(const Indirect *a, char *memory)
{
    Scratch s = {memory, 0};
    NAME(indirect_parts) parts;
    const int64_t vectors = NAME(ceil_div)(a->oc / a->g, LANES), most = a->block_panels * NV;
    parts.ld = (vectors < most ? vectors : most) * LANES;
    parts.strip = take(&s, a->strip * a->some * sizeof(REAL));
    const int none = NAME(indirect_in_planes)(a) && NAME(indirect_at_once)(a);
    parts.sums = take(&s, none ? 0 : a->positions * parts.ld * sizeof(REAL));
    parts.at = take(&s, a->positions * sizeof(int64_t));
    parts.to = take(&s, a->positions * sizeof(int64_t));
    parts.shift = take(&s, a->kh * a->kw * sizeof(int64_t));
    parts.bytes = s.bytes;
    return parts;
}

static int64_t NAME(indirect_scratch)(const int64_t *ints)
{ return NAME(indirect_layout)((const Indirect *)ints, 0).bytes; }

/* Copy a few neighbouring channels: a call of memcpy would cost as much as many of them. */
static inline void NAME(copy_channels)(const REAL *source, int64_t n, REAL *target)
{
    if (n >= LANES || n < 4)
        NAME(copy_run)(source, n, target);
    else {
        *(NAME(quad) *)target = *(const NAME(quad) *)source;
        *(NAME(quad) *)(target + n - 4) = *(const NAME(quad) *)(source + n - 4);
        if (n > 8)
            *(NAME(quad) *)(target + 4) = *(const NAME(quad) *)(source + 4);
        if (n > 12)
            *(NAME(quad) *)(target + 8) = *(const NAME(quad) *)(source + 8);
    }
}

/* Lay out `count` pixels of a line with their channels last, `pixel` values apart. The same pixels of the next group,
 * `ahead` values on, are prefetched: runs are too short for the hardware to see a pattern. (Laying out at once all groups
 * that share a cache line, and fetching the next pixels, took longer.) */
static void NAME(lay_pixels)(const REAL *source, int64_t xc, int64_t xw, int64_t count, int64_t channels, int64_t ahead,
                             int64_t pixel, REAL *target)
{
    if (xc == 1 && xw == channels && pixel == channels)
        NAME(copy_run)(source, count * channels, target);
    else if (xc == 1)
        for (int64_t i = 0; i < count; i++) {
            __builtin_prefetch(source + i * xw + ahead);
            NAME(copy_channels)(source + i * xw, channels, target + i * pixel);
        }
    else {
        int64_t c = 0;
        if (xw == 1 && count >= 4)
            for (; c + 4 <= channels; c += 4)
                for (int64_t i = 0; i < count; i += 4) {
                    i = i < count - 4 ? i : count - 4;
                    const REAL *from = source + c * xc + i;
                    UNROLL
                    for (int j = 0; j < 4; j++)
                        __builtin_prefetch(from + j * xc + ahead);
                    NAME(transpose)(from, xc, target + i * pixel + c, pixel);
                }
        int64_t done = 0;
        if (xw == 1 && channels == 3) /* colours: the fourth value of a quad is overwritten by the next pixel */
            for (; done + 4 <= count; done += 4) {
                NAME(quad) row[4];
                UNROLL
                for (int j = 0; j < 3; j++)
                    row[j] = *(const NAME(quad) *)(source + j * xc + done);
                row[3] = row[2];
                NAME(turn_quads)(row);
                UNROLL
                for (int j = 0; j < 3; j++)
                    *(NAME(quad) *)(target + (done + j) * pixel) = row[j];
                memcpy(target + (done + 3) * pixel, &row[3], 3 * sizeof(REAL));
            }
        for (; c < channels; c++)
            for (int64_t i = done; i < count; i++)
                target[i * pixel + c] = source[c * xc + i * xw];
    }
}

/* Write the zeros around what a block sees of the image, from line `top` and column `left` on. */
static void NAME(zero_around)(const Indirect *a, int64_t lines, int64_t pitch, int64_t top, int64_t left, int64_t pixel,
                              REAL *strip)
{
    const int64_t before = left < 0 ? (-left < pitch ? -left : pitch) : 0;
    const int64_t past = a->iw - left < pitch ? (a->iw - left > before ? a->iw - left : before) : pitch;
    for (int64_t line = 0; line < lines; line++, strip += pitch * pixel) {
        const int inside = top + line >= 0 && top + line < a->ih;
        memset(strip, 0, (inside ? before : pitch) * pixel * sizeof(REAL));
        memset(strip + past * pixel, 0, (inside ? pitch - past : 0) * pixel * sizeof(REAL));
    }
}

/* Lay out what a block sees of some channels, from line `top` and column `left` of the image on. Zeros around it are
 * there already. */
static void NAME(lay_strip)(const Indirect *a, const REAL *image, int64_t lines, int64_t pitch, int64_t top,
                            int64_t left, int64_t channels, int64_t pixel, REAL *strip)
{
    const int64_t begin = left < 0 ? 0 : left, end = left + pitch < a->iw ? left + pitch : a->iw;
    for (int64_t line = top < 0 ? -top : 0; begin < end && line < lines && top + line < a->ih; line++)
        NAME(lay_pixels)(image + (top + line) * a->xh + begin * a->xw, a->xc, a->xw, end - begin, channels,
                         channels * a->xc, pixel, strip + (line * pitch + begin - left) * pixel);
}

/* Write the sums of `count` positions, `ld` apart, to where the output has its channels and positions. */
static void NAME(place)(const REAL *sums, int64_t ld, int64_t count, int64_t channels, REAL *out, int64_t out_plane,
                        int64_t out_position)
{
    if (out_position == 1)
        NAME(turn_rows)(sums, ld, count, channels, out, out_plane);
    else if (out_plane == 1)
        for (int64_t i = 0; i < count; i++)
            NAME(copy_run)(sums + i * ld, channels, out + i * out_position);
    else
        for (int64_t i = 0; i < count; i++)
            for (int64_t m = 0; m < channels; m++)
                out[i * out_position + m * out_plane] = sums[i * ld + m];
}

/* Tile: a block of filters of a group, for a block of positions of an image; the groups of the same positions follow
 * each other. arrays: x, packed weight (pack_panels), bias or null, out, regions, scratch. scalars: the activation's
 * parameter. */
static void NAME(indirect)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                           int64_t worker)
{
    const Indirect *a = (const Indirect *)ints;
    const REAL *bias = arrays[2];
    const int64_t icg = a->ic / a->g, ocg = a->oc / a->g, taps = a->kh * a->kw, K = icg * taps;
    const int64_t width = NAME(ceil_div)(ocg, LANES) * LANES;
    const NAME(indirect_parts) own =
        NAME(indirect_layout)(a, (char *)arrays[5] + worker * NAME(indirect_scratch)(ints));
    /* Blocks of the reduction: whole rows of taps if one fits, so that they do not depend on where channels lie. */
    const int by_row = a->kw * a->some <= a->kc;
    const int64_t fitting = a->kc / a->some, block_taps = by_row ? fitting / a->kw * a->kw : fitting ? fitting : 1;
    const int64_t parts = NAME(ceil_div)(a->some, a->kc), part = NAME(ceil_div)(a->some, parts);
    const int fused = a->activation <= LEAKY_RELU;
    NAME(finish) finish[MR * NV];
    for (int v = 0; v < MR * NV; v++)
        finish[v] = (NAME(finish)){
            .activation = fused ? a->activation : 0,
            .slope = NAME(broadcast)((REAL)scalars[0]),
            .leaks = -(BITS)(a->activation == LEAKY_RELU) - (NAME(mask)){0},
        };
    const NAME(region) *region = 0;
    int64_t unasked = 0, last = -1, r0 = 0, q0 = 0;
    int was_direct = 0;
    for (int64_t tile = begin; tile < end; tile++) {
        const int64_t g = tile % a->g, panel0 = tile / a->g % a->channel_blocks * a->block_panels;
        const int64_t share = tile / a->g / a->channel_blocks, block = share % a->blocks, n = share / a->blocks;
        const int moved = block != last;
        if (moved) {
            int64_t i = block, across, blocks;
            for (region = arrays[4];; i -= blocks, region++) {
                across = NAME(ceil_div)(region->past_col - region->col, region->cols);
                blocks = NAME(ceil_div)(region->past_row - region->row, region->rows) * across;
                if (i < blocks)
                    break;
            }
            r0 = region->row + i / across * region->rows;
            q0 = region->col + i % across * region->cols;
        }
        last = block;
        const int64_t rows = region->past_row - r0 < region->rows ? region->past_row - r0 : region->rows;
        const int64_t cols = region->past_col - q0 < region->cols ? region->past_col - q0 : region->cols;
        const int64_t top = r0 * a->sh - a->pt, left = q0 * a->sw - a->pl, count = rows * cols;
        const int64_t lines = (rows - 1) * a->sh + (a->kh - 1) * a->dh + 1; /* of the strip */
        const int64_t pitch = (cols - 1) * a->sw + (a->kw - 1) * a->dw + 1;
        const int64_t pixel = region->in_place ? a->xw : a->some, line = region->in_place ? a->xh : pitch * a->some;
        const int64_t apart = region->in_place ? a->xc : 1; /* values from one channel to the next */
        const int64_t m0 = NAME(panel_first)(panel0, width);
        const int64_t past = NAME(panel_first)(panel0 + a->block_panels, width);
        const int64_t m1 = past < width ? past : width, channels = (m1 < ocg ? m1 : ocg) - m0;
        const REAL *image = (const REAL *)arrays[0] + n * a->xn + g * icg * a->xc;
        REAL *out = (REAL *)arrays[3] + n * a->out_image + (g * ocg + m0) * a->out_plane + r0 * a->out_row +
                    q0 * a->out_position;
        const int whole = a->out_row == cols * a->out_position || rows == 1;
        const int direct = fused && a->out_plane == 1 && channels == m1 - m0;
        const int in_planes = !direct && NAME(indirect_in_planes)(a);
        REAL *sums = direct ? out : own.sums;
        if (moved || direct != was_direct)
            for (int64_t p = 0, r = 0; r < rows; r++)
                for (int64_t q = 0; q < cols; q++, p++) {
                    own.at[p] = r * a->sh * line + q * a->sw * pixel;
                    own.to[p] = direct ? r * a->out_row + q * a->out_position : p * own.ld;
                }
        was_direct = direct;
        if (moved && !region->in_place)
            NAME(zero_around)(a, lines, pitch, top, left, a->some, own.strip);
        for (int64_t first = 0; first < icg; first += a->some) {
            const int64_t depth = icg - first < a->some ? icg - first : a->some;
            const int joined = by_row && (depth == 1 || a->dw * pixel == depth * apart);
            const REAL *source = image + first * a->xc + top * line + left * pixel;
            if (!region->in_place) {
                NAME(lay_strip)(a, image + first * a->xc, lines, pitch, top, left, depth, a->some, own.strip);
                source = own.strip;
            }
            for (int64_t t0 = 0; t0 < taps; t0 += block_taps)
                for (int64_t c0 = 0; c0 < depth; c0 += part) {
                    const int64_t t1 = t0 + block_taps < taps ? t0 + block_taps : taps;
                    const int64_t length = c0 + part < depth ? part : depth - c0, each = joined ? a->kw : 1;
                    const int64_t steps = (t1 - t0) * length, runs = (t1 - t0) / each;
                    for (int64_t run = 0; run < runs; run++) {
                        const int64_t t = t0 + run * each;
                        own.shift[run] = t / a->kw * a->dh * line + t % a->kw * a->dw * pixel + c0 * apart;
                    }
                    const int complete = t1 == taps && c0 + part >= depth && first + depth == icg;
                    const int finishes = complete && (bias || (fused && a->activation));
                    REAL *planes = complete && in_planes ? out : 0;
                    for (int64_t m = m0, panel = panel0, panels; m < m1; panel += panels) {
                        const int64_t next = NAME(panel_first)(panel + 1, width), vectors = (next - m) / LANES;
                        const int single = count == 1 && !planes;
                        panels = single ? NAME(equal_panels)(panel, next, m1, width, vectors) : 1;
                        unasked += steps * panels * vectors * count;
                        if (unasked > PRODUCTS_UNASKED) {
                            unasked = 0;
                            if (stops(arrays, worker))
                                return;
                        }
                        for (int64_t v = 0; finishes && v < panels * vectors; v++) {
                            REAL offset[SIMD_BYTES / sizeof(REAL)];
                            for (int64_t j = 0; j < LANES; j++) {
                                const int64_t channel = m + v * LANES + j; /* -0 is the zero that changes no value */
                                offset[j] = bias && channel < ocg ? bias[g * ocg + channel] : -(REAL)0;
                            }
                            finish[v].bias = NAME(load)(offset);
                        }
                        const REAL *filters = (const REAL *)arrays[1] + (g * width + m) * K +
                                              (first * taps + t0 * depth + c0) * vectors * LANES;
                        const NAME(steps) s = {
                            .runs = runs,
                            .length = joined ? steps / runs : length,
                            .apart = joined && depth == 1 ? a->dw * pixel : apart,
                            .shift = own.shift,
                            .filters = filters,
                            .next = filters + K * vectors * LANES, /* the same steps of the next panel */
                            .accumulate = first || t0 || c0,
                            .finish = finishes ? finish : 0,
                            .channels = ocg - m,
                            .plane = a->out_plane,
                        };
                        if (single)
                            NAME(panels_kernels)[vectors - 1][panels - 1](&s, source, K * vectors * LANES,
                                                                          sums + m - m0);
                        else
                            NAME(sum_positions)(vectors, &s, source, own.at, own.to, count,
                                                planes && !whole ? cols : count, sums + m - m0,
                                                planes ? planes + (m - m0) * a->out_plane : 0, a->out_row);
                        m += panels * vectors * LANES;
                    }
                }
        }
        if (direct)
            continue;
        const int64_t run = whole ? count : cols;
        if (in_planes) {
            for (int64_t m = 0; m < channels && !fused; m++)
                for (int64_t p = 0; p < count; p += run)
                    NAME(epilogue)(out + m * a->out_plane + p / run * a->out_row, run, 0, 0, a->activation, scalars[0]);
            continue;
        }
        if (!fused)
            NAME(activate)(sums, sums, count * own.ld, 0, a->activation, scalars);
        for (int64_t p = 0; p < count; p += run, out += a->out_row)
            NAME(place)(sums + p * own.ld, own.ld, run, channels, out, a->out_plane, a->out_position);
    }
}
