/* Winograd's minimal filtering over blocks of output tiles, for kernels of dilation 1 and a stride s of 1 or 2.
 *
 *   Y = Aᵀ [ sum_c (G g_c Gᵀ) ⊙ (Bᵀ d_c B) ] A     d: t × t inputs, Y: m × m outputs, t = (m - 1) s + r
 *
 * Each of the t × t points e has one sum of products: a matrix product over the channels, on the micro-kernel of
 * gemm.h. Each axis has its own F(m, r); for a kernel extent of one it is F(1, 1), whose transforms do nothing.
 * (Winograd, Arithmetic complexity of computations, 1980; Lavin and Gray, Fast algorithms for convolutional networks,
 * 2015.)
 *
 * The interpolation points are ±p_1 … ±p_q, infinity and, if t is even, 0, so both transforms fall into even and odd
 * parts. With z = 1 if 0 is a point, else 0, Z(x²) = prod_i (x² - p_i²) and Q_j(x²) = Z(x²) / (x² - p_j²), whose
 * leading coefficients are 1:
 *
 *   Bᵀ d:   v_0 = sum_l Z_l d[2l],   v_inf = sum_l Z_l d[2l + z]
 *           v_±j = sum_l Q_jl d[2l + 1 + z]  ±  p_j sum_l Q_jl d[2l + z]
 *   Aᵀ s:   y_i = [i = 0] s_0 + sum_j p_j^i (s_+j + (-1)^i s_-j) + [i = m - 1] s_inf
 *
 * An axis of three taps at a stride of 2 is the sum of two axes of stride 1, whose points follow one another: F(m, 2) of
 * the even inputs with taps 0 and 2, and the odd inputs, as they are, with tap 1 (Huang et al., DWM: a decomposable
 * Winograd method for convolution acceleration, 2020).
 *
 * The weight's transform carries the rest: row p of G is (1, p, … p^(r-1)) divided by the product of p's distances to
 * the other points (cook_toom.py has all of them exactly). In the input's transform, vectors run along neighbouring
 * tiles; in the sums, they run along output channels, and tiles are broadcast. So a map of 49 tiles costs 49 and not
 * 56, and a panel of weights is read once for all tiles of a block.
 *
 *   V[e][block of steps][panel of MR tiles][c][MR tiles]   transformed input: packed left operands
 *   U[panel of channels][e][c][channels]                   transformed weights: packed right operands
 *   S[e][tile][NR channels]                                the sums over c for one panel of channels
 *
 * The kernel `winograd` computes blocks of tiles from the image to the output, with V and S in a worker's own memory.
 * If there are more threads than blocks, three launches share V and S of all blocks instead: `winograd_in` computes V
 * by channels, `winograd_sums` S by panels and points, `winograd_out` the output by vectors of channels. (Blocks of
 * fewer tiles would read all weights more often, and blocks of fewer panels transform the image again.) The sums have
 * the same order, and so the same bits.
 *
 * The distance between points is never a multiple of 4 KiB, for which t² streams would share one set of L1.
 *
 * Filters whose outputs the transforms cannot represent are reported, for the caller to sum directly. A NaN or an
 * infinity in the inputs of a tile reaches at least one of its outputs, since every input contributes to a v, every v
 * to a sum, and every sum to an output; so does anything that overflows on the way. Filters so small that U would lose
 * digits, or so large that images with ordinary results might lose them in V, are recognised by the sum of their
 * magnitudes.
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

/* The coefficients, in the type in which they are applied. */
typedef struct {
    REAL p[MAX_PAIRS], Q[MAX_PAIRS][MAX_PAIRS], Z[MAX_PAIRS + 1], power[MAX_PAIRS][MAX_T];
} NAME(points);

