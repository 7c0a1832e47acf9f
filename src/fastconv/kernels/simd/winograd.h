/* Winograd's minimal filtering F(m × m, r × r) over blocks of output tiles, for kernels of stride and dilation 1.
 *
 *   Y = Aᵀ [ sum_c (G g_c Gᵀ) ⊙ (Bᵀ d_c B) ] A          d: t × t inputs, Y: m × m outputs, t = m + r - 1
 *
 * One product sum per point e of the t × t: a matrix product over the channels, on the micro-kernel of gemm.h.
 * (Winograd, Arithmetic complexity of computations, 1980; Lavin and Gray, Fast algorithms for convolutional networks,
 * 2015.)
 *
 * The interpolation points are 0, ±p_1 … ±p_q and infinity, t = 2q + 2, so both transforms fall into even and odd parts.
 * With Z(x²) = prod_i (x² - p_i²) and Q_j(x²) = Z(x²) / (x² - p_j²), whose leading coefficients are 1:
 *
 *   Bᵀ d:   v_0 = sum_l Z_l d[2l],   v_inf = sum_l Z_l d[2l + 1]
 *           v_±j = sum_l Q_jl d[2l + 2]  ±  p_j sum_l Q_jl d[2l + 1]
 *   Aᵀ s:   y_i = [i = 0] s_0 + sum_j p_j^i (s_+j + (-1)^i s_-j) + [i = m - 1] s_inf
 *
 * The weight's transform carries the rest: row p of G is (1, p, … p^(r-1)) over the product of p's distances to the other
 * points (cook_toom.py has all of them exact). Index map: the inputs of a block of tiles are a strip (strip.h) of a window
 * of kernel t and stride m, so vectors run over neighbouring tiles and the zeros around the image are there already:
 *
 *   U[e][kc block][panel][c][MR channels]  transformed weight: packed left operands
 *   V[e][panel][c][tiles]                  transformed input: packed right operands
 *   S[e][channel][tiles]                   their sums over c
 *
 * Strides from point e to the next are kept off multiples of 4 KiB: t² streams would share one set of L1.
 */
/* The coefficients in the type that they are applied in. */
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

static inline __attribute__((always_inline)) void NAME(transform_in)(
    const int q, const NAME(points) *points, const VECTOR *d, const int step_d, VECTOR *v, const int step_v)
{
    VECTOR zero = d[2 * q * step_d], infinity = d[(2 * q + 1) * step_d];
    UNROLL
    for (int l = 0; l < q; l++) {
        zero += d[2 * l * step_d] * points->Z[l];
        infinity += d[(2 * l + 1) * step_d] * points->Z[l];
    }
    v[0] = zero;
    v[(2 * q + 1) * step_v] = infinity;
    UNROLL
    for (int j = 0; j < q; j++) {
        VECTOR even = d[2 * q * step_d], odd = d[(2 * q - 1) * step_d];
        UNROLL
        for (int l = 0; l < q - 1; l++) {
            even += d[(2 * l + 2) * step_d] * points->Q[j][l];
            odd += d[(2 * l + 1) * step_d] * points->Q[j][l];
        }
        v[(2 * j + 1) * step_v] = even + odd * points->p[j];
        v[(2 * j + 2) * step_v] = even - odd * points->p[j];
    }
}

static inline __attribute__((always_inline)) void NAME(transform_out)(
    const int q, const int m, const NAME(points) *points, const VECTOR *s, const int step_s, VECTOR *y, const int step_y)
{
    VECTOR plus[MAX_PAIRS], minus[MAX_PAIRS];
    UNROLL
    for (int j = 0; j < q; j++) {
        plus[j] = s[(2 * j + 1) * step_s] + s[(2 * j + 2) * step_s];
        minus[j] = s[(2 * j + 1) * step_s] - s[(2 * j + 2) * step_s];
    }
    UNROLL
    for (int i = 0; i < m; i++) {
        VECTOR sum = i == 0 ? s[0] : i == m - 1 ? s[(2 * q + 1) * step_s] : (VECTOR){0};
        UNROLL
        for (int j = 0; j < q; j++)
            sum += (i % 2 ? minus[j] : plus[j]) * points->power[j][i];
        y[i * step_y] = sum;
    }
}

