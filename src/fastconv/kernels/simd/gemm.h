/* The matrix micro-kernel, and the packing of its left operand.
 *
 *   gemm_tile(m, n, k, a, b, shift, c, ldc, accumulate, bias)
 *
 *   c[i, j] = (accumulate ? c[i, j] : 0) + sum_p a[p * MR + i] * b[shift[p] + j] + (bias ? bias[i] : 0)
 *
 *   for i < m <= MR and j < n <= NR
 *
 *                      NR: NV vectors of neighbouring columns
 *                     +------------------+
 *   b + shift[p], each|  v0    v1    v2  |  the row of the right operand at step p
 *                     +------------------+
 *        a: MR  +---+ +------------------+
 *        values | a0| | c00   c01   c02  |  MR × NV accumulators stay in registers: 12 of AVX2's 16, 24 of AVX-512's
 *        a step | a1| | c10   c11   c12  |  and NEON's 32. A step is NV loads, MR broadcasts, MR * NV multiply-adds.
 *               | : | |  :     :     :   |
 *               +---+ +------------------+
 *
 * a is packed: k steps of MR values. The rows of b are NR apart in a packed panel, if `shift` is null, or wherever it
 * says, such as in the image itself (Dukhan, The indirect convolution algorithm, 2019). Whole vectors of b are read. Rows of c are ldc
 * apart. A tile that is cut off at an edge runs a kernel for exactly its rows and vectors. The sum over p is one
 * running sum in the order of p for every element, wherever it is in a tile, so results do not depend on tiling.
 */
#define NR (NV * LANES)

/* A loop over steps counts and advances once for two of them. */
#if defined(__clang__)
#define TWO_AT_A_TIME _Pragma("clang loop unroll_count(2)")
#else
#define TWO_AT_A_TIME _Pragma("GCC unroll 2")
#endif

/* One step of a tile: sum[i][v] += a[i] * (vector v of b) for i < m and v < nv. */
static inline __attribute__((always_inline)) void NAME(add_step)(const int m, const int nv, const REAL *restrict a,
                                                                 const REAL *restrict b, VECTOR sum[MR][NV])
{
    VECTOR row[NV];
    UNROLL
    for (int v = 0; v < nv; v++)
        row[v] = NAME(load)(b + v * LANES);
    UNROLL
    for (int i = 0; i < m; i++) {
        const VECTOR left = NAME(broadcast)(a[i]);
        UNROLL
        for (int v = 0; v < nv; v++)
            sum[i][v] += left * row[v];
    }
}

/* sum[i][v] = sum_p a[p * MR + i] * (vector v of row p of b) for i < m and v < nv. A panel has a loop of its own: to load
 * shifts and to add them took a tenth of the time where another thread shares the core. */
static inline __attribute__((always_inline)) void NAME(sum_tile)(const int m, const int nv, int64_t k,
                                                                 const REAL *restrict a, const REAL *restrict b,
                                                                 const int64_t *restrict shift, VECTOR sum[MR][NV])
{
    UNROLL
    for (int i = 0; i < m; i++)
        UNROLL
        for (int v = 0; v < nv; v++)
            sum[i][v] = (VECTOR){0};
    if (shift)
        for (int64_t p = 0; p < k; p++, a += MR)
            NAME(add_step)(m, nv, a, b + shift[p], sum);
    else
        TWO_AT_A_TIME
        for (int64_t p = 0; p < k; p++, a += MR, b += NR)
            NAME(add_step)(m, nv, a, b, sum);
}

/* Outputs are prefetched: they are often in no cache, and the products take long enough to fetch them. */
static inline __attribute__((always_inline)) void NAME(tile)(
    const int m, const int nv, int64_t n, int64_t k, const REAL *restrict a, const REAL *restrict b,
    const int64_t *restrict shift, REAL *restrict c, int64_t ldc, int accumulate, const REAL *bias)
{
    VECTOR sum[MR][NV];
    UNROLL
    for (int i = 0; i < m; i++) {
        __builtin_prefetch(c + i * ldc, 1);
        __builtin_prefetch(c + i * ldc + nv * LANES - 1, 1);
    }
    NAME(sum_tile)(m, nv, k, a, b, shift, sum);
    UNROLL
    for (int i = 0; i < m; i++) {
        REAL *line = c + i * ldc;
        const VECTOR offset = bias ? NAME(broadcast)(bias[i]) : (VECTOR){0};
        UNROLL
        for (int v = 0; v < nv; v++, line += LANES) {
            if (n >= (v + 1) * LANES) {
                VECTOR value = sum[i][v];
                if (accumulate)
                    value += NAME(load)(line);
                NAME(store)(line, bias ? value + offset : value);
            } else {
                REAL edge[LANES];
                NAME(store)(edge, sum[i][v]);
                for (int64_t j = 0; j < n - v * LANES; j++) {
                    REAL value = edge[j];
                    if (accumulate)
                        value += line[j];
                    line[j] = bias ? value + bias[i] : value;
                }
            }
        }
    }
}

