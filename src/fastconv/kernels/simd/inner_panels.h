/* Inner products of many rows with many rows, on packed panels: what inner.h computes, with the same bits.
 *
 * There, a sum is a vector whose lane l holds the products of steps l, l + LANES, ..., and lanes are added up at the end of
 * a block of steps. Here, the rows of the weight are the columns of a panel, and a register tile of gemm.h sums the steps
 * of one lane for MR rows and NR columns; then those of the next lane:
 *
 *   part[l][n, m] = sum_s x[n, s * LANES + l] * weight[m, s * LANES + l]
 *   out[n, m] = ((part[0] + part[4]) + (part[2] + part[6])) + ((part[1] + part[5]) + (part[3] + part[7]))
 *
 * for 8 lanes: the order of `total`. Lanes are taken in the order of this sum from left to right, and parts are added as
 * soon as both are there, as a binary counter carries. A step is NV loads and MR broadcasts for MR * NV multiply-adds, and
 * nothing is added across lanes, which takes a third of the time of rows of 200 values where they lie. Both operands are
 * packed in the call, which pays from some 30 rows on.
 */

/* Values from the steps of one lane in a panel to those of the next. */
static inline int64_t NAME(lane_apart)(int64_t steps, int64_t width)
{ return (steps + LANES - 1) / LANES * width + POINT_GAP; }

/* Pack `rows` rows of `steps` values as the columns of a panel of `width`, lane by lane. The rest of a row, and of the
 * panel, is zeros. As in inner.h, the last values of a row are in the last lanes. */
static void NAME(pack_lanes)(const REAL *source, int64_t apart, int64_t rows, int64_t steps, int64_t width, REAL *panel)
{
    const int64_t lane = NAME(lane_apart)(steps, width), whole = steps / LANES, rest = steps % LANES;
    for (int64_t i = 0, some; i < width; i += some) {
        const REAL *from = source + i * apart;
        some = LANES % 4 == 0 && i + 4 <= rows ? 4 : 1;
        for (int64_t s = 0; s < whole; s++)
            for (int64_t l = 0; l < LANES; l += some) {
                REAL *target = panel + l * lane + s * width + i;
                if (some == 4)
                    NAME(transpose)(from + s * LANES + l, apart, target, lane);
                else
                    *target = i < rows ? from[s * LANES + l] : 0;
            }
        for (int64_t j = 0; rest && j < some; j++)
            for (int64_t l = 0; l < LANES; l++)
                panel[l * lane + whole * width + i + j] =
                    l < LANES - rest || i + j >= rows ? 0 : from[j * apart + steps - LANES + l];
    }
}

/* Where products go: to rows of `columns` values, `apart` from each other. */
typedef struct {
    REAL *out;
    int64_t rows, columns, apart;
    int accumulate;
    const REAL *bias; /* or null */
} NAME(products_to);

/* Write the sums of a tile of `nv` vectors across, from row n on. */
static inline __attribute__((always_inline)) void NAME(write_products)(const int nv, const NAME(products_to) *to,
                                                                       int64_t n, VECTOR sum[MR][NV])
{
    const int64_t rows = to->rows - n < MR ? to->rows - n : MR;
    REAL *out = to->out + n * to->apart;
    const int whole = to->columns == nv * LANES;
    REAL values[MR][NV * LANES];
    UNROLL
    for (int i = 0; i < MR; i++)
        UNROLL
        for (int v = 0; v < nv; v++)
            if (whole && i < rows) {
                REAL *target = out + i * to->apart + v * LANES;
                VECTOR value = sum[i][v];
                if (to->accumulate)
                    value += NAME(load)(target);
                NAME(store)(target, to->bias ? value + NAME(load)(to->bias + v * LANES) : value);
            } else
                NAME(store)(values[i] + v * LANES, sum[i][v]);
    for (int64_t i = 0; !whole && i < rows; i++, out += to->apart)
        for (int64_t m = 0; m < to->columns; m++) {
            REAL value = values[i][m];
            if (to->accumulate)
                value += out[m];
            out[m] = to->bias ? value + to->bias[m] : value;
        }
}