/* V of `channels` channels of the strip, for the tiles p <= tile < p + n of a panel: rows of whole vectors. */
static inline __attribute__((always_inline)) void NAME(panel_in)(
    const int q, const NAME(points) *points, const REAL *strip, const NAME(strip) *s, const int64_t *tap, int64_t channels,
    int64_t p, int64_t n, int64_t cols, REAL *V, int64_t point_v)
{
    const int t = 2 * q + 2;
    const int64_t vectors = (n + LANES - 1) / LANES;
    for (int64_t v = 0; v < vectors; v++) {
        NAME(runs) runs;
        const int64_t left = n - v * LANES;
        NAME(find_runs)(&runs, p + v * LANES, left < LANES ? left : LANES, cols, s->pitch);
        const int single = runs.count == 1 && left >= LANES;
        for (int64_t c = 0; c < channels; c++) {
            VECTOR half[MAX_T * MAX_T];
            REAL *target = V + (c * vectors + v) * LANES;
            const REAL *source = strip + c * s->plane;
            for (int j = 0; j < t; j++) {
                VECTOR d[MAX_T];
                if (single)
                    UNROLL
                    for (int i = 0; i < t; i++)
                        d[i] = NAME(load)(source + runs.start[0] + tap[i * t + j]);
                else
                    for (int i = 0; i < t; i++)
                        d[i] = NAME(load_runs)(&runs, runs.count, source + tap[i * t + j]);
                NAME(transform_in)(q, points, d, 1, half + j, t);
            }
            for (int i = 0; i < t; i++) {
                VECTOR v[MAX_T];
                NAME(transform_in)(q, points, half + i * t, 1, v, 1);
                UNROLL
                for (int j = 0; j < t; j++)
                    NAME(store)(target + (i * t + j) * point_v, v[j]);
            }
        }
    }
}

/* The m × m outputs of LANES neighbouring tiles of one channel: buffer[i][j][tile]. */
static inline __attribute__((always_inline)) void NAME(tiles_out)(
    const int q, const int m, const NAME(points) *points, const REAL *S, int64_t point_s, REAL *buffer)
{
    const int t = 2 * q + 2;
    VECTOR half[MAX_T * MAX_T];
    for (int j = 0; j < t; j++) {
        VECTOR s[MAX_T];
        UNROLL
        for (int i = 0; i < t; i++)
            s[i] = NAME(load)(S + (i * t + j) * point_s);
        NAME(transform_out)(q, m, points, s, 1, half + j, t);
    }
    for (int i = 0; i < m; i++) {
        VECTOR y[MAX_T];
        NAME(transform_out)(q, m, points, half + i * t, 1, y, 1);
        UNROLL
        for (int j = 0; j < m; j++)
            NAME(store)(buffer + (i * m + j) * LANES, y[j]);
    }
}

/* Copy `tiles` tiles, of numbers from p on in a block whose rows hold `cols` tiles, to the output plane. */
static inline __attribute__((always_inline)) void NAME(scatter_tiles)(
    const int m, const REAL *restrict buffer, int64_t p, int64_t tiles, int64_t cols, int64_t row0, int64_t col0,
    int64_t oh, int64_t ow, REAL *restrict plane)
{
    for (int64_t l = 0, run; l < tiles; l += run) {
        const int64_t row = (row0 + (p + l) / cols) * m, col = (col0 + (p + l) % cols) * m;
        run = cols - (p + l) % cols < tiles - l ? cols - (p + l) % cols : tiles - l;
        const int64_t whole = (ow - col) / m < run ? (ow - col) / m : run;
        for (int64_t i = 0; i < m && row + i < oh; i++) {
            const REAL *source = buffer + i * m * LANES + l;
            REAL *target = plane + (row + i) * ow + col;
            for (int64_t k = 0; k < whole; k++)
                UNROLL
                for (int j = 0; j < m; j++)
                    target[k * m + j] = source[j * LANES + k];
            if (whole < run)
                for (int64_t j = 0; j < ow - col - whole * m; j++)
                    target[whole * m + j] = source[j * LANES + whole];
        }
    }
}

/* The products of one point: `panels` panels of U, `steps` channels, nv vectors of tiles; running sums of `sum_steps`. */
typedef void NAME(sum_kernel)(int64_t panels, int64_t steps, int64_t sum_steps, const REAL *left, const REAL *right,
                              const int64_t *shift, REAL *S, int64_t ld, int accumulate);

