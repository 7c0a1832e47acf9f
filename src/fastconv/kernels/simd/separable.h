/* Correlation with sums of outer products: each of `terms` pairs of 1-D kernels is a pass along the rows and one down
 * the columns.
 *
 *   out[r, q] = epilogue(sum_c sum_t sum_i u[i, t] * sum_j v[t, j] * x[c, r + i - pt, q + j - pl])
 *
 * Positions past the edges of the image are looked up in maps, first those before it, then those after it; -1 stands
 * for the value `fill`. The two passes are fused: a row is gathered, filtered along itself by every v, and stays in a
 * ring of the kh newest rows of each term until kh output rows have used it. Ring and row fit L1. For a single kernel
 * of one row, u is 1 and there is no second pass.
 *
 * Both passes are the same loop (`weigh`): sums of scaled vectors, from neighbouring positions of a row, or from the
 * rows of the rings. It is compiled ahead of time for any number of taps: Numba loops with constant extents were no
 * faster.
 *
 * Symmetric and antisymmetric weights are applied to sums or differences of the two values that share a weight: the
 * derivative of a flat image is exactly zero, and a mirrored image has the mirrored result.
 */
/* 1 for symmetric weights, -1 for antisymmetric ones, 0 for all others. */
static int NAME(parity)(const REAL *weight, int64_t taps)
{
    int same = 1, opposite = 1;
    for (int64_t t = 0; t < taps / 2; t++) {
        same &= weight[t] == weight[taps - 1 - t];
        opposite &= weight[t] == -weight[taps - 1 - t];
    }
    return same ? 1 : opposite ? -1 : 0;
}

static inline __attribute__((always_inline)) const REAL *NAME(source_of_tap)(const REAL *const *from, const REAL *base,
                                                                             int64_t t, int64_t q)
{
    const REAL *source = (from ? from[t] : base + t) + q;
    __asm__("" : "+r"(source)); /* or GCC spends a register, and then the stack, on the address of every vector */
    return source;
}

/* n vectors of to[q] (+)= sum_t weight[t] * from[t][q], of which `store` values are written. Returns NaN in lanes where
 * a sum is not finite. */
static inline __attribute__((always_inline)) VECTOR NAME(weigh_vectors)(const int n, const int parity,
                                                                        const REAL *const *from, const REAL *base,
                                                                        const REAL *weight, int64_t taps, int64_t q,
                                                                        REAL *to, int add)
{
    const int64_t pairs = parity ? taps / 2 : 0;
    VECTOR sum[ABREAST], total = {0};
    UNROLL
    for (int s = 0; s < n; s++)
        sum[s] = add ? NAME(load)(to + q + s * LANES) : (VECTOR){0};
    for (int64_t t = pairs; t < taps - pairs; t++) {
        const REAL *source = NAME(source_of_tap)(from, base, t, q);
        const VECTOR w = NAME(broadcast)(weight[t]);
        UNROLL
        for (int s = 0; s < n; s++)
            sum[s] += w * NAME(load)(source + s * LANES);
    }
    for (int64_t t = 0; t < pairs; t++) {
        const REAL *first = NAME(source_of_tap)(from, base, t, q);
        const REAL *last = NAME(source_of_tap)(from, base, taps - 1 - t, q);
        const VECTOR w = NAME(broadcast)(weight[t]);
        UNROLL
        for (int s = 0; s < n; s++) {
            const VECTOR a = NAME(load)(first + s * LANES), b = NAME(load)(last + s * LANES);
            sum[s] += w * (parity > 0 ? a + b : a - b);
        }
    }
    UNROLL
    for (int s = 0; s < n; s++) {
        NAME(store)(to + q + s * LANES, sum[s]);
        total += sum[s];
    }
    return total - total;
}

static inline __attribute__((always_inline)) VECTOR NAME(weigh_as)(const int parity, const REAL *const *from,
                                                                   const REAL *base, const REAL *weight, int64_t taps,
                                                                   int64_t q, int64_t width, REAL *to, int add)
{
    VECTOR check = {0};
    for (; q + ABREAST * LANES <= width; q += ABREAST * LANES)
        check += NAME(weigh_vectors)(ABREAST, parity, from, base, weight, taps, q, to, add);
    for (; q + LANES <= width; q += LANES)
        check += NAME(weigh_vectors)(1, parity, from, base, weight, taps, q, to, add);
    return check;
}

