/* The three stages of a block of Winograd's tiles: transformed inputs V, sums S over the channels, and outputs.
 *
 *   V[e][block of steps][panel of MR tiles][c][MR tiles]   transformed input: packed left operands
 *   U[panel of channels][e][c][channels]                   transformed weights: packed right operands
 *   S[e][tile][NR channels]                                the sums over c for one panel of channels
 *
 * Each of the t × t points e has one sum of products: a matrix product over the channels, on the micro-kernel of
 * gemm.h. Its vectors run along output channels, and tiles are broadcast. So a map of 49 tiles costs 49 and not 56, and
 * a panel of weights is read once for all tiles of a block. Sums are short, kc channels each, because the transforms
 * amplify their rounding; they are added to S one after another.
 *
 * The last block down and across has the tiles that remain, and the last tiles compute outputs past the image's, which
 * are not written.
 */
/* A block of tiles: where it begins, in tiles, and its extents. */
typedef struct {
    int64_t row0, col0, rows, cols;
} NAME(tile_block);

static inline NAME(tile_block) NAME(block_of)(const Winograd *a, int64_t index)
{
    NAME(tile_block) b;
    b.row0 = index / a->across * a->block_rows;
    b.col0 = index % a->across * a->block_cols;
    b.rows = a->tiles_down - b.row0 < a->block_rows ? a->tiles_down - b.row0 : a->block_rows;
    b.cols = a->tiles_across - b.col0 < a->block_cols ? a->tiles_across - b.col0 : a->block_cols;
    return b;
}

/* Extents of V, S and U, in values. */
typedef struct {
    int64_t points;           /* of a tile */
    int64_t most;             /* tiles of a block, and what fills the last panel */
    int64_t point_v, point_s; /* from one point to the next */
    int64_t block_v, block_s; /* of a block, and of a block and one panel */
    int64_t width, panels;    /* output channels of a group in whole vectors, and their panels */
    int64_t group_u;          /* of a group's weights */
} NAME(extents);

static NAME(extents) NAME(extents_of)(const Winograd *a)
{
    NAME(extents) x;
    const int64_t whole = LANES < MR ? MR : LANES;
    x.points = a->t_down * a->t_across;
    x.most = NAME(ceil_div)(a->block_rows * a->block_cols, whole) * whole;
    x.point_v = a->icg * x.most + POINT_GAP;
    x.point_s = x.most * NR + POINT_GAP;
    x.block_v = x.points * x.point_v;
    x.block_s = x.points * x.point_s;
    x.width = NAME(ceil_div)(a->ocg, LANES) * LANES;
    x.panels = NAME(ceil_div)(x.width, NR);
    x.group_u = x.points * NAME(panel_start)(x.panels, x.width, a->icg);
    return x;
}

/* A panel of output channels of a group: its first one, its columns in whole vectors, and the channels there are. */
typedef struct {
    int64_t first, columns, channels;
} NAME(weight_panel);

static inline NAME(weight_panel) NAME(panel_of)(const Winograd *a, const NAME(extents) *x, int64_t index)
{
    NAME(weight_panel) p;
    p.first = NAME(panel_first)(index, x->width);
    p.columns = NAME(tile_columns)(x->width - p.first);
    p.channels = a->ocg - p.first < p.columns ? a->ocg - p.first : p.columns;
    return p;
}

/* Compute V of a block for `channels` channels from number `c` of the running sum that starts at `k0`. */
static void NAME(block_in)(const NAME(points) *points, const Winograd *a, const NAME(extents) *x,
                           const NAME(tile_block) *b, const REAL *image, int64_t k0, int64_t c, int64_t channels,
                           REAL *line, REAL *strip, REAL *V)
{
    const int64_t steps = a->icg - k0 < a->kc ? a->icg - k0 : a->kc;
    const NAME(rows) s = NAME(rows_of)(a, b->rows, b->cols);
    NAME(fill_rows)(image + (k0 + c) * a->xc, a, &s, channels, b->row0, b->col0, line, strip);
    NAME(tiles_in_of)[a->axis][a->combined](points, strip, &s, channels, b->rows * b->cols, b->cols,
                                            V + k0 * x->most + c * MR, steps, x->point_v);
}

/* Multiply one point of `steps` channels: a panel of nv vectors of output channels by `tiles` tiles. The operands of
 * the next call follow in memory, in V after `ahead` values, and are prefetched meanwhile. */
typedef void NAME(sum_kernel)(int64_t tiles, int64_t steps, const REAL *left, const REAL *right, const int64_t *shift,
                              REAL *S, int accumulate, int64_t ahead);

#define SUMS(nv)                                                                                                \
    static void NAME(sums_##nv)(int64_t tiles, int64_t steps, const REAL *left, const REAL *right,              \
                                const int64_t *shift, REAL *S, int accumulate, int64_t ahead)                   \
    {                                                                                                           \
        const REAL *next = right + steps * nv * LANES;                                                          \
        const int64_t share = steps * nv * LANES / ((tiles + MR - 1) / MR) + LINE;                              \
        for (; tiles >= MR; tiles -= MR, left += MR * steps, S += MR * NR, next += share) {                     \
            for (int64_t i = 0; i < share; i += LINE)                                                           \
                __builtin_prefetch(next + i, 0, 2);                                                             \
            for (int64_t i = 0; i < MR * steps; i += LINE)                                                      \
                __builtin_prefetch(left + ahead + i);                                                           \
            NAME(tile)(MR, nv, nv * LANES, steps, left, right, shift, S, NR, accumulate, 0);                    \
        }                                                                                                       \
        if (tiles)                                                                                              \
            NAME(tiles)[tiles - 1][nv - 1](nv * LANES, steps, left, right, shift, S, NR, accumulate, 0);        \
    }