/* Write m rows of nv vectors as columns: c[j * ldc + i] = value j of row i, for j < n. */
static inline __attribute__((always_inline)) void NAME(write_turned)(const int m, const int nv, const VECTOR *rows,
                                                                     int64_t n, REAL *restrict c, int64_t ldc)
{
    UNROLL
    for (int v = 0; v < nv; v++, c += LANES * ldc)
        UNROLL
        for (int i = 0; i < m; i += PIECE) {
            const int some = m - i < PIECE ? m - i : PIECE;
            VECTOR row[PIECE];
            UNROLL
            for (int j = 0; j < PIECE; j++)
                row[j] = j < some ? rows[(i + j) * nv + v] : (VECTOR){0};
            NAME(turn_pieces)(row);
            const int whole = n >= (v + 1) * LANES;
            UNROLL
            for (int j = 0; j < PIECE; j++)
                UNROLL
                for (int part = 0; part < PIECES; part++)
                    if (whole || v * LANES + part * PIECE + j < n)
                        memcpy(c + (part * PIECE + j) * ldc + i, (const NAME(piece) *)&row[j] + part,
                               some * sizeof(REAL));
        }
}

/* A tile whose columns become rows: c[j * ldc + i] = (before ? before[i * ld + j] : 0) + its sum. Whole vectors of
 * `before` are read. */
static inline __attribute__((always_inline)) void NAME(turned_tile)(
    const int m, const int nv, int64_t n, int64_t k, const REAL *restrict a, const REAL *restrict b,
    const int64_t *restrict shift, const REAL *before, int64_t ld, REAL *restrict c, int64_t ldc)
{
    VECTOR sum[MR][NV], rows[MR * NV];
    for (int64_t j = 0; j < n; j++)
        __builtin_prefetch(c + j * ldc, 1);
    UNROLL
    for (int i = 0; before && i < m; i++) {
        __builtin_prefetch(before + i * ld);
        __builtin_prefetch(before + i * ld + nv * LANES - 1);
    }
    NAME(sum_tile)(m, nv, k, a, b, shift, sum);
    UNROLL
    for (int i = 0; i < m; i++)
        UNROLL
        for (int v = 0; v < nv; v++)
            rows[i * nv + v] = before ? sum[i][v] + NAME(load)(before + i * ld + v * LANES) : sum[i][v];
    NAME(write_turned)(m, nv, rows, n, c, ldc);
}

typedef void NAME(tile_kernel)(int64_t n, int64_t k, const REAL *a, const REAL *b, const int64_t *shift, REAL *c,
                               int64_t ldc, int accumulate, const REAL *bias);
typedef void NAME(turned_kernel)(int64_t n, int64_t k, const REAL *a, const REAL *b, const int64_t *shift,
                                 const REAL *before, int64_t ld, REAL *c, int64_t ldc);

#define TILE(m, nv)                                                                                                 \
    static void NAME(tile_##m##x##nv)(int64_t n, int64_t k, const REAL *a, const REAL *b, const int64_t *shift,     \
                                      REAL *c, int64_t ldc, int accumulate, const REAL *bias)                       \
    { NAME(tile)(m, nv, n, k, a, b, shift, c, ldc, accumulate, bias); }                                             \
    static void NAME(turned_##m##x##nv)(int64_t n, int64_t k, const REAL *a, const REAL *b, const int64_t *shift,   \
                                        const REAL *before, int64_t ld, REAL *c, int64_t ldc)                       \
    { NAME(turned_tile)(m, nv, n, k, a, b, shift, before, ld, c, ldc); }
