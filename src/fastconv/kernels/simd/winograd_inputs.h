/* The transform of Winograd's inputs, V = Bᵀ d B, with vectors along neighbouring tiles.
 *
 *   strip[c][line][phase][tile across]                     the rows that a block of tiles reads
 *   V[e][block of steps][panel of MR tiles][c][MR tiles]   packed left operands of gemm.h's micro-kernel
 *
 * A strip has zeros wherever it reaches past the image, so that tiles at the boundary are like all others. Tiles of a
 * vector may lie in several rows of tiles: their inputs are then collected run by run (strip.h). V has room for whole
 * vectors of tiles; what its last panels hold past the last tile is not read.
 */
#define WINOGRAD_ARGUMENTS(X)                                                                               \
    X(groups)            /* groups */                                                                       \
    X(icg)               /* input channels of a group */                                                    \
    X(ocg)               /* output channels of a group */                                                   \
    X(ih)                /* rows of the image */                                                            \
    X(iw)                /* columns of the image */                                                         \
    X(oh)                /* rows of the output */                                                           \
    X(ow)                /* columns of the output */                                                        \
    X(pt)                /* padding above */                                                                \
    X(pl)                /* padding on the left */                                                          \
    X(xn)                /* values from one image to the next */                                            \
    X(xc)                /* values from one channel to the next */                                          \
    X(xh)                /* values from one row to the next */                                              \
    X(xw)                /* values from one column to the next */                                           \
    X(t_down)            /* points of a tile down */                                                        \
    X(t_across)          /* points of a tile across */                                                      \
    X(m_down)            /* outputs of a tile down */                                                       \
    X(m_across)          /* outputs of a tile across */                                                     \
    X(stride)            /* stride along both axes */                                                       \
    X(tiles_down)        /* tiles of an image down */                                                       \
    X(tiles_across)      /* tiles of an image across */                                                     \
    X(axis)              /* number of the axis, in AXES */                                                  \
    X(combined)          /* 0: of both axes, 1: down alone, 2: across alone */                              \
    X(kc)                /* channels of a running sum */                                                    \
    X(block_rows)        /* rows of tiles of a block */                                                     \
    X(block_cols)        /* columns of tiles of a block */                                                  \
    X(down)              /* blocks of an image down */                                                      \
    X(across)            /* blocks of an image across */                                                    \
    X(block_panels)      /* panels of a block of output channels */                                         \
    X(channel_blocks)    /* blocks of output channels */                                                    \
    X(strip_channels)    /* channels that are gathered and transformed together, at most kc */              \
    X(block_points)      /* points of a tile of winograd_sums */                                            \
    X(transforms_weight) /* whether filters are given, and each panel is transformed just before its use */ \
    X(activation)        /* code of the activation */
ARGUMENTS(Winograd, WINOGRAD_ARGUMENTS);

/* Values per cache line, for prefetching. */
#define LINE ((int64_t)(CACHE_LINE / sizeof(REAL)))

/* The rows that a block of tiles reads, with the zeros around the image. Each is split by the phase of its columns
 * modulo m, so that the values that neighbouring tiles read at one point are side by side: point (i, j) of tile (r, q)
 * is at
 *
 *   strip[c][r * step_down + i][j % step_across][q + j / step_across],   a step being m * stride
 */
typedef struct {
    int64_t lines, pitch, row, plane; /* values per phase of a line, per line, per channel */
} NAME(rows);

static NAME(rows) NAME(rows_of)(const Winograd *a, int64_t rows, int64_t cols)
{
    NAME(rows) s;
    const int64_t step = a->m_across * a->stride;
    s.lines = (rows - 1) * a->m_down * a->stride + a->t_down;
    s.pitch = NAME(ceil_div)(cols + (a->t_across - 1) / step, LANES) * LANES;
    s.row = step * s.pitch;
    s.plane = s.lines * s.row;
    return s;
}

/* phases[p][t] = line[t * m + p] for t < pitch; pitch is a multiple of LANES. */
static inline __attribute__((always_inline)) void NAME(part_phases)(const int m, const REAL *restrict line,
                                                                    int64_t pitch, REAL *restrict phases)
{
    if (m >= 4 && LANES >= 4)
        for (int64_t t = 0; t < pitch; t += 4)
            UNROLL
            for (int p = 0; p < m; p += 4) {
                const int first = p + 4 < m ? p : m - 4;
                NAME(transpose)(line + t * m + first, m, phases + first * pitch + t, pitch);
            }
    else
        for (int64_t t = 0; t < pitch; t++)
            UNROLL
            for (int p = 0; p < m; p++)
                phases[p * pitch + t] = line[t * m + p];
}

/* Gather `channels` channels; `line` is scratch for one row of values. Rows come from memory, and are prefetched three
 * channels ahead. */