static NAME(points) NAME(rounded)(const Points *exact)
{
    NAME(points) points;
    for (int j = 0; j < MAX_PAIRS; j++) {
        points.p[j] = (REAL)exact->p[j];
        for (int l = 0; l < MAX_PAIRS; l++)
            points.Q[j][l] = (REAL)exact->Q[j][l];
        for (int i = 0; i < MAX_T; i++)
            points.power[j][i] = (REAL)exact->power[j][i];
    }
    for (int l = 0; l <= MAX_PAIRS; l++)
        points.Z[l] = (REAL)exact->Z[l];
    return points;
}

static inline __attribute__((always_inline)) void NAME(interpolate)(
    const int t, const NAME(points) *points, const VECTOR *d, const int step_d, VECTOR *v, const int step_v)
{
    const int z = t % 2 == 0, q = (t - 1) / 2;
    VECTOR infinity = d[(t - 1) * step_d];
    UNROLL
    for (int l = 0; l < q; l++)
        infinity += d[(2 * l + z) * step_d] * points->Z[l];
    v[(t - 1) * step_v] = infinity;
    if (z) {
        VECTOR zero = d[2 * q * step_d];
        UNROLL
        for (int l = 0; l < q; l++)
            zero += d[2 * l * step_d] * points->Z[l];
        v[0] = zero;
    }
    UNROLL
    for (int j = 0; j < q; j++) {
        VECTOR even = d[(2 * q - 1 + z) * step_d], odd = d[(2 * q - 2 + z) * step_d];
        UNROLL
        for (int l = 0; l < q - 1; l++) {
            even += d[(2 * l + 1 + z) * step_d] * points->Q[j][l];
            odd += d[(2 * l + z) * step_d] * points->Q[j][l];
        }
        v[(2 * j + z) * step_v] = even + odd * points->p[j];
        v[(2 * j + 1 + z) * step_v] = even - odd * points->p[j];
    }
}

static inline __attribute__((always_inline)) void NAME(evaluate)(
    const int t, const int m, const NAME(points) *points, const VECTOR *s, const int step_s, VECTOR *y,
    const int step_y)
{
    const int z = t % 2 == 0, q = (t - 1) / 2;
    VECTOR plus[MAX_PAIRS], minus[MAX_PAIRS];
    UNROLL
    for (int j = 0; j < q; j++) {
        plus[j] = s[(2 * j + z) * step_s] + s[(2 * j + 1 + z) * step_s];
        minus[j] = s[(2 * j + z) * step_s] - s[(2 * j + 1 + z) * step_s];
    }
    UNROLL
    for (int i = 0; i < m; i++) {
        const VECTOR *signs = i % 2 ? minus : plus;
        VECTOR sum = i == m - 1 ? s[(t - 1) * step_s] : i == 0 ? signs[0] : signs[0] * points->power[0][i];
        UNROLL
        for (int j = i < m - 1; j < q; j++)
            sum += i == 0 ? signs[j] : signs[j] * points->power[j][i];
        y[i * step_y] = i == 0 && z ? sum + s[0] : sum;
    }
}

/* A stride of two parts the inputs of a tile into two phases. The even ones are seen by taps 0 and 2, as by a kernel of
 * two taps: F(m, 2). The odd ones, each of which tap 1 of one output sees, are not transformed. */
static inline __attribute__((always_inline)) void NAME(transform_in)(
    const int t, const int stride, const NAME(points) *points, const VECTOR *d, const int step_d, VECTOR *v,
    const int step_v)
{
    const int even = (t + stride - 1) / stride;
    NAME(interpolate)(even, points, d, stride * step_d, v, step_v);
    UNROLL
    for (int i = even; i < t; i++)
        v[i * step_v] = d[(2 * (i - even) + 1) * step_d];
}

static inline __attribute__((always_inline)) void NAME(transform_out)(
    const int t, const int m, const int stride, const NAME(points) *points, const VECTOR *s, const int step_s, VECTOR *y,
    const int step_y)
{
    const int even = (t + stride - 1) / stride;
    NAME(evaluate)(even, m, points, s, step_s, y, step_y);
    UNROLL
    for (int i = even; i < t; i++)
        y[(i - even) * step_y] += s[i * step_s];
}

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
    const NAME(points) *points, const REAL *strip, const NAME(rows) *s, int64_t channels, int64_t tiles, int64_t cols, REAL *V, int64_t steps,
    int64_t point_v)
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