#if NV == 3
#define TILES(m) TILE(m, 1) TILE(m, 2) TILE(m, 3)
#define ROW_OF(kind, m) {NAME(kind##_##m##x1), NAME(kind##_##m##x2), NAME(kind##_##m##x3)}
#else
#define TILES(m) TILE(m, 1) TILE(m, 2)
#define ROW_OF(kind, m) {NAME(kind##_##m##x1), NAME(kind##_##m##x2)}
#endif
#if MR == 8
#define ROWS_OF(kind)                                                                                      \
    {ROW_OF(kind, 1), ROW_OF(kind, 2), ROW_OF(kind, 3), ROW_OF(kind, 4), ROW_OF(kind, 5), ROW_OF(kind, 6), \
     ROW_OF(kind, 7), ROW_OF(kind, 8)}
#else
#define ROWS_OF(kind) {ROW_OF(kind, 1), ROW_OF(kind, 2), ROW_OF(kind, 3), ROW_OF(kind, 4)}
#endif

TILES(1) TILES(2) TILES(3) TILES(4)
#if MR == 8
TILES(5) TILES(6) TILES(7) TILES(8)
#endif

static NAME(tile_kernel) *const NAME(tiles)[MR][NV] = ROWS_OF(tile);
static NAME(turned_kernel) *const NAME(turned_tiles)[MR][NV] = ROWS_OF(turned);

static inline void NAME(gemm_tile)(int64_t m, int64_t n, int64_t k, const REAL *a, const REAL *b,
                                   const int64_t *shift, REAL *c, int64_t ldc, int accumulate, const REAL *bias)
{
    NAME(tiles)[m - 1][(n - 1) / LANES](n, k, a, b, shift, c, ldc, accumulate, bias);
}

/* The number of columns in the next tile if `left` remain: NV vectors, but two and two rather than three and one,
 * because a single vector would wait for its multiply-adds. */
static inline int64_t NAME(tile_columns)(int64_t left)
{
    const int64_t vectors = (left + LANES - 1) / LANES;
    const int64_t columns = (vectors == NV + 1 ? 2 : NV) * LANES;
    return columns < left ? columns : left;
}

/* The first column of a panel of a right operand of `width` columns in whole vectors, by tile_columns' rule. */
static inline int64_t NAME(panel_first)(int64_t panel, int64_t width)
{
    const int64_t first = panel * NR < width ? panel * NR : width;
    return NV == 3 && panel > 0 && width - first == LANES ? first - LANES : first;
}

#define PACK_LEFT_ARGUMENTS(X)                   \
    X(M)      /* rows of the operand */          \
    X(K)      /* steps, which are its columns */ \
    X(kc)     /* steps of a block */             \
    X(panels) /* panels of a group */
ARGUMENTS(PackLeft, PACK_LEFT_ARGUMENTS);

/* The bytes of a group's panels. */
static int64_t NAME(pack_left_packed)(const int64_t *ints)
{
    const PackLeft *a = (const PackLeft *)ints;
    return a->panels * MR * a->K * sizeof(REAL);
}

/* Pack the rows of one left operand (M × K, row-major) into blocks of kc steps, each made of panels of MR rows. Rows
 * past M are zeros. Tile: one panel. arrays: weight (groups * M, K), packed. */
static void NAME(pack_left)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                            int64_t worker)
{
    const PackLeft *a = (const PackLeft *)ints;
    const int64_t M = a->M, K = a->K, kc = a->kc, panels = a->panels;
    for (int64_t tile = begin; tile < end; tile++) {
        const int64_t group = tile / panels, panel = tile % panels;
        const int64_t rows = M - panel * MR < MR ? M - panel * MR : MR;
        const REAL *source = (const REAL *)arrays[0] + (group * M + panel * MR) * K;
        for (int64_t k0 = 0; k0 < K; k0 += kc) {
            if (stops(arrays, worker))
                return;
            const int64_t steps = K - k0 < kc ? K - k0 : kc;
            REAL *target = (REAL *)arrays[1] + (group * K + k0) * panels * MR + panel * MR * steps;
            int64_t k = 0;
            if (rows == MR)
                for (; k + 4 <= steps; k += 4)
                    for (int i = 0; i < MR; i += 4)
                        NAME(transpose)(source + i * K + k0 + k, K, target + k * MR + i, MR);
            for (; k < steps; k++)
                for (int i = 0; i < MR; i++)
                    target[k * MR + i] = i < rows ? source[i * K + k0 + k] : 0;
        }
    }
}
