/* Depthwise convolution of images with channels last, which are read and written where they lie.
 *
 *   out[r, q, c] = epilogue(sum_{i, j} weight[c, i, j] * x[r * sh - pt + i * dh, q * sw - pl + j * dw, c])
 *
 * A block is a few neighbouring positions of a row and two vectors of channels, whose sums stay in registers:
 *
 *                    columns of the image          For each row of taps, each column is loaded once for all
 *                  +----+----+----+----+----+      positions that see it.
 *   row of taps i  | x0 | x1 | x2 | x3 | ...|
 *                  +----+----+----+----+----+      sum[p] += tap[j] * x[p * sw + j]
 *
 * Blocks run along the channels, so memory is read and written in order, at as many places as a block has columns.
 * Going along a row with one vector, whose columns are then loaded once and not from two blocks, was slower: it leaps
 * from page to page. One vector with eight positions was, too: a cache line holds two, and was gone before the second.
 * Two rows of four positions were, which read each line of the image twice and not three times.
 *
 * Large filters see each value of the image many times. The rows of a few channels are gathered for them, to stay in L1
 * (`ring`), and so are those of images whose columns lie a multiple of a page apart and would share places there.
 *
 * Rows of padding are read from a line of zeros, and columns of padding are not read: zeros take part in the sums as
 * those of a strip do, in the same order (interleaved.h), so the bits are the same.
 */
#define DEPTHWISE_ARGUMENTS(X)                                               \
    WINDOW_FIELDS(X)                                                         \
    X(channels)     /* channels of a tile: whole vectors, or all there are */ \
    X(across)       /* tiles across the channels, the last of which has the rest */ \
    X(gathered)     /* whether the rows that a tile sees are gathered first */ \
    X(activation)   /* code of the activation */                             \
    X(out_image)    /* values of the output from one image to the next */    \
    X(out_row)      /* values of the output from one row to the next */      \
    X(out_position) /* values of the output from one position to the next */
ARGUMENTS(Depthwise, DEPTHWISE_ARGUMENTS);

/* The most positions of a block, and its vectors: eight sums, six taps of 3 x 3 filters and a column fill 16 registers. */
#define MOST_POSITIONS 4
#define MOST_VECTORS 2

typedef struct {
    const REAL **lines; /* for each row of taps, column 0 of the image at the first channel of the tile */
    const REAL **block; /* and the first column of a block */
    int64_t *steps;     /* values from a column to the next: 0 in rows of padding */
    REAL *zeros;
    REAL *ring; /* the rows of the image that an output row sees, in the channels of a tile: row h at h % span */
    int64_t span, bytes;
} NAME(depthwise_parts);

/* The channels of the last tile, which has the most. */
static inline int64_t NAME(last_channels)(const Depthwise *a) { return a->oc - (a->across - 1) * a->channels; }

static NAME(depthwise_parts) NAME(depthwise_layout)(const Depthwise *a, char *memory)
{
    Scratch s = {memory, 0};
    NAME(depthwise_parts) parts;
    parts.lines = take(&s, a->kh * sizeof(REAL *));
    parts.block = take(&s, a->kh * sizeof(REAL *));
    parts.steps = take(&s, a->kh * sizeof(int64_t));
    parts.zeros = take(&s, NAME(last_channels)(a) * sizeof(REAL));
    parts.span = (a->kh - 1) * a->dh + 1;
    parts.ring = take(&s, a->gathered ? parts.span * a->iw * NAME(last_channels)(a) * sizeof(REAL) : 0);
    parts.bytes = s.bytes;
    return parts;
}

static int64_t NAME(depthwise_scratch)(const int64_t *ints)
{ return NAME(depthwise_layout)((const Depthwise *)ints, 0).bytes; }

typedef struct {
    const REAL *const *lines;
    const int64_t *steps;
    int64_t kh, kw, sw, dw;
    int64_t begin, inside; /* of the columns that the block sees: the first one in the image, and how many are */
    const REAL *zeros;
    int64_t at, channels;  /* the first channel, and how many: a multiple of the block's vectors */
    const REAL *filters;
    int64_t filter;        /* values of the filters from one vector of channels to the next */
    REAL *out;
    int64_t out_position;
    const REAL *bias;
    NAME(finish) finish;
} NAME(depthwise_run);

/* Where column `t` of a block is read from: zeros, if the block has columns of padding and that is one of them. (A vector
 * of zeros in place of the load would cost as much, and keep compilers from fusing multiply-adds.) */
static inline __attribute__((always_inline)) const REAL *NAME(column)(const int padded, const NAME(depthwise_run) *run,
                                                                      int64_t t, const REAL *at)
{ return padded && (uint64_t)(t - run->begin) >= (uint64_t)run->inside ? run->zeros : at; }

