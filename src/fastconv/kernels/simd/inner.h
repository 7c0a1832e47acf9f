/* Inner products of rows with rows: a matrix product whose operands are read where they lie, unless they are many.
 *
 *   out[n, m] = sum_k x[n, k] * weight[m, k] + bias[m]
 *
 * Vectors run along k, so a register tile is MR rows of the weight by NV rows of x, and each of its MR * NV sums is a
 * vector: a step is MR + NV loads for MR * NV multiply-adds. At the end of a block of steps the lanes of a sum are
 * added up, and blocks are added in order. So a sum has the same bits in any tile, and for any number of rows of x. One
 * row of x is a matrix-vector product, which reads the weight as fast as memory delivers it. The steps may be those of
 * several images, whose rows are apart: their sums are added in order, too. Many rows are packed (inner_panels.h).
 */
/* The totals of four vectors, each by the halves that `total` adds: one after another they would take as long as the
 * products of 100 steps. */
static inline NAME(quad) NAME(four_totals)(VECTOR a, VECTOR b, VECTOR c, VECTOR d)
{
    REAL lanes[4 * LANES];
    NAME(store)(lanes, a);
    NAME(store)(lanes + LANES, b);
    NAME(store)(lanes + 2 * LANES, c);
    NAME(store)(lanes + 3 * LANES, d);
    const NAME(quad) *q = (const NAME(quad) *)lanes;
    if (LANES == 2)
        return SHUFFLE(q[0], q[1], 0, 2, 4, 6) + SHUFFLE(q[0], q[1], 1, 3, 5, 7);
    NAME(quad) row[4];
    UNROLL
    for (int i = 0; i < 4; i++, q += LANES / 4) {
        NAME(quad) part[LANES / 4 + 1];
        UNROLL
        for (int j = 0; j < LANES / 4; j++)
            part[j] = q[j];
        UNROLL
        for (int half = LANES / 8; half; half /= 2)
            UNROLL
            for (int j = 0; j < half; j++)
                part[j] += part[j + half];
        row[i] = part[0];
    }
    NAME(turn_quads)(row);
    return (row[0] + row[2]) + (row[1] + row[3]);
}

/* From entry r on, a mask of the last r lanes. */
typedef BITS NAME(unaligned_mask) __attribute__((vector_size(SIMD_BYTES), aligned(sizeof(BITS)), may_alias));
static const BITS NAME(last_lanes)[2 * (SIMD_BYTES / sizeof(REAL))] = {
    [SIMD_BYTES / sizeof(REAL) ... 2 * (SIMD_BYTES / sizeof(REAL)) - 1] = -1,
};

/* How far ahead a weight whose rows are `apart` is prefetched: to the next rows, if those of a tile fit L1 and do not share
 * its sets. */
static inline int64_t NAME(ahead)(int64_t apart)
{ return apart * (int64_t)sizeof(REAL) < 4 * AHEAD ? MR * apart : AHEAD / (int64_t)sizeof(REAL); }

typedef void NAME(products_kernel)(int64_t k, const REAL *weight, int64_t apart, const REAL *x, int64_t ldx, REAL *out,
                                   int64_t ldc, int accumulate, const REAL *bias);