#define SUMS(nv)                                                                                                        \
    static void NAME(sums_##nv)(int64_t panels, int64_t steps, int64_t sum_steps, const REAL *left,                     \
                                const REAL *right, const int64_t *shift, REAL *S, int64_t ld, int accumulate)           \
    {                                                                                                                   \
        for (int64_t panel = 0; panel < panels; panel++, left += MR * steps, S += MR * ld)                              \
            for (int64_t k = 0; k < steps; k += sum_steps)                                                              \
                NAME(tile)(MR, nv, nv * LANES, steps - k < sum_steps ? steps - k : sum_steps, left + k * MR,            \
                           right + k * nv * LANES, shift, S, ld, accumulate || k > 0, 0);                               \
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

/* Tile: a block of output tiles and channels of one group of one image. arrays: x, U, bias or null, out, workspace, Points.
 * ints: Window of the strip (kernel t, stride m, extents in tiles); kc; rows and cols of a block, blocks down and across;
 * panels of a channel block, channel blocks; oh, ow; strides of U from point to point; workspace values of a worker;
 * channels of a running sum; activation. scalars: its parameter. */
static inline __attribute__((always_inline)) void NAME(winograd)(
    const int q, const int m, void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
    int64_t worker)
{
    const int t = 2 * q + 2;
    const Window *w = (const Window *)ints;
    const int64_t *extra = ints + sizeof(Window) / sizeof(int64_t);
    const int64_t kc = extra[0], block_rows = extra[1], block_cols = extra[2], down = extra[3], across = extra[4];
    const int64_t block_panels = extra[5], channel_blocks = extra[6], oh = extra[7], ow = extra[8], point_u = extra[9];
    const int64_t sum_steps = extra[11], activation = extra[12];
    const int64_t icg = w->ic / w->g, ocg = w->oc / w->g, panels = (ocg + MR - 1) / MR;
    const NAME(points) rounded = NAME(rounded)(arrays[5]), *points = &rounded;
    const int64_t most = (block_rows * block_cols + LANES - 1) / LANES * LANES;
    const int64_t point_v = kc * most + 16, point_s = block_panels * MR * most + 16;
    REAL *V = (REAL *)arrays[4] + worker * extra[10], *S = V + t * t * point_v, *buffer = S + t * t * point_s;
    int64_t *shift = (int64_t *)(buffer + m * m * LANES), tap[MAX_T * MAX_T];
    REAL *strip = (REAL *)(shift + NV * kc);
    for (int64_t v = 0; v < NV; v++)
        for (int64_t k = 0; k < kc; k++)
            shift[v * kc + k] = k * (v + 1) * LANES;
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
        const NAME(strip) s = NAME(strip_of)(w, rows, cols, 0);
        for (int i = 0; i < t; i++)
            for (int j = 0; j < t; j++)
                tap[i * t + j] = NAME(tap_at)(w, &s, i, j);
        for (int64_t k0 = 0; k0 < icg; k0 += kc) {
            const int64_t steps = icg - k0 < kc ? icg - k0 : kc;
            const REAL *left = (const REAL *)arrays[1] + (g * icg + k0) * panels * MR;
            for (int64_t c = 0; c < steps; c += STRIP_CHANNELS) {
                const int64_t some = steps - c < STRIP_CHANNELS ? steps - c : STRIP_CHANNELS;
                NAME(fill_strip)(image + (k0 + c) * w->xc, w, &s, some, row0, col0, strip);
                for (int64_t p = 0, columns; p < size; p += columns) {
                    columns = NAME(tile_columns)(size - p);
                    const int64_t width = (columns + LANES - 1) / LANES * LANES;
                    NAME(panel_in)(q, points, strip, &s, tap, some, p, columns, cols, V + p * steps + c * width, point_v);
                }
            }
            for (int e = 0; e < t * t; e++)
                for (int64_t p = 0, columns; p < size; p += columns) {
                    columns = NAME(tile_columns)(size - p);
                    const int64_t vectors = (columns + LANES - 1) / LANES;
                    NAME(sums)[vectors - 1](last_panel - first_panel, steps, sum_steps, left + e * point_u + first_panel * MR * steps,
                                            V + e * point_v + p * steps, shift + (vectors - 1) * kc,
                                            S + e * point_s + p, most, k0 > 0);
                }
        }
        for (int64_t c = first_panel * MR; c < last_panel * MR && c < ocg; c++) {
            REAL *plane = (REAL *)arrays[3] + (n * w->oc + g * ocg + c) * oh * ow;
            for (int64_t p = 0; p < size; p += LANES) {
                NAME(tiles_out)(q, m, points, S + (c - first_panel * MR) * most + p, point_s, buffer);
                NAME(epilogue)(buffer, m * m * LANES, arrays[2], g * ocg + c, activation, scalars[0]);
                NAME(scatter_tiles)(m, buffer, p, size - p < LANES ? size - p : LANES, cols, row0, col0, oh, ow, plane);
            }
        }
    }
}