/* The offset of a panel's U, in values of one point. */
static inline int64_t NAME(panel_start)(int64_t panel, int64_t width, int64_t ic)
{
    return NAME(panel_first)(panel, width) * ic + panel * POINT_GAP;
}

/* Whether a filter whose magnitudes add up to `sum` is ordinary: not so small (unless zero) that its transform
 * underflows, not so large that those of images may, and without NaN. */
static inline int NAME(ordinary)(double sum)
{
    const double least = sizeof(REAL) == 4 ? 0x1p-64 : 0x1p-512, most = sizeof(REAL) == 4 ? 0x1p48 : 0x1p384;
    return sum == 0 || (least <= sum && sum <= most);
}

/* Compute U for one panel of `columns` channels, of which the first `channels` have filters, in double precision and
 * rounded once. Filters that are not ordinary are marked. */
typedef void NAME(weight_in)(const Points *points, const REAL *weight, int64_t channels, int64_t ic, int64_t columns,
                             REAL *U, uint8_t *marks);

static inline __attribute__((always_inline)) void NAME(transform_panel)(
    const int down, const int r_down, const int across, const int r_across, const Points *points, const REAL *weight,
    int64_t channels, int64_t ic, int64_t columns, REAL *U, uint8_t *marks)
{
    enum { WIDE = SIMD_BYTES / sizeof(double) };
    typedef double wide __attribute__((vector_size(SIMD_BYTES)));
    typedef int64_t bits __attribute__((vector_size(SIMD_BYTES)));
    typedef REAL rounded __attribute__((vector_size(WIDE * sizeof(REAL)), aligned(sizeof(REAL)), may_alias));
    const int taps = r_down * r_across;
    const int64_t point_u = ic * columns + POINT_GAP;
    for (int e = 0; e < down * across; e++)
        memset(U + (e + 1) * point_u - POINT_GAP, 0, POINT_GAP * sizeof(REAL));
    for (int64_t v = 0; v < columns; v += WIDE) {
        wide magnitude = {0};
        for (int64_t k = 0; k < ic; k++) {
            double lanes[MAX_R * MAX_R][WIDE];
            wide half[MAX_T][MAX_R];
            const REAL *source = weight + (v * ic + k) * taps;
            REAL *target = U + k * columns + v;
            for (int e = 0; e < taps; e++)
                UNROLL
                for (int m = 0; m < WIDE; m++)
                    lanes[e][m] = v + m < channels ? source[m * ic * taps + e] : 0;
            UNROLL
            for (int j = 0; j < r_across; j++) {
                wide g[MAX_R];
                UNROLL
                for (int i = 0; i < r_down; i++) {
                    memcpy(&g[i], lanes[i * r_across + j], sizeof g[i]);
                    magnitude += (wide)((bits)g[i] & INT64_MAX);
                }
                UNROLL
                for (int a = 0; a < down; a++) {
                    half[a][j] = points[0].G[a][0] * g[0];
                    UNROLL
                    for (int i = 1; i < r_down; i++)
                        half[a][j] += points[0].G[a][i] * g[i];
                }
            }
            for (int a = 0; a < down; a++)
                UNROLL
                for (int b = 0; b < across; b++) {
                    wide u = points[1].G[b][0] * half[a][0];
                    UNROLL
                    for (int j = 1; j < r_across; j++)
                        u += points[1].G[b][j] * half[a][j];
                    *(rounded *)(target + (a * across + b) * point_u) = __builtin_convertvector(u, rounded);
                }
        }
        double sums[WIDE];
        memcpy(sums, &magnitude, sizeof sums);
        for (int64_t m = 0; m < WIDE && v + m < channels; m++)
            if (!NAME(ordinary)(sums[m]))
                marks[v + m] = 1;
    }
}