/* A row of sums, from q to the last whole vector. Without `from`, tap t reads base + t. */
static inline __attribute__((always_inline)) VECTOR NAME(weigh)(int parity, const REAL *const *from, const REAL *base,
                                                                const REAL *weight, int64_t taps, int64_t q,
                                                                int64_t width, REAL *to, int add)
{
    return parity > 0   ? NAME(weigh_as)(1, from, base, weight, taps, q, width, to, add)
           : parity < 0 ? NAME(weigh_as)(-1, from, base, weight, taps, q, width, to, add)
                        : NAME(weigh_as)(0, from, base, weight, taps, q, width, to, add);
}

/* The same, written exactly up to `width`. */
static VECTOR NAME(weigh_exactly)(int parity, const REAL *const *from, const REAL *base, const REAL *weight,
                                  int64_t taps, int64_t width, REAL *to, int add)
{
    const int64_t whole = width / LANES * LANES, rest = width - whole;
    REAL last[SIMD_BYTES / sizeof(REAL)] = {0};
    VECTOR check = from ? NAME(weigh)(parity, from, 0, weight, taps, 0, whole, to, add)
                        : NAME(weigh)(parity, 0, base, weight, taps, 0, whole, to, add);
    if (rest) {
        if (add)
            memcpy(last, to + whole, rest * sizeof(REAL));
        check += NAME(weigh)(parity, from, base, weight, taps, whole, whole + LANES, last - whole, add);
        memcpy(to + whole, last, rest * sizeof(REAL));
    }
    return check;
}

#define SEPARABLE_ARGUMENTS(X)                                               \
    X(oc)         /* output channels */                                      \
    X(icg)        /* input channels of a group */                            \
    X(ocg)        /* output channels of a group */                           \
    X(ih)         /* rows of the image */                                    \
    X(iw)         /* columns of the image */                                 \
    X(oh)         /* rows of the output */                                   \
    X(ow)         /* columns of the output */                                \
    X(kh)         /* taps of a column */                                     \
    X(kw)         /* taps of a row */                                        \
    X(terms)      /* pairs of a column and a row whose products are added */ \
    X(pt)         /* samples above the image that outputs see */             \
    X(pl)         /* samples to the left of the image that outputs see */    \
    X(xn)         /* values from one image to the next */                    \
    X(xc)         /* values from one channel to the next */                  \
    X(xh)         /* values from one row to the next */                      \
    X(xw)         /* values from one column to the next */                   \
    X(row_tile)   /* rows of a tile */                                       \
    X(down)       /* tiles down */                                           \
    X(col_tile)   /* columns of a tile */                                    \
    X(across)     /* tiles across */                                         \
    X(activation) /* code of the activation */
ARGUMENTS(Separable, SEPARABLE_ARGUMENTS);

typedef struct {
    const REAL **from; /* the rows of the ring, in the order of any output's taps */
    REAL *ring;        /* on a cache line, or every other vector of it would lie on two */
    REAL *line;        /* a gathered row */
    int64_t bytes;
} NAME(separable_parts);

static NAME(separable_parts) NAME(separable_layout)(const Separable *a, char *memory)
{
    Scratch s = {memory, 0};
    NAME(separable_parts) parts;
    parts.from = take(&s, 2 * a->kh * a->terms * sizeof(REAL *));
    parts.ring = take(&s, a->terms * a->kh * a->col_tile * sizeof(REAL));
    parts.line = take(&s, (a->col_tile + a->kw + 2 * ABREAST * LANES) * sizeof(REAL));
    parts.bytes = s.bytes;
    return parts;
}

static int64_t NAME(separable_scratch)(const int64_t *ints)
{ return NAME(separable_layout)((const Separable *)ints, 0).bytes; }

/* Tile: rows and columns of one output plane. arrays: x, out, u, v, bias or null, a flag per worker that is set once a
 * sum was not finite, maps of rows and of columns, scratch. scalars: fill, the activation's parameter. */