/* Sum the steps of a lane for `tiles` tiles of MR rows, `left_apart` values from each other. To each sum the `carried`
 * sums are added that earlier lanes left in `sums`, which are `level` values apart. It takes the place after them, or is
 * written if there is somewhere to write `to`, which is prefetched meanwhile. */
typedef void NAME(lane_kernel)(int64_t tiles, int64_t steps, const REAL *left, int64_t left_apart, const REAL *right,
                               int64_t carried, REAL *sums, int64_t level, const NAME(products_to) *to);

static inline __attribute__((always_inline)) void NAME(sum_lane)(const int nv, int64_t tiles, int64_t steps,
                                                                 const REAL *left, int64_t left_apart,
                                                                 const REAL *right, int64_t carried, REAL *sums,
                                                                 int64_t level, const NAME(products_to) *to)
{
    for (int64_t tile = 0; tile < tiles; tile++, left += left_apart, sums += MR * NR) {
        VECTOR sum[MR][NV];
        for (int64_t n = tile * MR; to && n < tile * MR + MR && n < to->rows; n++) {
            __builtin_prefetch(to->out + n * to->apart, 1);
            __builtin_prefetch(to->out + n * to->apart + to->columns - 1, 1);
        }
        NAME(sum_tile)(MR, nv, steps, left, right, 0, sum);
        REAL *target = sums;
        for (int64_t at = 0; at < carried; at++, target += level)
            UNROLL
            for (int i = 0; i < MR; i++)
                UNROLL
                for (int v = 0; v < nv; v++)
                    sum[i][v] += NAME(load)(target + i * NR + v * LANES);
        if (to)
            NAME(write_products)(nv, to, tile * MR, sum);
        else
            UNROLL
            for (int i = 0; i < MR; i++)
                UNROLL
                for (int v = 0; v < nv; v++)
                    NAME(store)(target + i * NR + v * LANES, sum[i][v]);
    }
}

#define LANE_KERNEL(nv)                                                                                             \
    static __attribute__((noinline)) void NAME(sum_lane_##nv)(                                                     \
        int64_t tiles, int64_t steps, const REAL *left, int64_t left_apart, const REAL *right, int64_t carried,    \
        REAL *sums, int64_t level, const NAME(products_to) *to)                                                    \
    { NAME(sum_lane)(nv, tiles, steps, left, left_apart, right, carried, sums, level, to); }
LANE_KERNEL(1) LANE_KERNEL(2)
#if NV == 3
LANE_KERNEL(3)
#endif
static NAME(lane_kernel) *const NAME(lane_kernels)[NV] = {
    NAME(sum_lane_1), NAME(sum_lane_2),
#if NV == 3
    NAME(sum_lane_3),
#endif
};

/* The products of packed rows of x, in tiles of MR, with a panel of rows of the weight. `sums` has room for what is
 * carried: a level for each bit of LANES. */
static void NAME(multiply_lanes)(int64_t steps, const REAL *left, int64_t left_apart, const REAL *right, REAL *sums,
                                 const NAME(products_to) *to)
{
    const int64_t of_left = NAME(lane_apart)(steps, MR), of_right = NAME(lane_apart)(steps, NR);
    const int64_t tiles = (to->rows + MR - 1) / MR, taken = (steps + LANES - 1) / LANES;
    for (int64_t turn = 0; turn < LANES; turn++) {
        int64_t lane = 0, carried = 0;
        for (int64_t bit = 1, reversed = LANES / 2; bit < LANES; bit *= 2, reversed /= 2)
            lane += turn & bit ? reversed : 0;
        while (turn >> carried & 1)
            carried++;
        NAME(lane_kernels)[(to->columns - 1) / LANES](tiles, taken, left + lane * of_left, left_apart,
                                                      right + lane * of_right, carried, sums, tiles * MR * NR,
                                                      turn == LANES - 1 ? to : 0);
    }
}