/* Compute the outputs of one tile for LANES channels, (i, j) at out + i * row + j * position.
 * `zeros` becomes NaN for channels with an output that is not finite. */
typedef void NAME(tile_out)(const NAME(points) *points, const REAL *S, int64_t point_s, VECTOR bias, REAL *out,
                            int64_t row, int64_t position, VECTOR *zeros);

static inline __attribute__((always_inline)) void NAME(transform_tile_out)(
    const int down, const int m_down, const int across, const int m_across, const int stride,
    const NAME(points) *points, const REAL *S, int64_t point_s, VECTOR bias, REAL *out, int64_t row, int64_t position, VECTOR *zeros)
{
    VECTOR half[MAX_T * MAX_T];
    for (int j = 0; j < across; j++) {
        VECTOR s[MAX_T];
        UNROLL
        for (int i = 0; i < down; i++)
            s[i] = NAME(load)(S + (i * across + j) * point_s);
        NAME(transform_out)(down, m_down, stride, points, s, 1, half + j, across);
    }
    for (int i = 0; i < m_down; i++) {
        VECTOR y[MAX_T];
        NAME(transform_out)(across, m_across, stride, points + 1, half + i * across, 1, y, 1);
        VECTOR sum = y[0];
        UNROLL
        for (int j = 1; j < m_across; j++)
            sum += y[j];
        *zeros += sum * 0;
        UNROLL
        for (int j = 0; j < m_across; j++)
            NAME(store)(out + i * row + j * position, y[j] + bias);
    }
}

/* Mark those of the first `channels` lanes that are NaN. */
static inline void NAME(mark_nans)(VECTOR v, int64_t channels, uint8_t *marks)
{
    REAL lanes[LANES];
    NAME(store)(lanes, v);
    for (int64_t l = 0; l < channels; l++)
        if (lanes[l] != lanes[l])
            marks[l] = 1;
}