#define WINOGRAD(q, m)                                                                                                  \
    static void NAME(winograd_##q##_##m)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin,      \
                                         int64_t end, int64_t worker)                                                   \
    { NAME(winograd)(q, m, arrays, ints, scalars, begin, end, worker); }
WINOGRAD(1, 2) WINOGRAD(2, 4) WINOGRAD(2, 2) WINOGRAD(3, 6) WINOGRAD(3, 4)

/* U from the filters, computed in double precision and rounded once. Tile: one panel. arrays: weight, U, Points. ints: M,
 * K (channels), kc, panels of a group, t, r, stride from point to point. */
static inline __attribute__((always_inline)) void NAME(weight_panels)(
    const int t, const int r, void **arrays, const int64_t *ints, int64_t begin, int64_t end)
{
    typedef double channels __attribute__((vector_size(MR * sizeof(double))));
    typedef REAL rounded __attribute__((vector_size(MR * sizeof(REAL)), aligned(sizeof(REAL)), may_alias));
    const int64_t M = ints[0], K = ints[1], kc = ints[2], panels = ints[3], point_u = ints[6];
    const Points *points = arrays[2];
    for (int64_t tile = begin; tile < end; tile++) {
        const int64_t group = tile / panels, panel = tile % panels;
        const int64_t rows = M - panel * MR < MR ? M - panel * MR : MR;
        const REAL *source = (const REAL *)arrays[0] + (group * M + panel * MR) * K * r * r;
        for (int64_t k = 0; k < K; k++) {
            const int64_t k0 = k / kc * kc, steps = K - k0 < kc ? K - k0 : kc;
            REAL *target = (REAL *)arrays[1] + (group * K + k0) * panels * MR + panel * MR * steps + (k - k0) * MR;
            double lanes[MAX_R * MAX_R][MR];
            channels half[MAX_T][MAX_R];
            for (int e = 0; e < r * r; e++)
                UNROLL
                for (int m = 0; m < MR; m++)
                    lanes[e][m] = m < rows ? source[(m * K + k) * r * r + e] : 0;
            UNROLL
            for (int j = 0; j < r; j++) {
                channels g[MAX_R];
                UNROLL
                for (int i = 0; i < r; i++)
                    memcpy(&g[i], lanes[i * r + j], sizeof g[i]);
                UNROLL
                for (int a = 0; a < t; a++) {
                    half[a][j] = points->G[a][0] * g[0];
                    UNROLL
                    for (int i = 1; i < r; i++)
                        half[a][j] += points->G[a][i] * g[i];
                }
            }
            for (int a = 0; a < t; a++)
                UNROLL
                for (int b = 0; b < t; b++) {
                    channels u = points->G[b][0] * half[a][0];
                    UNROLL
                    for (int j = 1; j < r; j++)
                        u += points->G[b][j] * half[a][j];
                    *(rounded *)(target + (a * t + b) * point_u) = __builtin_convertvector(u, rounded);
                }
        }
    }
}

static void NAME(winograd_weight)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                                  int64_t worker)
{
    switch (ints[4] * 10 + ints[5]) {
    case 43: NAME(weight_panels)(4, 3, arrays, ints, begin, end); break;
    case 63: NAME(weight_panels)(6, 3, arrays, ints, begin, end); break;
    case 83: NAME(weight_panels)(8, 3, arrays, ints, begin, end); break;
    case 65: NAME(weight_panels)(6, 5, arrays, ints, begin, end); break;
    case 85: NAME(weight_panels)(8, 5, arrays, ints, begin, end); break;
    }
}