/* Add what row `i` of the taps sees to the sums of a block, whose filters begin at `weight` and image at `at`. */
static inline __attribute__((always_inline)) void NAME(depthwise_row)(const int64_t kh, const int kw, const int sw,
                                                                      const int positions, const int vectors,
                                                                      const int padded,
                                                                      const NAME(depthwise_run) *run, int64_t i,
                                                                      const REAL *weight, const REAL *at,
                                                                      VECTOR sum[][MOST_VECTORS])
{
    const int64_t step = run->steps[i], filter = run->filter;
    if (kw) {
        UNROLL
        for (int t = 0; t < (positions - 1) * sw + kw; t++, at += step) {
            const REAL *column = NAME(column)(padded, run, t, at);
            /* What the next block sees, and no row before did. */
            if (i >= kh - sw && t >= kw - sw)
                __builtin_prefetch(at + positions * sw * step);
            VECTOR x[MOST_VECTORS];
            UNROLL
            for (int v = 0; v < vectors; v++) {
                x[v] = NAME(load)(column + v * LANES);
                LOAD_ONCE(x[v]);
            }
            UNROLL
            for (int p = 0; p < positions; p++)
                if (t >= p * sw && t < p * sw + kw)
                    UNROLL
                    for (int v = 0; v < vectors; v++)
                        sum[p][v] += NAME(load)(weight + v * filter + (t - p * sw) * LANES) * x[v];
        }
    } else
        for (int64_t j = 0; j < run->kw; j++, at += run->dw * step) {
            VECTOR tap[MOST_VECTORS];
            UNROLL
            for (int v = 0; v < vectors; v++)
                tap[v] = NAME(load)(weight + v * filter + j * LANES);
            UNROLL
            for (int p = 0; p < positions; p++) {
                const int64_t t = j * run->dw + p * run->sw;
                const REAL *column = NAME(column)(padded, run, t, at + p * run->sw * step);
                UNROLL
                for (int v = 0; v < vectors; v++)
                    sum[p][v] += tap[v] * NAME(load)(column + v * LANES);
            }
        }
}

/* The sums of `positions` by `vectors`, for all channels of the run. Extents of the kernel that are not 0 are constants,
 * and with `kw` so is the stride, and columns of taps are neighbours. (Twelve sums, as a register tile of gemm.h has,
 * leave no registers for columns: wide windows then took 1.1 to 1.4 times as long, since each multiply-add reads the
 * image.) */
static inline __attribute__((always_inline)) void NAME(depthwise_block)(const int high, const int kw, const int sw,
                                                                        const int positions, const int vectors,
                                                                        const int padded,
                                                                        const NAME(depthwise_run) *run)
{
    const NAME(finish) *finish = &run->finish;
    const int64_t kh = high ? high : run->kh, taps = kw ? kw : run->kw;
    const int64_t past = run->at + run->channels;
    const REAL *weight = run->filters;
    for (int64_t c = run->at; c < past; c += vectors * LANES, weight += (vectors - 1) * run->filter) {
        VECTOR sum[MOST_POSITIONS][MOST_VECTORS];
        UNROLL
        for (int p = 0; p < positions; p++) {
            /* Where the next block is written: a line per position, too many for the hardware to follow. */
            __builtin_prefetch(run->out + c + (positions + p) * run->out_position, 1);
            UNROLL
            for (int v = 0; v < vectors; v++)
                sum[p][v] = (VECTOR){0};
        }
        if (high)
            UNROLL
            for (int i = 0; i < high; i++, weight += taps * LANES)
                NAME(depthwise_row)(kh, kw, sw, positions, vectors, padded, run, i, weight, run->lines[i] + c, sum);
        else
            for (int64_t i = 0; i < kh; i++, weight += taps * LANES)
                NAME(depthwise_row)(kh, kw, sw, positions, vectors, padded, run, i, weight, run->lines[i] + c, sum);
        /* The epilogue's constants must not be loaded earlier: they would take registers from the sums. */
        __asm__ volatile("" : "+r"(finish));
        REAL *out = run->out + c;
        if (finish->applies) {
            UNROLL
            for (int v = 0; v < vectors; v++) {
                NAME(finish) own = *finish;
                if (run->bias)
                    own.bias = NAME(load)(run->bias + c + v * LANES);
                UNROLL
                for (int p = 0; p < positions; p++)
                    sum[p][v] = NAME(finished)(sum[p][v], &own);
            }
        }
        UNROLL
        for (int p = 0; p < positions; p++, out += run->out_position)
            UNROLL
            for (int v = 0; v < vectors; v++)
                NAME(store)(out + v * LANES, sum[p][v]);
    }
}