/* Write a row of outputs, from vectors along channels to the planes of the first `channels` of them. */
static inline void NAME(transpose_row)(const REAL *source, int64_t columns, int64_t channels, REAL *target,
                                       int64_t plane)
{
    const int64_t quads = columns / 4 * 4;
    int64_t l = 0;
    for (; l + 4 <= channels; l += 4) {
        for (int64_t j = 0; j < quads; j += 4)
            NAME(transpose)(source + j * LANES + l, LANES, target + l * plane + j, plane);
        for (int64_t j = quads; j < columns; j++)
            UNROLL
            for (int i = 0; i < 4; i++)
                target[(l + i) * plane + j] = source[j * LANES + l + i];
    }
    for (; l < channels; l++)
        for (int64_t j = 0; j < columns; j++)
            target[l * plane + j] = source[j * LANES + l];
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

/* The transforms of an axis: combined with itself, or only down, or only across. */
typedef struct {
    NAME(tiles_in) *in;
    NAME(weight_in) *weight;
    NAME(tile_out) *out;
} NAME(transforms);

#define TRANSFORMS(name, down, m_down, across, m_across, stride)                                                      \
    static void NAME(in_##name)(const NAME(points) *points, const REAL *strip, const NAME(rows) *s,                   \
                                int64_t channels, int64_t tiles, int64_t cols, REAL *V, int64_t steps,                \
                                int64_t point_v)                                                                      \
    {                                                                                                                 \
        NAME(transform_tiles_in)(down, m_down, across, m_across, stride, points, strip, s, channels, tiles, cols, V,  \
                                 steps, point_v);                                                                     \
    }                                                                                                                 \
    static void NAME(weight_##name)(const Points *points, const REAL *weight, int64_t channels, int64_t ic,           \
                                    int64_t columns, REAL *U, uint8_t *marks)                                         \
    {                                                                                                                 \
        NAME(transform_panel)(down, TAPS_OF(down, m_down, stride), across, TAPS_OF(across, m_across, stride), points, \
                              weight, channels, ic, columns, U, marks);                                               \
    }                                                                                                                 \
    static void NAME(out_##name)(const NAME(points) *points, const REAL *S, int64_t point_s, VECTOR bias, REAL *out,  \
                                 int64_t row, int64_t position, VECTOR *zeros)                                        \
    {                                                                                                                 \
        NAME(transform_tile_out)(down, m_down, across, m_across, stride, points, S, point_s, bias, out, row,          \
                                 position, zeros);                                                                    \
    }
#define SHAPES(t, m, stride)                         \
    TRANSFORMS(t##_##m, t, m, t, m, stride)          \
    TRANSFORMS(t##_##m##_down, t, m, 1, 1, stride)   \
    TRANSFORMS(t##_##m##_across, 1, 1, t, m, stride)
AXES(SHAPES)
#define ENTRY(name) {NAME(in_##name), NAME(weight_##name), NAME(out_##name)}
#define ROW(t, m, stride) {ENTRY(t##_##m), ENTRY(t##_##m##_down), ENTRY(t##_##m##_across)},
static const NAME(transforms) NAME(transforms_of)[][3] = {AXES(ROW)};

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

/* Compute the outputs of a block for the `channels` channels of a panel from S; channels that are not finite are
 * marked. */
static void NAME(panel_out)(const NAME(transforms) *transforms, const NAME(points) *points, const Winograd *a,
                            const NAME(tile_block) *b, const REAL *S, int64_t point_s, const REAL *bias, double parameter,
                            int64_t channels, REAL *buffer, REAL *out, uint8_t *marks)
{
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
                    transforms->out(points, S + (row * b->cols + col + p) * NR + c, point_s, offset,
                                    buffer + p * m_across * LANES, pitch * LANES, LANES, &zeros);
                if (a->activation)
                    NAME(epilogue)(buffer, m_down * pitch * LANES, 0, 0, a->activation, parameter);
                for (int64_t i = 0; i < lines; i++)
                    NAME(transpose_row)(buffer + i * pitch * LANES, columns, some, target + i * ow, oh * ow);
            }
        NAME(mark_nans)(zeros, some, marks + c);
    }
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
static void NAME(block_in)(const NAME(transforms) *transforms, const NAME(points) *points, const Winograd *a,
                           const NAME(extents) *x, const NAME(tile_block) *b, const REAL *image, int64_t k0, int64_t c,
                           int64_t channels, REAL *line, REAL *strip, REAL *V)
{
    const int64_t steps = a->icg - k0 < a->kc ? a->icg - k0 : a->kc;
    const NAME(rows) s = NAME(rows_of)(a, b->rows, b->cols);
    NAME(fill_rows)(image + (k0 + c) * a->xc, a, &s, channels, b->row0, b->col0, line, strip);
    transforms->in(points, strip, &s, channels, b->rows * b->cols, b->cols, V + k0 * x->most + c * MR, steps,
                   x->point_v);
}

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

static int64_t NAME(winograd_scratch)(const int64_t *ints)
{ return NAME(winograd_layout)((const Winograd *)ints, ROWS_IN | SUMS | TILES_BACK, 0).bytes; }
static int64_t NAME(winograd_in_scratch)(const int64_t *ints)
{ return NAME(winograd_layout)((const Winograd *)ints, ROWS_IN, 0).bytes; }
static int64_t NAME(winograd_sums_scratch)(const int64_t *ints)
{ return NAME(winograd_layout)((const Winograd *)ints, SUMS, 0).bytes; }
static int64_t NAME(winograd_out_scratch)(const int64_t *ints)
{ return NAME(winograd_layout)((const Winograd *)ints, TILES_BACK, 0).bytes; }

/* The bytes of a group's V and S of an image. */
static int64_t NAME(winograd_in_packed)(const int64_t *ints)
{
    const Winograd *a = (const Winograd *)ints;
    return a->down * a->across * NAME(extents_of)(a).block_v * sizeof(REAL);
}
static int64_t NAME(winograd_sums_packed)(const int64_t *ints)
{
    const Winograd *a = (const Winograd *)ints;
    const NAME(extents) x = NAME(extents_of)(a);
    return a->down * a->across * x.panels * x.block_s * sizeof(REAL);
}

/* Tile: a block of output tiles and panels of channels of one group of one image. arrays: x, U or the filters, bias or
 * null, out, marks (bytes, by image and output channel) of what is to be summed plainly, Points of down and across,
 * scratch. scalars: the activation's parameter. */
static void NAME(winograd)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                           int64_t worker)
{
    const Winograd *a = (const Winograd *)ints;
    const NAME(transforms) *transforms = &NAME(transforms_of)[a->axis][a->combined];
    const int64_t blocks = a->down * a->across, channel_blocks = a->channel_blocks;
    const int64_t groups = a->groups, icg = a->icg, ocg = a->ocg, oc = groups * ocg, oh = a->oh, ow = a->ow;
    const NAME(extents) x = NAME(extents_of)(a);
    const int64_t taps = TAPS_OF(a->t_down, a->m_down, a->stride) * TAPS_OF(a->t_across, a->m_across, a->stride);
    const NAME(points) points[2] = {NAME(rounded)(arrays[5]), NAME(rounded)((const Points *)arrays[5] + 1)};
    const NAME(winograd_parts) own = NAME(winograd_layout)(
        a, ROWS_IN | SUMS | TILES_BACK, (char *)arrays[6] + worker * NAME(winograd_scratch)(ints));
    NAME(fill_shift)(a->kc, own.shift);
    for (int64_t tile = begin; tile < end; tile++) {
        const NAME(tile_block) b = NAME(block_of)(a, tile % blocks);
        const int64_t panel0 = tile / blocks % channel_blocks * a->block_panels;
        const int64_t panel1 = panel0 + a->block_panels < x.panels ? panel0 + a->block_panels : x.panels;
        const int64_t g = tile / (blocks * channel_blocks) % groups, n = tile / (blocks * channel_blocks) / groups;
        const REAL *image = (const REAL *)arrays[0] + n * a->xn + g * icg * a->xc;
        const int64_t y0 = b.row0 * a->m_down, x0 = b.col0 * a->m_across;
        const int64_t y1 = clip((b.row0 + b.rows) * a->m_down, 0, oh);
        const int64_t x1 = clip((b.col0 + b.cols) * a->m_across, 0, ow);
        for (int64_t k0 = 0; k0 < icg; k0 += a->kc) {
            const int64_t steps = icg - k0 < a->kc ? icg - k0 : a->kc;
            if (stops(arrays, worker))
                return;
            for (int64_t c = 0; c < steps; c += a->strip_channels)
                NAME(block_in)(transforms, points, a, &x, &b, image, k0, c,
                               steps - c < a->strip_channels ? steps - c : a->strip_channels, own.line, own.strip,
                               own.V);
        }
        for (int64_t panel = panel0; panel < panel1; panel++) {
            if (stops(arrays, worker))
                return;
            const NAME(weight_panel) p = NAME(panel_of)(a, &x, panel);
            const int64_t c = g * ocg + p.first;
            REAL *out = (REAL *)arrays[3] + (n * oc + c) * oh * ow;
            const REAL *U =
                (const REAL *)arrays[1] + g * x.group_u + x.points * NAME(panel_start)(panel, x.width, icg);
            if (a->transforms_weight) {
                transforms->weight(arrays[5], (const REAL *)arrays[1] + c * icg * taps, p.channels, icg, p.columns,
                                   own.panel_u, (uint8_t *)arrays[4] + n * oc + c);
                U = own.panel_u;
            }
            for (int64_t e = 0; e < x.points; e++) {
                /* Prefetch the lines of the output, so that they are in the cache when they are written. */
                for (int64_t l = e * p.channels / x.points; l < (e + 1) * p.channels / x.points; l++)
                    for (int64_t y = y0; y < y1; y++)
                        for (int64_t at = x0; at < x1; at += LINE)
                            __builtin_prefetch(out + (l * oh + y) * ow + at, 1);
                NAME(point_sums)(a, &x, b.rows * b.cols, p.columns, e, own.V, U, own.shift, own.S);
            }
            NAME(panel_out)(transforms, points, a, &b, own.S, x.point_s, arrays[2] ? (const REAL *)arrays[2] + c : 0,
                            scalars[0], p.channels, own.buffer, out, (uint8_t *)arrays[4] + n * oc + c);
        }
    }
}

/* V of one image. Tile: some channels of a block of output tiles of one group. arrays: x, V, Points of down and across,
 * scratch. */
static void NAME(winograd_in)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                              int64_t worker)
{
    const Winograd *a = (const Winograd *)ints;
    const int64_t blocks = a->down * a->across, icg = a->icg;
    const int64_t strips = NAME(ceil_div)(a->kc, a->strip_channels), parts = NAME(ceil_div)(icg, a->kc) * strips;
    const NAME(extents) x = NAME(extents_of)(a);
    const NAME(points) points[2] = {NAME(rounded)(arrays[2]), NAME(rounded)((const Points *)arrays[2] + 1)};
    const NAME(winograd_parts) own =
        NAME(winograd_layout)(a, ROWS_IN, (char *)arrays[3] + worker * NAME(winograd_in_scratch)(ints));
    for (int64_t tile = begin; tile < end && !stops(arrays, worker); tile++) {
        const NAME(tile_block) b = NAME(block_of)(a, tile % blocks);
        const int64_t part = tile / blocks % parts, g = tile / blocks / parts;
        const int64_t k0 = part / strips * a->kc, c = part % strips * a->strip_channels;
        const int64_t steps = icg - k0 < a->kc ? icg - k0 : a->kc;
        if (c < steps)
            NAME(block_in)(&NAME(transforms_of)[a->axis][a->combined], points, a, &x, &b,
                           (const REAL *)arrays[0] + g * icg * a->xc, k0, c,
                           steps - c < a->strip_channels ? steps - c : a->strip_channels, own.line, own.strip,
                           (REAL *)arrays[1] + (g * blocks + tile % blocks) * x.block_v);
    }
}

/* S of one image. Tile: some points of a panel and of a block of output tiles of one group; threads that compute
 * neighbouring tiles read the same U. arrays: V, U, S, scratch. */
static void NAME(winograd_sums)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                                int64_t worker)
{
    const Winograd *a = (const Winograd *)ints;
    const NAME(extents) x = NAME(extents_of)(a);
    const int64_t blocks = a->down * a->across, parts = NAME(ceil_div)(x.points, a->block_points);
    const NAME(winograd_parts) own =
        NAME(winograd_layout)(a, SUMS, (char *)arrays[3] + worker * NAME(winograd_sums_scratch)(ints));
    NAME(fill_shift)(a->kc, own.shift);
    for (int64_t tile = begin; tile < end && !stops(arrays, worker); tile++) {
        const NAME(tile_block) b = NAME(block_of)(a, tile % blocks);
        const int64_t part = tile / blocks % parts, panel = tile / (blocks * parts) % x.panels;
        const int64_t g = tile / (blocks * parts) / x.panels, at = g * blocks + tile % blocks;
        const int64_t e0 = part * a->block_points;
        const int64_t e1 = e0 + a->block_points < x.points ? e0 + a->block_points : x.points;
        const NAME(weight_panel) p = NAME(panel_of)(a, &x, panel);
        const REAL *U =
            (const REAL *)arrays[1] + g * x.group_u + x.points * NAME(panel_start)(panel, x.width, a->icg);
        for (int64_t e = e0; e < e1; e++)
            NAME(point_sums)(a, &x, b.rows * b.cols, p.columns, e, (const REAL *)arrays[0] + at * x.block_v, U,
                             own.shift, (REAL *)arrays[2] + (at * x.panels + panel) * x.block_s);
    }
}

