/* Direct convolution by blocks of sums, for one type of values.
 *
 *   out[b, q] = epilogue(sum_{c, i, j} weight[m, c, i, j] * x[c, b * sh - pt + i * dh, q * sw - pl + j * dw])
 *
 * A block is a few rows of sums, each of one or a few vectors. For a column j of taps, up to TAPS weights are held in
 * registers, and each line is loaded once for all the taps that use it:
 *
 *   line      taps that use it (3 taps, 4 rows, stride 1)
 *    0        row 0, tap 0
 *    1        row 0, tap 1;  row 1, tap 0
 *    2        row 0, tap 2;  row 1, tap 1;  row 2, tap 0         rows + taps - 1 loads
 *    3                       row 1, tap 2;  row 2, tap 1; ...    for rows * taps multiply-adds
 *    ...
 *
 * so with 5 rows and 5 taps a load serves 2.8 multiply-adds. Fewer loads matter because unaligned vectors cross cache
 * lines every other time, which costs a second load. Nothing depends on the kernel's extents, which are read at run
 * time: columns with more taps are processed in runs of about equal length. Every sum adds its products in the same
 * order, whatever block it belongs to: by channel, run, column and tap. 3 x 3 filters also have unrolled columns, since
 * small kernels feel every branch; 5 x 5 gained nothing from it.
 *
 * Index map. Stride 1 and any dilation dh: rows with the same residue modulo dh use the lines of one residue, and form
 * blocks of their own, without dilation. Stride 2: line l of a block is tap l - 2 * r of row r. At other
 * strides (0) lines are not shared; each tap loads all rows of the block. So does a plane of very few rows, whose
 * blocks are as many neighbouring vectors of one row instead: `flat`.
 *
 * Columns of stride 2 are loaded as every second value of two vectors. Other strides, and everything at a boundary, are
 * handled by kernels/sweep.pyx, which gathers them into lines without gaps.
 *
 * Integers wrap around. Those of 8 bits are summed in 16, whose low halves wrap around alike, since no instruction
 * multiplies bytes. Complex numbers are pairs of reals: their sums are two vectors, of products with the real and with
 * the imaginary parts of the weights, which are combined at the end.
 *
 * Included once per type: ITEM is the type in memory, SUM that of sums, PARTS 2 for complex numbers, TYPE its name.
 */
#define ITEMS ((int64_t)(SIMD_BYTES / sizeof(SUM)))

typedef SUM NAME(lanes) __attribute__((vector_size(SIMD_BYTES)));
typedef ITEM NAME(items) __attribute__((vector_size(SIMD_BYTES / sizeof(SUM) * sizeof(ITEM)), aligned(sizeof(ITEM))));

static inline NAME(lanes) NAME(load_items)(const ITEM *p)
{
    return __builtin_convertvector(*(const NAME(items) *)p, NAME(lanes));
}

static inline void NAME(store_items)(ITEM *p, NAME(lanes) v)
{
    *(NAME(items) *)p = __builtin_convertvector(v, NAME(items));
}

#if FLOATS
/* Load neighbouring values, or every second one in the order of `ordered`; nothing past the last of them is read. */
static inline NAME(lanes) NAME(load_columns)(const ITEM *p, const int every)
{
    const NAME(lanes) x = NAME(load_items)(p);
    return every == 1 ? x : SHUFFLE(x, NAME(load_items)(p + ITEMS - 1), NAME(OVERLAPPING_EVENS));
}

static inline NAME(lanes) NAME(ordered)(NAME(lanes) v)
{
    typedef double pieces __attribute__((vector_size(SIMD_BYTES)));
    const pieces p = (pieces)v;
    return (NAME(lanes))SHUFFLE(p, p, ORDER);
}

/* The epilogue of finished sums. */
typedef struct {
    int64_t applies, activation;
    NAME(lanes) bias, slope, zero;
    NAME(mask) leaks; /* whether negative values are scaled, not zero */
} NAME(finish);

static inline NAME(finish) NAME(finish_of)(const Sweep *s, const ITEM *bias, int64_t m, double parameter)
{
    return (NAME(finish)){
        .applies = s->activation <= LEAKY_RELU && (bias || s->activation),
        .activation = s->activation,
        .bias = (bias ? bias[m] : -(ITEM)0) - (NAME(lanes)){0}, /* -0, the zero that changes no value */
        .slope = (ITEM)parameter - (NAME(lanes)){0},
        .leaks = -(BITS)(s->activation == LEAKY_RELU) - (NAME(mask)){0},
    };
}