static inline __attribute__((always_inline)) void NAME(products)(const int m, const int nv, int64_t k,
                                                                 const REAL *restrict weight, int64_t apart,
                                                                 const REAL *restrict x, int64_t ldx,
                                                                 REAL *restrict out, int64_t ldc,
                                                                 int accumulate, const REAL *bias)
{
    VECTOR sum[MR][NV];
    UNROLL
    for (int i = 0; i < m; i++)
        UNROLL
        for (int v = 0; v < nv; v++)
            sum[i][v] = (VECTOR){0};
    const int64_t ahead = NAME(ahead)(apart);
    int64_t p = 0;
    for (; p + LANES <= k; p += LANES) {
        VECTOR right[NV];
        UNROLL
        for (int v = 0; v < nv; v++)
            right[v] = NAME(load)(x + v * ldx + p);
        UNROLL
        for (int i = 0; i < m; i++) {
            if (nv == 1)
                __builtin_prefetch(weight + i * apart + p + ahead);
            const VECTOR left = NAME(load)(weight + i * apart + p);
            UNROLL
            for (int v = 0; v < nv; v++)
                sum[i][v] += left * right[v];
        }
    }
    if (p < k && k >= LANES) {
        /* The rest lies in the last lanes of vectors that end where the rows do; what they hold before it is masked. */
        const NAME(mask) rest = *(const NAME(unaligned_mask) *)(NAME(last_lanes) + k - p);
        VECTOR right[NV];
        UNROLL
        for (int v = 0; v < nv; v++)
            right[v] = (VECTOR)((NAME(mask))NAME(load)(x + v * ldx + k - LANES) & rest);
        UNROLL
        for (int i = 0; i < m; i++) {
            const VECTOR left = (VECTOR)((NAME(mask))NAME(load)(weight + i * apart + k - LANES) & rest);
            UNROLL
            for (int v = 0; v < nv; v++)
                sum[i][v] += left * right[v];
        }
        p = k;
    }
    UNROLL
    for (int v = 0; v < nv; v++) {
        const REAL *row = x + v * ldx;
        REAL *target = out + v * ldc;
        if (m == 1) {
            REAL value = NAME(total)(sum[0][v]);
            for (int64_t q = p; q < k; q++)
                value += weight[q] * row[q];
            if (accumulate)
                value += *target;
            *target = bias ? value + *bias : value;
        } else
            UNROLL
            for (int i = 0; i < m; i += 4) {
                NAME(quad) value = NAME(four_totals)(sum[i][v], sum[i + 1][v], sum[i + 2][v], sum[i + 3][v]);
                const REAL *left = weight + i * apart;
                for (int64_t q = p; q < k; q++)
                    value += (NAME(quad)){left[q], left[apart + q], left[2 * apart + q], left[3 * apart + q]} * row[q];
                if (accumulate)
                    value += *(const NAME(quad) *)(target + i);
                if (bias)
                    value += *(const NAME(quad) *)(bias + i);
                *(NAME(quad) *)(target + i) = value;
            }
    }
}

#define PRODUCTS(m, nv)                                                                                             \
    static void NAME(products_##m##x##nv)(int64_t k, const REAL *weight, int64_t apart, const REAL *x, int64_t ldx, \
                                          REAL *out, int64_t ldc, int accumulate, const REAL *bias)                 \
    { NAME(products)(m, nv, k, weight, apart, x, ldx, out, ldc, accumulate, bias); }
#if NV == 3
#define ROW_OF_PRODUCTS(m) {NAME(products_##m##x1), NAME(products_##m##x2), NAME(products_##m##x3)}
PRODUCTS(1, 3) PRODUCTS(MR, 3)
#else
#define ROW_OF_PRODUCTS(m) {NAME(products_##m##x1), NAME(products_##m##x2)}
#endif
PRODUCTS(1, 1) PRODUCTS(1, 2) PRODUCTS(MR, 1) PRODUCTS(MR, 2)

/* By whether a panel is whole, and by the number of rows of x minus one. */
static NAME(products_kernel) *const NAME(products_of)[2][NV] = {ROW_OF_PRODUCTS(1), ROW_OF_PRODUCTS(MR)};

#define INNER_ARGUMENTS(X)                                                        \
    X(N)          /* rows of x */                                                 \
    X(M)          /* rows of the weight, which are outputs */                     \
    X(K)          /* steps: columns of both */                                    \
    X(x_apart)    /* values from one row of x to the next */                      \
    X(out_apart)  /* values of the output from one row to the next */             \
    X(block)      /* outputs of a block */                                        \
    X(kc)         /* steps of a block */                                          \
    X(at_a_time)  /* steps that are taken at a time: a multiple of kc */          \
    X(block_rows) /* rows of x in a block, of which at_a_time steps stay in L2 */ \
    X(packed)     /* whether rows are packed, kc steps of a block at a time */    \
    X(images)     /* images, whose products are added up */                       \
    X(x_image)    /* values of x from one image to the next */                    \
    X(w_image)    /* values of the weight from one image to the next */           \
    X(activation) /* code of the activation */
ARGUMENTS(Inner, INNER_ARGUMENTS);

typedef struct {
    REAL *x;     /* rows of a block, in panels of MR */
    REAL *panel; /* NR rows of the weight */
    REAL *sums;
    int64_t left;   /* values from one panel of x to the next */
    int64_t bytes;
} NAME(inner_parts);

static NAME(inner_parts) NAME(inner_layout)(const Inner *a, char *memory)
{
    Scratch s = {memory, 0};
    NAME(inner_parts) parts = {.bytes = 0};
    if (!a->packed)
        return parts;
    const int64_t steps = a->K < a->kc ? a->K : a->kc, tiles = NAME(ceil_div)(a->block_rows, MR);
    int64_t levels = 0;
    for (int64_t lanes = LANES; lanes > 1; lanes /= 2)
        levels++;
    parts.left = LANES * NAME(lane_apart)(steps, MR);
    parts.x = take(&s, tiles * parts.left * sizeof(REAL));
    parts.panel = take(&s, LANES * NAME(lane_apart)(steps, NR) * sizeof(REAL));
    parts.sums = take(&s, levels * tiles * MR * NR * sizeof(REAL));
    parts.bytes = s.bytes;
    return parts;
}