/* The output of one image. Tile: a vector of channels and a block of output tiles of one group. arrays: S, bias or
 * null, out, marks (bytes, by output channel), Points of down and across, scratch. scalars: the activation's
 * parameter. */
static void NAME(winograd_out)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                               int64_t worker)
{
    const Winograd *a = (const Winograd *)ints;
    const NAME(extents) x = NAME(extents_of)(a);
    const int64_t blocks = a->down * a->across, vectors = x.width / LANES;
    const NAME(points) points[2] = {NAME(rounded)(arrays[4]), NAME(rounded)((const Points *)arrays[4] + 1)};
    const NAME(winograd_parts) own =
        NAME(winograd_layout)(a, TILES_BACK, (char *)arrays[5] + worker * NAME(winograd_out_scratch)(ints));
    for (int64_t tile = begin; tile < end && !stops(arrays, worker); tile++) {
        const NAME(tile_block) b = NAME(block_of)(a, tile % blocks);
        const int64_t first = tile / blocks % vectors * LANES, g = tile / blocks / vectors;
        const int64_t at = g * blocks + tile % blocks, c = g * a->ocg + first;
        const int64_t panel = first / NR + (first >= NAME(panel_first)(first / NR + 1, x.width));
        const REAL *S = (const REAL *)arrays[0] + (at * x.panels + panel) * x.block_s;
        NAME(panel_out)(&NAME(transforms_of)[a->axis][a->combined], points, a, &b,
                        S + first - NAME(panel_first)(panel, x.width), x.point_s,
                        arrays[1] ? (const REAL *)arrays[1] + c : 0, scalars[0],
                        a->ocg - first < LANES ? a->ocg - first : LANES, own.buffer,
                        (REAL *)arrays[2] + c * a->oh * a->ow, (uint8_t *)arrays[3] + c);
    }
}