static inline NAME(lanes) NAME(finished)(NAME(lanes) v, const NAME(finish) *f)
{
    v += f->bias;
    if (f->activation) {
        const NAME(mask) low = v < f->zero, scaled = (NAME(mask))(f->slope * v) & f->leaks;
        v = (NAME(lanes))((scaled & low) | ((NAME(mask))v & ~low));
    }
    return v;
}
#else
static inline NAME(lanes) NAME(load_columns)(const ITEM *p, const int every) { return NAME(load_items)(p); }
#endif

#if PARTS == 2
/* Complex sums, from sums of both parts of the image times one part of the weights. */
static inline NAME(lanes) NAME(combined)(NAME(lanes) by_real, NAME(lanes) by_imaginary)
{
    static const SUM signs[] = {-1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1, 1};
    return by_real + NAME(load_items)(signs) * SHUFFLE(by_imaginary, by_imaginary, NAME(TURNED));
}
#endif

/* Add the products with `taps` weights of each of `kw` columns; the first weight reads `line` for row 0. */
static inline __attribute__((always_inline)) void NAME(add_run)(const int rows, const int across, const int stride,
                                                                const int every, const int taps, const Sweep *s,
                                                                int64_t kw, const ITEM *lines, const ITEM *weights,
                                                                const int64_t *shifts,
                                                                NAME(lanes) sum[MOST_ROWS][MOST_ACROSS][PARTS])
{
    const int64_t line_step = s->line, tap_step = s->tap, weight_step = s->kw * PARTS;
    for (int64_t j = 0; j < kw; j++) {
        const ITEM *line = lines + shifts[j], *weight = weights + j * PARTS;
        NAME(lanes) tap[TAPS][PARTS];
#define LOAD_TAP(i)                                                                  \
    UNROLL                                                                           \
    for (int part = 0; part < PARTS; part++)                                         \
        tap[i][part] = (SUM)weight[part] - (NAME(lanes)){0};                         \
    weight += weight_step;
#define ADD(r, v, i)                                                                 \
    UNROLL                                                                           \
    for (int part = 0; part < PARTS; part++)                                         \
        sum[r][v][part] += tap[i][part] * x;
        if (stride)
            UNROLL
            for (int l = 0; l < (rows - 1) * stride + taps; l++, line += line_step) {
                if (l < taps) {
                    LOAD_TAP(l)
                }
                UNROLL
                for (int v = 0; v < across; v++) {
                    NAME(lanes) x = NAME(load_columns)(line + v * every * ITEMS, every);
                    LOAD_ONCE(x);
                    UNROLL
                    for (int r = 0; r < rows; r++)
                        if (r * stride <= l && l < r * stride + taps)
                            ADD(r, v, l - r * stride)
                }
            }
        else
            UNROLL
            for (int i = 0; i < taps; i++, line += tap_step) {
                LOAD_TAP(i)
                UNROLL
                for (int r = 0; r < rows; r++) {
                    const NAME(lanes) x = NAME(load_columns)(line + r * line_step, every);
                    ADD(r, 0, i)
                }
            }
#undef LOAD_TAP
#undef ADD
    }
}

/* One block, whose first value reads `source`. `extent` is the kernel's, if it has one channel and it is a constant. */
static inline __attribute__((always_inline)) void NAME(block)(const int rows, const int across, const int stride,
                                                              const int every, const int extent, const Sweep *s,
                                                              const ITEM *source, const ITEM *weights,
                                                              const int64_t *shifts, const void *finish, ITEM *out)
{
    NAME(lanes) sum[MOST_ROWS][MOST_ACROSS][PARTS] = {0};
    if (extent)
        NAME(add_run)(rows, across, stride, every, extent, s, extent, source, weights, shifts, sum);
    for (int64_t c = extent ? s->channels : 0; c < s->channels; c++, source += s->channel) {
        const ITEM *lines = source;
        for (int64_t run = 0; run < s->runs; run++) {
            const int64_t taps = s->run - (run >= s->long_runs);
#define RUN(n)                                                                                              \
    case n:                                                                                                 \
        NAME(add_run)(rows, across, stride, every, n, s, s->kw, lines, weights, shifts, sum);               \
        break;
            switch (taps) {
                RUN(1)
                RUN(2)
#if PARTS == 1
                RUN(3)
                RUN(4)
                RUN(5)
#endif
            }
#undef RUN
            lines += taps * s->tap;
            weights += taps * s->kw * PARTS;
        }
    }
    /* The epilogue's constants, even zeros, must not be loaded earlier: they would take registers from the sums. */
    __asm__ volatile("" : "+r"(finish));
    UNROLL
    for (int r = 0; r < rows; r++) {
        UNROLL
        for (int v = 0; v < across; v++) {
            NAME(lanes) total = sum[r][v][0];
#if PARTS == 2
            total = NAME(combined)(total, sum[r][v][1]);
#elif FLOATS
            if (every == 2)
                total = NAME(ordered)(total);
            if (((const NAME(finish) *)finish)->applies)
                total = NAME(finished)(total, finish);
#endif
            NAME(store_items)(out + v * ITEMS, total);
        }
        out += s->out_vector;
    }
}