typedef void NAME(depthwise_kernel)(const NAME(depthwise_run) *run);

/* The windows that kernels are compiled for: X(kh, kw, sw), where 0 is any. The last one computes all the others, too. */
#define WINDOWS(X) \
    X(0, 1, 1) X(3, 3, 1) X(3, 3, 2) X(0, 5, 1) X(0, 5, 2) X(0, 7, 1) X(0, 9, 1) X(0, 0, 0)

#define OF(kh, kw, sw, positions, vectors, padded) \
    NAME(depthwise_##kh##x##kw##_##sw##_##positions##x##vectors##_##padded)
#define DEFINE(kh, kw, sw, positions, vectors, padded)                                                                \
    static __attribute__((noinline)) void OF(kh, kw, sw, positions, vectors, padded)(const NAME(depthwise_run) *run) \
    { NAME(depthwise_block)(kh, kw, sw, positions, vectors, padded, run); }
#define DEFINE_ALL(kh, kw, sw)                                          \
    DEFINE(kh, kw, sw, 1, 1, 1) DEFINE(kh, kw, sw, 2, 1, 1)             \
    DEFINE(kh, kw, sw, 3, 1, 1) DEFINE(kh, kw, sw, 4, 1, 1)             \
    DEFINE(kh, kw, sw, 1, 2, 1) DEFINE(kh, kw, sw, 2, 2, 1)             \
    DEFINE(kh, kw, sw, 3, 2, 1) DEFINE(kh, kw, sw, 4, 2, 1)             \
    DEFINE(kh, kw, sw, 4, 2, 0)
WINDOWS(DEFINE_ALL)

typedef struct {
    int64_t kh, kw, sw;
    NAME(depthwise_kernel) *padded[MOST_VECTORS][MOST_POSITIONS], *inside;
} NAME(depthwise_kernels);

#define LISTED(kh, kw, sw)                                                                                           \
    {kh, kw, sw,                                                                                                     \
     {{OF(kh, kw, sw, 1, 1, 1), OF(kh, kw, sw, 2, 1, 1), OF(kh, kw, sw, 3, 1, 1), OF(kh, kw, sw, 4, 1, 1)},          \
      {OF(kh, kw, sw, 1, 2, 1), OF(kh, kw, sw, 2, 2, 1), OF(kh, kw, sw, 3, 2, 1), OF(kh, kw, sw, 4, 2, 1)}},         \
     OF(kh, kw, sw, 4, 2, 0)},
static const NAME(depthwise_kernels) NAME(depthwise_tables)[] = {WINDOWS(LISTED)};

/* The first kernels that compute a window. */
static const NAME(depthwise_kernels) *NAME(depthwise_kernels_of)(const Depthwise *a)
{
    const NAME(depthwise_kernels) *of = NAME(depthwise_tables);
    while (of->kw && (of->kw != a->kw || of->sw != a->sw || a->dw != 1 || (of->kh && of->kh != a->kh)))
        of++;
    return of;
}

/* A block of positions, in all channels of a tile. The last channels, if they do not fill a vector, are computed together
 * with some of those before them. */
static void NAME(depthwise_channels)(const Depthwise *a, const NAME(depthwise_kernels) *kernels, int64_t positions,
                                     int64_t channels, NAME(depthwise_run) *run)
{
    const int64_t pairs = channels / (2 * LANES) * (2 * LANES);
    const int64_t columns = (positions - 1) * a->sw + (a->kw - 1) * a->dw + 1;
    const REAL *filters = run->filters;
    NAME(depthwise_kernel) *compute = kernels->padded[1][positions - 1];
    if (positions == MOST_POSITIONS && run->begin <= 0 && run->begin + run->inside >= columns)
        compute = kernels->inside;
    run->at = 0;
    run->channels = pairs;
    compute(run);
    run->channels = LANES;
    for (int64_t c = pairs; c < channels; c += LANES) {
        run->at = c < channels - LANES ? c : channels - LANES;
        run->filters = filters + c / LANES * run->filter;
        kernels->padded[0][positions - 1](run);
    }
    run->filters = filters;
}

/* Gather the rows begin <= h < end of the image, in `channels` channels. */
static void NAME(gather_rows)(const Depthwise *a, const REAL *image, int64_t begin, int64_t end, int64_t channels,
                              const NAME(depthwise_parts) *own)
{
    for (int64_t h = begin; h < end; h++) {
        const REAL *source = image + h * a->xh;
        REAL *target = own->ring + h % own->span * a->iw * channels;
        for (int64_t q = 0; q < a->iw; q++, source += a->xw, target += channels)
            NAME(copy_run)(source, channels, target);
    }
}

/* Tile: a row of output positions and some channels; the rows of the same channels follow each other. There are as many
 * channels as a vector has lanes, or more, and those of a position are neighbours. arrays: x, weight (packed by
 * interleave_filters), bias or null, out, scratch. scalars: the activation's parameter. */
static void NAME(depthwise)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                            int64_t worker)
{
    const Depthwise *a = (const Depthwise *)ints;
    const REAL *bias = arrays[2];
    const NAME(depthwise_parts) own =
        NAME(depthwise_layout)(a, (char *)arrays[4] + worker * NAME(depthwise_scratch)(ints));
    const NAME(depthwise_kernels) *const kernels = NAME(depthwise_kernels_of)(a);
    /* Blocks at both ends, which see padding anyway, have fewer positions if these do not make whole blocks. */
    const int64_t blocks = (a->ow + MOST_POSITIONS - 1) / MOST_POSITIONS;
    const int64_t lacking = (blocks * MOST_POSITIONS - a->ow + 1) / 2;
    NAME(depthwise_run) run = {
        .lines = own.block,
        .steps = own.steps,
        .kh = a->kh,
        .kw = a->kw,
        .sw = a->sw,
        .dw = a->dw,
        .inside = a->iw,
        .zeros = own.zeros,
        .filter = a->kh * a->kw * LANES,
        .out_position = a->out_position,
        .finish = {
            .applies = bias || (a->activation && a->activation <= LEAKY_RELU),
            .activation = a->activation <= LEAKY_RELU ? a->activation : 0,
            .bias = NAME(broadcast)(-(REAL)0), /* the zero that changes no value */
            .slope = NAME(broadcast)((REAL)scalars[0]),
            .leaks = -(BITS)(a->activation == LEAKY_RELU) - (NAME(mask)){0},
        },
    };
    memset(own.zeros, 0, NAME(last_channels)(a) * sizeof(REAL));
    int64_t unasked = 0, seen = 0; /* rows that were gathered */
    for (int64_t tile = begin; tile < end; tile++) {
        const int64_t r = tile % a->oh, part = tile / a->oh % a->across, n = tile / a->oh / a->across;
        const int64_t c0 = part * a->channels, channels = part < a->across - 1 ? a->channels : NAME(last_channels)(a);
        unasked += channels * a->ow * (a->kh * a->kw + 1) / LANES;
        if (unasked > PRODUCTS_UNASKED) {
            unasked = 0;
            if (stops(arrays, worker))
                return;
        }
        const int64_t top = r * a->sh - a->pt, past = top + own.span < a->ih ? top + own.span : a->ih;
        const REAL *image = (const REAL *)arrays[0] + n * a->xn + c0;
        if (a->gathered) {
            seen = tile == begin || r == 0 || seen < top ? (top < 0 ? 0 : top) : seen;
            NAME(gather_rows)(a, image, seen, past, channels, &own);
            seen = seen < past ? past : seen;
        }
        for (int64_t i = 0; i < a->kh; i++) {
            const int64_t h = top + i * a->dh;
            const REAL *line = a->gathered ? own.ring + h % own.span * a->iw * channels : image + h * a->xh;
            own.lines[i] = h >= 0 && h < a->ih ? line : own.zeros;
            own.steps[i] = h >= 0 && h < a->ih ? (a->gathered ? channels : a->xw) : 0;
        }
        run.filters = (const REAL *)arrays[1] + c0 / LANES * run.filter;
        run.bias = bias ? bias + c0 : 0;
        REAL *const row = (REAL *)arrays[3] + n * a->out_image + r * a->out_row + c0;
        for (int64_t block = 0, next = 0; block < blocks; block++) {
            const int64_t q = next, first = q * a->sw - a->pl;
            next = block < blocks - 1 ? (block + 1) * MOST_POSITIONS - lacking : a->ow;
            for (int64_t i = 0; i < a->kh; i++)
                own.block[i] = own.lines[i] + first * own.steps[i];
            run.begin = -first;
            run.out = row + q * a->out_position;
            NAME(depthwise_channels)(a, kernels, next - q, channels, &run);
        }
        if (a->activation > LEAKY_RELU)
            for (int64_t q = 0; q < a->ow; q++) {
                REAL *values = row + q * a->out_position;
                NAME(activate)(values, values, channels, 0, a->activation, scalars);
            }
    }
}

#undef DEFINE
#undef DEFINE_ALL
#undef OF
#undef LISTED
#undef WINDOWS