static void NAME(fill_rows)(const REAL *image, const Winograd *a, const NAME(rows) *s, int64_t channels, int64_t row0,
                         int64_t col0, REAL *line, REAL *strip)
{
    const int64_t step = a->m_across * a->stride;
    const int64_t left = col0 * step - a->pl, top = row0 * a->m_down * a->stride - a->pt;
    const int64_t first = clip(-left, 0, s->row), last = clip(a->iw - left, first, s->row);
    memset(line, 0, first * sizeof(REAL));
    memset(line + last, 0, (s->row - last) * sizeof(REAL));
    for (int64_t c = 0; c < channels; c++)
        for (int64_t y = top; y < top + s->lines; y++, strip += s->row) {
            if (y < 0 || y >= a->ih) {
                memset(strip, 0, s->row * sizeof(REAL));
                continue;
            }
            const REAL *source = image + c * a->xc + y * a->xh + left * a->xw;
            for (int64_t x = first; x < last; x += LINE)
                __builtin_prefetch(source + 3 * a->xc + x * a->xw, 0, 2);
            NAME(copy_apart)(source + first * a->xw, last - first, a->xw, line + first);
            switch (step) {
            case 1: NAME(part_phases)(1, line, s->pitch, strip); break;
            case 2: NAME(part_phases)(2, line, s->pitch, strip); break;
            case 3: NAME(part_phases)(3, line, s->pitch, strip); break;
            case 4: NAME(part_phases)(4, line, s->pitch, strip); break;
            case 6: NAME(part_phases)(6, line, s->pitch, strip); break;
            case 8: NAME(part_phases)(8, line, s->pitch, strip); break;
            }
        }
}

/* Store one vector of neighbouring tiles; unless one panel holds it, its parts go to panels that are `step` apart. */
#define PART (LANES < MR ? LANES : MR)
typedef REAL NAME(part) __attribute__((vector_size((SIMD_BYTES < MR * sizeof(REAL) ? SIMD_BYTES : MR * sizeof(REAL)))));
typedef REAL NAME(unaligned_part) __attribute__((vector_size(sizeof(NAME(part))), aligned(sizeof(REAL)), may_alias));

static inline void NAME(store_parts)(REAL *target, int64_t step, VECTOR v)
{
    UNROLL
    for (int i = 0; i < LANES / PART; i++)
        *(NAME(unaligned_part) *)(target + i * step) = ((NAME(part) *)&v)[i];
}

/* Compute V for `channels` channels of the strip and all tiles of a block; channels of one panel are MR apart. */
typedef void NAME(tiles_in)(const NAME(points) *points, const REAL *strip, const NAME(rows) *s, int64_t channels,
                            int64_t tiles, int64_t cols, REAL *V, int64_t steps, int64_t point_v);

static inline __attribute__((always_inline)) void NAME(transform_tiles_in)(
    const int down, const int m_down, const int across, const int m_across, const int stride,
    const NAME(points) *points, const REAL *strip, const NAME(rows) *s, int64_t channels, int64_t tiles, int64_t cols,
    REAL *V, int64_t steps, int64_t point_v)
{
    const int64_t step_down = m_down * stride, step_across = m_across * stride;
    for (int64_t p = 0; p < tiles; p += LANES) {
        const int64_t start = p / cols * step_down * s->row + p % cols;
        const int single = p % cols + LANES <= cols;
        NAME(runs) runs;
        runs.count = 0;
        if (!single)
            NAME(find_runs)(&runs, p, tiles - p < LANES ? tiles - p : LANES, cols, step_down * s->row);
        for (int64_t c = 0; c < channels; c++) {
            VECTOR half[MAX_T * MAX_T];
            REAL *target = V + p / MR * steps * MR + p % MR + c * MR;
            const REAL *source = strip + c * s->plane;
            UNROLL
            for (int j = 0; j < across; j++) {
                const REAL *tap = source + j % step_across * s->pitch + j / step_across;
                VECTOR d[MAX_T];
                if (single)
                    UNROLL
                    for (int i = 0; i < down; i++)
                        d[i] = NAME(load)(tap + start + i * s->row);
                else
                    for (int i = 0; i < down; i++)
                        d[i] = NAME(load_runs)(&runs, runs.count, tap + i * s->row);
                NAME(transform_in)(down, stride, points, d, 1, half + j, across);
            }
            for (int i = 0; i < down; i++) {
                VECTOR v[MAX_T];
                NAME(transform_in)(across, stride, points + 1, half + i * across, 1, v, 1);
                UNROLL
                for (int j = 0; j < across; j++)
                    NAME(store_parts)(target + (i * across + j) * point_v, steps * MR, v[j]);
            }
        }
    }
}

#define TILES_IN(name, down, m_down, across, m_across, stride)                                                        \
    static void NAME(in_##name)(const NAME(points) *points, const REAL *strip, const NAME(rows) *s, int64_t channels, \
                                int64_t tiles, int64_t cols, REAL *V, int64_t steps, int64_t point_v)                 \
    {                                                                                                                 \
        NAME(transform_tiles_in)(down, m_down, across, m_across, stride, points, strip, s, channels, tiles, cols, V,  \
                                 steps, point_v);                                                                     \
    }
#define TILES_IN_SHAPES(t, m, stride) SHAPES_OF_AXIS(TILES_IN, t, m, stride)
AXES(TILES_IN_SHAPES)
#define TILES_IN_ROW(t, m, stride) ROW_OF_AXIS(in, t, m),
static NAME(tiles_in) *const NAME(tiles_in_of)[][3] = {AXES(TILES_IN_ROW)};