static inline __attribute__((always_inline)) void NAME(blocks)(const int rows, const int across, const int stride,
                                                               const int every, const int extent,
                                                               const Sweep *given, const ITEM *source,
                                                               const ITEM *weights, const int64_t *shifts,
                                                               const void *finish, ITEM *out)
{
    const Sweep own = *given, *s = &own; /* a copy that no store can change */
    const int64_t row_step = s->flat ? 1 : rows, col_step = (s->flat ? rows : across) * ITEMS;
    for (int64_t r = 0; r < s->rows; r += row_step) {
        r = r < s->rows - row_step ? r : s->rows - row_step;
        for (int64_t q = 0; q < s->cols; q += col_step) {
            q = q < s->cols - col_step ? q : s->cols - col_step;
            NAME(block)(rows, across, stride, every, extent, s, source + r * s->row + q * every, weights, shifts,
                        finish, out + r * s->out_row + q);
        }
    }
}

/* The sweeps, by block, lines between rows, values between columns, and the extent of kernels of one channel if that is
 * a constant; the first that fits is taken. Each is a function of its own: in a function with several, sums are
 * spilled. */
#if PARTS == 2
#define SWEEPS(X) X(low, 4, 1, 1, 1, 0) X(low_apart, 4, 1, 0, 1, 0)
#else
#define DENSE_SWEEPS(X)             \
    X(wide, WIDE_ROWS, 2, 1, 1, 0)      \
    X(high, 8, 1, 1, 1, 0)              \
    X(low, 4, 1, 1, 1, 0)               \
    X(high_apart, 8, 1, 0, 1, 0)        \
    X(low_apart, 4, 1, 0, 1, 0)
#if FLOATS
/* Planes of 7 and 14 rows, which no block of 8 or 4 fits, are common. Blocks of 3 rows are for lines that crowd each
 * other out of L1. */
#define SWEEPS(X)                   \
    X(wide_3, WIDE_3_ROWS, 2, 1, 1, 3)  \
    X(low_wide_3, 3, 4, 1, 1, 3)        \
    DENSE_SWEEPS(X)                 \
    X(seven, 7, 1, 1, 1, 0)             \
    X(high_even, 8, 1, 2, 2, 0)         \
    X(seven_even, 7, 1, 2, 2, 0)        \
    X(low_even, 4, 1, 2, 2, 0)          \
    X(high_apart_even, 8, 1, 0, 2, 0)   \
    X(low_apart_even, 4, 1, 0, 2, 0)
#else
#define SWEEPS(X) X(wide_3, WIDE_ROWS, 2, 1, 1, 3) DENSE_SWEEPS(X)
#endif
#endif

#define DEFINE(name, rows, across, stride, every, extent)                                                    \
    static __attribute__((noinline)) void NAME(name)(const Sweep *s, const ITEM *source, const ITEM *weights, \
                                                     const int64_t *shifts, const void *finish, ITEM *out)   \
    {                                                                                                        \
        NAME(blocks)(rows, across, stride, every, extent, s, source, weights, shifts, finish, out);          \
    }
SWEEPS(DEFINE)

/* A sweep (kernels/sweep.pyx): a rectangle of the output planes begin <= m < end, at least as large as a block. */
static void NAME(filter)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                         int64_t worker)
{
    const Sweep *s = (const Sweep *)ints;
    const int64_t *shifts = arrays[4];
    for (int64_t m = begin; m < end; m++) {
        const ITEM *weights = (const ITEM *)arrays[1] + m * s->weights;
        ITEM *out = (ITEM *)arrays[2] + (m - begin) * s->out_plane;
#if FLOATS
        const NAME(finish) given = NAME(finish_of)(s, arrays[3], m, scalars[0]), *finish = &given;
#else
        const void *finish = 0;
#endif
#define IF_IT_IS(name, r, v, st, ev, extent)                                                                    \
    if (s->block_rows == r && s->across == v && s->stride == st && s->every == ev &&                            \
        (!extent || (s->runs == 1 && s->run == extent && s->kw == extent && s->channels == 1))) {               \
        NAME(name)(s, arrays[0], weights, shifts, finish, out);                                                 \
        continue;                                                                                               \
    }
        SWEEPS(IF_IT_IS)
#undef IF_IT_IS
    }
}

#undef DEFINE
#undef SWEEPS
#undef DENSE_SWEEPS
#undef ITEMS
