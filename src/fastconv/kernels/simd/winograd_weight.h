/* The transform of Winograd's filters, U = G g Gᵀ: in double precision and rounded once, but for axes whose G has only
 * halves and ones.
 *
 *   U[panel of channels][e][c][channels]     e: the t × t points of a tile, c: input channels
 *
 * Vectors run along the output channels of a panel, which gemm.h's micro-kernel reads as packed right operands.
 * Channels past the last one, up to whole vectors, are zeros. The distance between points is never a multiple of 4 KiB,
 * for which t² streams would share one set of L1.
 *
 * Filters so small that U would lose digits, or so large that images with ordinary results might lose them in V, are
 * recognised by the sum of their magnitudes, and reported for the caller to sum directly.
 */
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

/* Input channels whose filters are turned and transformed for a whole panel, so that cache lines of U are written while
 * they are in L1. */
#define TURNED 8

/* target[i * wide + m] = source[m * from + i] for i < count and m < rows, else 0; m < wide. What follows in a row is
 * prefetched: it is read next, and too little at a time for the hardware to do so. */
static inline __attribute__((always_inline)) void NAME(turn_filters)(const REAL *source, int64_t from, int64_t rows,
                                                                     const int wide, int64_t count, REAL *target)
{
    int64_t i = 0;
    for (int64_t m = 0; m < rows; m++)
        for (int64_t at = 0; at < count; at += CACHE_LINE / (int64_t)sizeof(REAL))
            __builtin_prefetch(source + m * from + count + at);
    if (wide % 4 == 0 && rows == wide)
        for (; i + 4 <= count; i += 4)
            UNROLL
            for (int m = 0; m < wide; m += 4)
                NAME(transpose)(source + m * from + i, from, target + i * wide + m, wide);
    for (; i < count; i++)
        for (int m = 0; m < wide; m++)
            target[i * wide + m] = m < rows ? source[m * from + i] : 0;
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
    REAL turned[TURNED * MAX_R * MAX_R * WIDE];
    for (int e = 0; e < down * across; e++)
        memset(U + (e + 1) * point_u - POINT_GAP, 0, POINT_GAP * sizeof(REAL));
    wide magnitudes[NR / WIDE] = {0};
    for (int64_t k0 = 0; k0 < ic; k0 += TURNED)
        for (int64_t v = 0; v < columns; v += WIDE) {
            const int64_t some = ic - k0 < TURNED ? ic - k0 : TURNED;
            wide magnitude = magnitudes[v / WIDE];
            NAME(turn_filters)(weight + (v * ic + k0) * taps, ic * taps, clip(channels - v, 0, WIDE), WIDE, some * taps,
                               turned);
            for (int64_t k = 0; k < some; k++) {
                wide half[MAX_T][MAX_R];
                const rounded *source = (const rounded *)(turned + k * taps * WIDE);
                REAL *target = U + (k0 + k) * columns + v;
                UNROLL
                for (int j = 0; j < r_across; j++) {
                    wide g[MAX_R];
                    UNROLL
                    for (int i = 0; i < r_down; i++) {
                        g[i] = __builtin_convertvector(source[i * r_across + j], wide);
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
            magnitudes[v / WIDE] = magnitude;
        }
    for (int64_t m = 0; m < channels; m++) {
        double sums[WIDE];
        memcpy(sums, &magnitudes[m / WIDE], sizeof sums);
        if (!NAME(ordinary)(sums[m % WIDE]))
            marks[m] = 1;
    }
}

/* Whether an axis of F(2, 3), or of F(2, 2) at a stride of two, whose points are 0, ±1 and infinity, or one of a single
 * tap. Their G has only halves and ones. */
#define OF_HALVES(t, r) ((r) == 1 || ((r) == 3 && (t) <= 5))

static inline __attribute__((always_inline)) void NAME(transform_by_halves)(const int t, const VECTOR *g,
                                                                           const int step_g, VECTOR *u)
{
    u[0] = g[0];
    if (t == 1)
        return;
    const VECTOR half = NAME(broadcast)((REAL)0.5), outer = g[0] * half, middle = g[step_g] * half;
    const VECTOR last = g[2 * step_g];
    if (t == 4) {
        const VECTOR sum = outer + last * half;
        u[0] = -g[0];
        u[1] = sum + middle;
        u[2] = sum - middle;
        u[3] = last;
    } else {
        u[0] = last * half + outer;
        u[1] = last * half - outer;
        u[2] = last;
        u[3] = u[4] = g[step_g];
    }
}

/* `transform_panel` for axes of halves, in the type itself: halves are exact, so that only four sums round. In double
 * precision it took three times as long, most of the time of a layer of 7 × 7 whose filters are used once. */
static inline __attribute__((always_inline)) void NAME(transform_panel_by_halves)(
    const int down, const int r_down, const int across, const int r_across, const REAL *weight, int64_t channels,
    int64_t ic, int64_t columns, REAL *U, uint8_t *marks)
{
    const int taps = r_down * r_across;
    const int64_t point_u = ic * columns + POINT_GAP;
    REAL turned[TURNED * 3 * 3 * LANES];
    VECTOR magnitudes[NV] = {0};
    for (int e = 0; e < down * across; e++)
        memset(U + (e + 1) * point_u - POINT_GAP, 0, POINT_GAP * sizeof(REAL));
    for (int64_t k0 = 0; k0 < ic; k0 += TURNED)
        for (int64_t v = 0; v < columns; v += LANES) {
            const int64_t some = ic - k0 < TURNED ? ic - k0 : TURNED;
            VECTOR magnitude = magnitudes[v / LANES];
            NAME(turn_filters)(weight + (v * ic + k0) * taps, ic * taps, clip(channels - v, 0, LANES), LANES,
                               some * taps, turned);
            for (int64_t k = 0; k < some; k++) {
                VECTOR g[3 * 3], half[MAX_T * 3];
                REAL *target = U + (k0 + k) * columns + v;
                UNROLL
                for (int e = 0; e < taps; e++) {
                    g[e] = NAME(load)(turned + (k * taps + e) * LANES);
                    magnitude += (VECTOR)((NAME(mask))g[e] & (sizeof(REAL) == 4 ? (BITS)INT32_MAX : (BITS)INT64_MAX));
                }
                UNROLL
                for (int j = 0; j < r_across; j++) {
                    VECTOR u[MAX_T];
                    NAME(transform_by_halves)(down, g + j, r_across, u);
                    UNROLL
                    for (int a = 0; a < down; a++)
                        half[a * r_across + j] = u[a];
                }
                UNROLL
                for (int a = 0; a < down; a++) {
                    VECTOR u[MAX_T];
                    NAME(transform_by_halves)(across, half + a * r_across, 1, u);
                    UNROLL
                    for (int b = 0; b < across; b++)
                        NAME(store)(target + (a * across + b) * point_u, u[b]);
                }
            }
            magnitudes[v / LANES] = magnitude;
        }
    for (int64_t m = 0; m < channels; m++) {
        REAL sums[LANES];
        NAME(store)(sums, magnitudes[m / LANES]);
        if (!NAME(ordinary)(sums[m % LANES]))
            marks[m] = 1;
    }
}

#define WEIGHT_IN(name, down, m_down, across, m_across, stride)                                                       \
    static void NAME(weight_##name)(const Points *points, const REAL *weight, int64_t channels, int64_t ic,           \
                                    int64_t columns, REAL *U, uint8_t *marks)                                         \
    {                                                                                                                 \
        const int r_down = TAPS_OF(down, m_down, stride), r_across = TAPS_OF(across, m_across, stride);               \
        if (OF_HALVES(down, r_down) && OF_HALVES(across, r_across))                                                   \
            NAME(transform_panel_by_halves)(down, r_down, across, r_across, weight, channels, ic, columns, U, marks); \
        else                                                                                                          \
            NAME(transform_panel)(down, r_down, across, r_across, points, weight, channels, ic, columns, U, marks);   \
    }
#define WEIGHT_IN_SHAPES(t, m, stride) SHAPES_OF_AXIS(WEIGHT_IN, t, m, stride)
AXES(WEIGHT_IN_SHAPES)
#define WEIGHT_IN_ROW(t, m, stride) ROW_OF_AXIS(weight, t, m),
static NAME(weight_in) *const NAME(weight_in_of)[][3] = {AXES(WEIGHT_IN_ROW)};

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
        NAME(weight_in_of)[a->axis][a->combined](
            arrays[3], (const REAL *)arrays[0] + (g * ocg + first) * icg * taps,
            ocg - first < columns ? ocg - first : columns, icg, columns, (REAL *)arrays[1] + e_count * start,
            (uint8_t *)arrays[2] + g * ocg + first);
    }
}