static void NAME(separable)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                            int64_t worker)
{
    const Separable *a = (const Separable *)ints;
    const int64_t oc = a->oc, icg = a->icg, ocg = a->ocg, ih = a->ih, iw = a->iw, oh = a->oh, ow = a->ow;
    const int64_t kh = a->kh, kw = a->kw, terms = a->terms, pt = a->pt, pl = a->pl;
    const int64_t xn = a->xn, xc = a->xc, xh = a->xh, xw = a->xw;
    const int64_t row_tile = a->row_tile, down = a->down, col_tile = a->col_tile, across = a->across;
    const int64_t activation = a->activation;
    const int one_pass = kh == 1 && terms == 1;
    const REAL fill = (REAL)scalars[0];
    const REAL *bias = arrays[4];
    const int64_t *row_map = arrays[6], *col_map = arrays[7];
    const NAME(separable_parts) own =
        NAME(separable_layout)(a, (char *)arrays[8] + worker * NAME(separable_scratch)(ints));
    const REAL **from = own.from;
    REAL *ring = own.ring, *line = own.line;
    VECTOR check = {0};
    for (int64_t t = 0; t < 2 * kh * terms; t++) /* twice, so that the rows of any output are consecutive */
        from[t] = ring + t % (kh * terms) * col_tile;
    for (int64_t tile = begin; tile < end; tile++) {
        const int64_t col0 = tile % across * col_tile, row0 = tile / across % down * row_tile;
        const int64_t m = tile / (across * down) % oc, n = tile / (across * down * oc);
        const int64_t row1 = row0 + row_tile < oh ? row0 + row_tile : oh;
        const int64_t cols = ow - col0 < col_tile ? ow - col0 : col_tile;
        const int64_t width = (cols + LANES - 1) / LANES * LANES;
        /* The gathered row is columns col0 <= t < col0 + seen of the continued one; those from first to last are
         * inside. */
        const int64_t seen = cols + kw - 1;
        const int64_t first = clip(pl - col0, 0, seen), last = clip(iw + pl - col0, first, seen);
        for (int64_t t = seen; t < width + kw - 1; t++)
            line[t] = 0;
        for (int64_t c = 0; c < icg; c++) {
            const REAL *image = (const REAL *)arrays[0] + n * xn + (m / ocg * icg + c) * xc;
            const REAL *u = (const REAL *)arrays[2] + (m * icg + c) * terms * kh;
            const REAL *v = (const REAL *)arrays[3] + (m * icg + c) * terms * kw;
            const int down_parity = terms == 1 ? NAME(parity)(u, kh) : 0;
            const int along_parity = terms == 1 ? NAME(parity)(v, kw) : 0;
            const REAL *row = line;
            for (int64_t r = row0, next = row0; r < row1; r++) {
                if ((r % 64 == row0 % 64 || kw + kh > 1024) && stops(arrays, worker))
                    return;
                for (; next < r + kh; next++) {
                    const int64_t y = source_of(next - pt, ih, pt, row_map);
                    const REAL *source = image + y * xh;
                    const int inside = y >= 0;
                    row = line;
                    if (inside && xw == 1)
                        fetch_line((const char *)(source + xh + col0 + first - pl), (last - first) * sizeof(REAL));
                    if (inside && xw == 1 && first == 0 && last == seen && width == cols)
                        row = source + col0 - pl;
                    else {
                        for (int64_t t = first ? 0 : last; t < seen; t = t + 1 == first ? last : t + 1) {
                            const int64_t x = source_of(col0 + t - pl, iw, pl, col_map);
                            line[t] = inside && x >= 0 ? source[x * xw] : fill;
                        }
                        if (inside && xw == 1)
                            memcpy(line + first, source + col0 + first - pl, (last - first) * sizeof(REAL));
                        else
                            for (int64_t t = first; t < last; t++)
                                line[t] = inside ? source[(col0 + t - pl) * xw] : fill;
                    }
                    for (int64_t term = 0; term < (one_pass ? 0 : terms); term++)
                        NAME(weigh)(along_parity, 0, row, v + term * kw, kw, 0, width,
                                    ring + (next % kh * terms + term) * col_tile, 0);
                }
                const REAL *const *rows = from + r % kh * terms;
                REAL *target = (REAL *)arrays[1] + (((n * oc + m) * oh) + r) * ow + col0;
                check += one_pass ? NAME(weigh_exactly)(along_parity, 0, row, v, kw, cols, target, c > 0)
                                  : NAME(weigh_exactly)(down_parity, rows, 0, u, terms * kh, cols, target, c > 0);
                if (c == icg - 1 && (bias || activation))
                    NAME(epilogue)(target, cols, bias, m, activation, scalars[1]);
            }
        }
    }
    for (int64_t l = 0; l < LANES; l++)
        if (!(check[l] == 0))
            ((int64_t *)arrays[5])[worker] = 1;
}