#define WINOGRAD_WEIGHT_ARGUMENTS(X)                                  \
    X(icg)      /* input channels of a group */                       \
    X(ocg)      /* output channels of a group */                      \
    X(axis)     /* number of the axis, in AXES */                     \
    X(combined) /* 0: of both axes, 1: down alone, 2: across alone */ \
    X(points)   /* points of a tile */                                \
    X(taps)     /* taps of a filter */
ARGUMENTS(WinogradWeight, WINOGRAD_WEIGHT_ARGUMENTS);

/* The bytes of a group's U. */
static int64_t NAME(winograd_packed)(const int64_t *ints)
{
    const WinogradWeight *a = (const WinogradWeight *)ints;
    const int64_t width = NAME(ceil_div)(a->ocg, LANES) * LANES;
    return a->points * NAME(panel_start)(NAME(ceil_div)(width, NR), width, a->icg) * sizeof(REAL);
}

/* U from the filters. Tile: one panel of one group. arrays: weight, U, marks (a byte for each filter) of those to be
 * summed plainly, Points of down and across. */
static void NAME(winograd_weight)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                                  int64_t worker)
{
    const WinogradWeight *a = (const WinogradWeight *)ints;
    const int64_t icg = a->icg, ocg = a->ocg, e_count = a->points, taps = a->taps;
    const int64_t width = NAME(ceil_div)(ocg, LANES) * LANES, panels = NAME(ceil_div)(width, NR);
    for (int64_t tile = begin; tile < end && !stops(arrays, worker); tile++) {
        const int64_t g = tile / panels, panel = tile % panels, first = NAME(panel_first)(panel, width);
        const int64_t start = g * NAME(panel_start)(panels, width, icg) + NAME(panel_start)(panel, width, icg);
        const int64_t columns = NAME(tile_columns)(width - first);
        NAME(transforms_of)[a->axis][a->combined].weight(
            arrays[3], (const REAL *)arrays[0] + (g * ocg + first) * icg * taps,
            ocg - first < columns ? ocg - first : columns, icg, columns, (REAL *)arrays[1] + e_count * start,
            (uint8_t *)arrays[2] + g * ocg + first);
    }
}