static int64_t NAME(inner_scratch)(const int64_t *ints)
{ return NAME(inner_layout)((const Inner *)ints, 0).bytes; }

/* The products of `count` rows of x with rows `first` to `past` of the weight, packed: of the steps from k on. */
static void NAME(inner_packed)(void **arrays, const Inner *a, const NAME(inner_parts) *own, const REAL *x,
                               const REAL *weight, int64_t k, int64_t count, int64_t first, int64_t past, REAL *out,
                               int accumulate, const REAL *bias, int64_t worker)
{
    const int64_t steps = a->K - k < a->kc ? a->K - k : a->kc;
    for (int64_t n = 0; n < count; n += MR)
        NAME(pack_lanes)(x + n * a->x_apart + k, a->x_apart, count - n < MR ? count - n : MR, steps, MR,
                         own->x + n / MR * own->left);
    for (int64_t m = first; m < past && !stops(arrays, worker); m += NR) {
        const int64_t columns = past - m < NR ? past - m : NR;
        NAME(pack_lanes)(weight + m * a->K + k, a->K, columns, steps, NR, own->panel);
        const NAME(products_to) to = {out + m, count, columns, a->out_apart, accumulate, bias ? bias + m : 0};
        NAME(multiply_lanes)(steps, own->x, own->left, own->panel, own->sums, &to);
    }
}

/* Tile: a block of outputs for a block of rows of x. arrays: x, weight, bias or null, out, scratch. scalars: the
 * activation's parameter. */
static void NAME(inner)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                        int64_t worker)
{
    const Inner *a = (const Inner *)ints;
    const int64_t N = a->N, M = a->M, K = a->K, block = a->block, kc = a->kc, at_a_time = a->at_a_time;
    const int64_t block_rows = a->block_rows, ldx = a->x_apart, ldc = a->out_apart, across = (M + block - 1) / block;
    const int64_t taken = K > at_a_time ? (K + at_a_time - 1) / at_a_time : 1;
    const NAME(inner_parts) own =
        NAME(inner_layout)(a, a->packed ? (char *)arrays[4] + worker * NAME(inner_scratch)(ints) : 0);
    for (int64_t tile = begin; tile < end; tile++) {
        const int64_t first = tile % across * block, past = first + block < M ? first + block : M;
        const int64_t row0 = tile / across * block_rows, count = N - row0 < block_rows ? N - row0 : block_rows;
        REAL *out = (REAL *)arrays[3] + row0 * ldc;
        for (int64_t at = 0; at < a->images * taken; at++) {
            const int64_t image = at / taken, begun = at % taken * at_a_time;
            const REAL *x = (const REAL *)arrays[0] + image * a->x_image + row0 * ldx;
            const REAL *weight = (const REAL *)arrays[1] + image * a->w_image;
            const REAL *bias = image == a->images - 1 ? arrays[2] : 0;
            const int64_t done = begun + at_a_time < K ? begun + at_a_time : K;
            if (a->packed) {
                NAME(inner_packed)(arrays, a, &own, x, weight, begun, count, first, past, out, image + begun > 0,
                                   done == K ? bias : 0, worker);
                if (stops(arrays, worker))
                    return;
                continue;
            }
            for (int64_t m = first, rows; m < past; m += rows) {
                if ((m - first) % 64 == 0 && stops(arrays, worker))
                    return;
                rows = past - m < MR ? 1 : MR;
                for (int64_t n = 0, few; n < count; n += few) {
                    few = count - n < NV ? count - n : count - n == NV + 1 ? 2 : NV;
                    for (int64_t k = begun; k < done || k == 0; k += kc) {
                        const int64_t steps = done - k < kc ? done - k : kc;
                        NAME(products_of)[rows == MR][few - 1](steps, weight + m * K + k, K, x + n * ldx + k, ldx,
                                                               out + n * ldc + m, ldc, image + k > 0,
                                                               bias && k + steps == K ? bias + m : 0);
                    }
                }
            }
        }
        if (a->activation)
            for (int64_t n = 0; n < count; n++)
                NAME(epilogue)(out + n * ldc + first, past - first, 0, 0, a->activation, scalars[0]);
    }
}