SUMS(1) SUMS(2)
#if NV == 3
SUMS(3)
#endif
static NAME(sum_kernel) *const NAME(sums)[NV] = {
    NAME(sums_1), NAME(sums_2),
#if NV == 3
    NAME(sums_3),
#endif
};

/* Compute S of one point for a block of `size` tiles and a panel, from their V and U. */
static void NAME(point_sums)(const Winograd *a, const NAME(extents) *x, int64_t size, int64_t columns, int64_t e,
                             const REAL *V, const REAL *U, const int64_t *shift, REAL *S)
{
    const int64_t vectors = columns / LANES;
    for (int64_t k0 = 0; k0 < a->icg; k0 += a->kc) {
        const int64_t steps = a->icg - k0 < a->kc ? a->icg - k0 : a->kc;
        NAME(sums)[vectors - 1](size, steps, V + e * x->point_v + k0 * x->most,
                                U + e * (a->icg * columns + POINT_GAP) + k0 * columns, shift + (vectors - 1) * a->kc,
                                S + e * x->point_s, k0 > 0, steps * x->most);
    }
}

/* The steps in panels of each number of vectors. */
static void NAME(fill_shift)(int64_t kc, int64_t *shift)
{
    for (int64_t v = 0; v < NV; v++)
        for (int64_t k = 0; k < kc; k++)
            shift[v * kc + k] = k * (v + 1) * LANES;
}

/* Compute the outputs of a block for the `channels` channels of a panel from S; channels that are not finite are
 * marked. */
static void NAME(panel_out)(const NAME(points) *points, const Winograd *a, const NAME(tile_block) *b, const REAL *S,
                            int64_t point_s, const REAL *bias, double parameter, int64_t channels, REAL *buffer,
                            REAL *out, uint8_t *marks)
{
    NAME(tile_out) *const transform = NAME(tile_out_of)[a->axis][a->combined];
    const int64_t oh = a->oh, ow = a->ow, m_down = a->m_down, m_across = a->m_across;
    for (int64_t c = 0; c < channels; c += LANES) {
        const int64_t some = channels - c < LANES ? channels - c : LANES;
        VECTOR offset = {0}, zeros = {0};
        if (bias)
            memcpy(&offset, bias + c, some * sizeof(REAL));
        for (int64_t row = 0; row < b->rows; row++)
            for (int64_t col = 0; col < b->cols; col += TILES_OUT) {
                const int64_t run = b->cols - col < TILES_OUT ? b->cols - col : TILES_OUT, pitch = run * m_across;
                const int64_t y = (b->row0 + row) * m_down, x = (b->col0 + col) * m_across;
                const int64_t columns = ow - x < pitch ? ow - x : pitch, lines = oh - y < m_down ? oh - y : m_down;
                REAL *target = out + c * oh * ow + y * ow + x;
                for (int64_t p = 0; p < run; p++)
                    transform(points, S + (row * b->cols + col + p) * NR + c, point_s, offset,
                              buffer + p * m_across * LANES, pitch * LANES, LANES, &zeros);
                if (a->activation)
                    NAME(epilogue)(buffer, m_down * pitch * LANES, 0, 0, a->activation, parameter);
                for (int64_t i = 0; i < lines; i++)
                    NAME(transpose_row)(buffer + i * pitch * LANES, columns, some, target + i * ow, oh * ow);
            }
        NAME(mark_nans)(zeros, some, marks + c);
    }
}

/* Scratch memory of a worker, of which each kernel has what it needs. */
typedef struct {
    REAL *panel_u;  /* of the panel that is transformed just before its use, if they are */
    REAL *V, *S;    /* as above */
    REAL *buffer;   /* the outputs of TILES_OUT tiles */
    int64_t *shift; /* of the steps, for panels of each number of vectors */
    REAL *line;     /* one row of values */
    REAL *strip;    /* the rows that a block reads, of some channels */
    int64_t bytes;
} NAME(winograd_parts);

enum { ROWS_IN = 1, SUMS = 2, TILES_BACK = 4 };

static NAME(winograd_parts) NAME(winograd_layout)(const Winograd *a, int stages, char *memory)
{
    Scratch s = {memory, 0};
    NAME(winograd_parts) parts = {0};
    const NAME(extents) x = NAME(extents_of)(a);
    const NAME(rows) rows = NAME(rows_of)(a, a->block_rows, a->block_cols);
    if (stages == (ROWS_IN | SUMS | TILES_BACK)) {
        const int64_t panel_u = x.points * (a->icg * NR + POINT_GAP);
        parts.panel_u = take(&s, a->transforms_weight ? panel_u * sizeof(REAL) : 0);
        parts.V = take(&s, x.block_v * sizeof(REAL));
        parts.S = take(&s, x.block_s * sizeof(REAL));
    }
    if (stages & TILES_BACK)
        parts.buffer = take(&s, TILES_OUT * a->m_down * a->m_across * LANES * sizeof(REAL));
    if (stages & SUMS)
        parts.shift = take(&s, NV * a->kc * sizeof(int64_t));
    if (stages & ROWS_IN) {
        parts.line = take(&s, (rows.row + LANES) * sizeof(REAL));
        parts.strip = take(&s, (a->strip_channels * rows.plane + LANES) * sizeof(REAL));
    }
    parts.bytes = s.bytes;
    return parts;
}
