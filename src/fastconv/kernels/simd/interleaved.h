/* Convolution with few channels per group, whose vectors lie across the output channels.
 *
 *   out[m, r, q] = epilogue(sum_{c, i, j} weight[m, c, i, j] * x[m / ocg * icg + c, r * sh - pt + i * dh,
 *                                                              q * sw - pl + j * dw])
 *
 * The image is interleaved: a position of the strip is a vector, of which lane l holds the channel that output channel
 * m + l sees.
 *
 *   planes        a0 a1 a2 ...   b0 b1 b2 ...   c0 c1 c2 ...
 *   strip         a0 b0 c0 ...   a1 b1 c1 ...   a2 b2 c2 ...        zeros around them
 *
 * A tap is then one vector multiply-add per position, whatever its stride and dilation: nothing is shuffled, no row is
 * too short to fill vectors, and all vectors are aligned. This suits small planes, whose rows are no multiple of a
 * vector, and strides. The price is to transpose the image on reading and the output on writing; neither is transposed
 * if its channels are side by side in memory. (Depthwise layers of such images need no strips: depthwise.h.)
 *
 * Filters are interleaved in the same way, once for all tiles.
 */
#define INTERLEAVED_ARGUMENTS(X)                                             \
    WINDOW_FIELDS(X)                                                         \
    X(rows)         /* rows of a tile */                                     \
    X(cols)         /* columns of a tile */                                  \
    X(down)         /* tiles from the top to the bottom of a plane */        \
    X(across)       /* tiles from its left to its right */                   \
    X(activation)   /* code of the activation */                             \
    X(out_image)    /* values of the output from one image to the next */    \
    X(out_plane)    /* values of the output from one channel to the next */  \
    X(out_row)      /* values of the output from one row to the next */      \
    X(out_position) /* values of the output from one position to the next */
ARGUMENTS(Interleaved, INTERLEAVED_ARGUMENTS);

/* The most sums of a block: with a weight and a product they fill 16 registers. */
#define MOST_COLUMNS 14

/* Multiply-adds between two checks whether to stop: some 10 µs. */
#define PRODUCTS_UNASKED 32768

typedef struct {
    REAL *strip;    /* (icg, lines, pitch, LANES) */
    REAL *sums;     /* (rows, cols, LANES) */
    int64_t *shift; /* of each tap in the strip */
    int64_t lines, pitch, bytes;
} NAME(interleaved_parts);

static NAME(interleaved_parts) NAME(interleaved_layout)(const Interleaved *a, char *memory)
{
    Scratch s = {memory, 0};
    NAME(interleaved_parts) parts;
    const int64_t icg = a->ic / a->g, taps = icg * a->kh * a->kw;
    parts.lines = (a->rows - 1) * a->sh + (a->kh - 1) * a->dh + 1;
    parts.pitch = (a->cols - 1) * a->sw + (a->kw - 1) * a->dw + 1;
    parts.strip = take(&s, icg * parts.lines * parts.pitch * SIMD_BYTES);
    parts.sums = take(&s, a->rows * a->cols * SIMD_BYTES);
    parts.shift = take(&s, taps * sizeof(int64_t));
    parts.bytes = s.bytes;
    return parts;
}

static int64_t NAME(interleaved_scratch)(const int64_t *ints)
{ return NAME(interleaved_layout)((const Interleaved *)ints, 0).bytes; }

/* A vector of neighbouring values of every PIECE-th of LANES lines. */
static inline __attribute__((always_inline)) VECTOR NAME(join_pieces)(const REAL *const lines[], int64_t at)
{
#if SIMD_BYTES == 16
    return NAME(load)(lines[0] + at);
#elif !defined(JOINED)
    REAL joined[SIMD_BYTES / sizeof(REAL)];
    for (int64_t lane = 0; lane < LANES; lane++)
        joined[lane] = lines[lane / PIECE * PIECE][at + lane % PIECE];
    return NAME(load)(joined);
#else
    const NAME(piece) a = *(const NAME(piece) *)(lines[0] + at), b = *(const NAME(piece) *)(lines[PIECE] + at);
#if SIMD_BYTES == 32
    return JOINED(a, b, NAME(VALUES));
#else
    const NAME(piece) c = *(const NAME(piece) *)(lines[2 * PIECE] + at);
    const NAME(piece) d = *(const NAME(piece) *)(lines[3 * PIECE] + at);
    return JOINED(JOINED(a, b, NAME(HALF)), JOINED(c, d, NAME(HALF)), NAME(VALUES));
#endif
#endif
}

/* target[i][lane] = lines[lane][begin + i * apart] for i < count. */
static __attribute__((noinline)) void NAME(interleave_apart)(const REAL *const lines[], int64_t begin, int64_t count,
                                                             int64_t apart, REAL *target)
{
    for (int64_t i = 0; i < count; i++)
        for (int64_t lane = 0; lane < LANES; lane++)
            target[i * LANES + lane] = lines[lane][begin + i * apart];
}

/* Likewise with neighbouring values. Vectors are joined in registers: joined in memory, they took twice as long. */
static inline __attribute__((always_inline)) void NAME(interleave)(const REAL *const lines[], int64_t begin,
                                                                   int64_t count, REAL *target)
{
    if (count < PIECE) {
        NAME(interleave_apart)(lines, begin, count, 1, target);
        return;
    }
    for (int64_t i = 0; i < count; i += PIECE) {
        VECTOR row[PIECE];
        i = i < count - PIECE ? i : count - PIECE;
        UNROLL
        for (int j = 0; j < PIECE; j++)
            row[j] = NAME(join_pieces)(lines + j, begin + i);
        NAME(turn_pieces)(row);
        UNROLL
        for (int j = 0; j < PIECE; j++)
            NAME(store)(target + (i + j) * LANES, row[j]);
    }
}

#define INTERLEAVE_FILTERS_ARGUMENTS(X) \
    X(oc)                               \
    X(taps) /* weights of a filter */
ARGUMENTS(InterleaveFilters, INTERLEAVE_FILTERS_ARGUMENTS);

/* Blocks of LANES filters. */
static int64_t NAME(interleave_filters_packed)(const int64_t *ints)
{
    const InterleaveFilters *a = (const InterleaveFilters *)ints;
    return (a->oc + LANES - 1) / LANES * a->taps * SIMD_BYTES;
}

/* The first filter of a block that has LANES of them: the last block begins with some of those before it. */
static inline int64_t NAME(first_of_block)(int64_t block, int64_t oc)
{
    const int64_t m = block * LANES;
    return m <= oc - LANES ? m : oc < LANES ? 0 : oc - LANES;
}

/* Tile: a block of filters. Lanes without a filter hold the last one. arrays: weight (oc, taps), packed. */
static void NAME(interleave_filters)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin,
                                     int64_t end, int64_t worker)
{
    const InterleaveFilters *a = (const InterleaveFilters *)ints;
    for (int64_t block = begin; block < end; block++) {
        const REAL *filters[SIMD_BYTES / sizeof(REAL)];
        for (int64_t lane = 0; lane < LANES; lane++) {
            const int64_t m = NAME(first_of_block)(block, a->oc) + lane;
            filters[lane] = (const REAL *)arrays[0] + (m < a->oc ? m : a->oc - 1) * a->taps;
        }
        NAME(interleave)(filters, 0, a->taps, (REAL *)arrays[1] + block * a->taps * LANES);
    }
}

/* Interleave the part of a channel that a tile sees, from line `top` and column `left` of the image on. The zeros around
 * the image are there already. */
static void NAME(interleave_plane)(const Interleaved *a, const REAL *const from[], int64_t lines, int64_t pitch,
                                   int64_t top, int64_t left, int side_by_side, REAL *strip)
{
    const int64_t begin = left < 0 ? 0 : left, end = left + pitch < a->iw ? left + pitch : a->iw;
    const int64_t count = end - begin;
    for (int64_t line = top < 0 ? -top : 0; line < lines && top + line < a->ih; line++) {
        REAL *target = strip + (line * pitch + begin - left) * LANES;
        const int64_t at = (top + line) * a->xh + begin * a->xw;
        if (side_by_side)
            for (int64_t i = 0; i < count; i++)
                NAME(store)(target + i * LANES, NAME(load)(from[0] + at + i * a->xw));
        else if (a->xw == 1)
            NAME(interleave)(from, at, count, target);
        else
            NAME(interleave_apart)(from, at, count, a->xw, target);
    }
}

typedef struct {
    int64_t taps, rows, cols;
    int64_t down, step; /* values of the strip from the window of one row, and of one position, to the next */
    const REAL *strip, *filters;
    const int64_t *shift;
    REAL *sums;
    NAME(finish) finish;
    void **arrays; /* to ask whether to stop */
    int64_t worker;
} NAME(interleaved_tile);

/* The sums of a tile, in blocks of `high` rows and `wide` columns; the last ones overlap those before them. `stride` is
 * that across, if it is a constant. Returns whether to stop. */
static inline __attribute__((always_inline)) int NAME(interleaved_blocks)(const int high, const int wide,
                                                                          const int stride,
                                                                          const NAME(interleaved_tile) *given)
{
    const NAME(interleaved_tile) own = *given, *t = &own; /* a copy that no store can change */
    const int64_t step = stride ? stride * LANES : t->step;
    int64_t unasked = 0;
    for (int64_t r = 0; r < t->rows; r += high) {
        r = r < t->rows - high ? r : t->rows - high;
        for (int64_t q = 0; q < t->cols; q += wide) {
            q = q < t->cols - wide ? q : t->cols - wide;
            const REAL *source = t->strip + r * t->down + q * step, *weight = t->filters;
            const NAME(finish) *finish = &given->finish;
            VECTOR sum[MOST_COLUMNS] = {0};
            for (int64_t k = 0; k < t->taps; k++, weight += LANES) {
                const VECTOR tap = NAME(load)(weight);
                const REAL *row = source + t->shift[k];
                UNROLL
                for (int i = 0; i < high; i++, row += t->down) {
                    const REAL *at = row;
                    UNROLL
                    for (int j = 0; j < wide; j++, at += step)
                        sum[i * wide + j] += tap * NAME(load)(at);
                }
            }
            /* The epilogue's constants must not be loaded earlier: they would take registers from the sums. */
            __asm__ volatile("" : "+r"(finish));
            REAL *out = t->sums + (r * t->cols + q) * LANES;
            UNROLL
            for (int i = 0; i < high; i++, out += t->cols * LANES)
                UNROLL
                for (int j = 0; j < wide; j++) {
                    const VECTOR total = sum[i * wide + j];
                    NAME(store)(out + j * LANES, finish->applies ? NAME(finished)(total, finish) : total);
                }
        }
        unasked += high * t->cols * t->taps;
        if (unasked > PRODUCTS_UNASKED) {
            unasked = 0;
            if (stops(t->arrays, t->worker))
                return 1;
        }
    }
    return 0;
}

typedef int NAME(interleaved_kernel)(const NAME(interleaved_tile) *t);

/* Blocks of as many rows and columns. Narrow planes have blocks of several rows, or sums would wait for one another. */
#define BLOCKS_OF(X, stride)                                                                                \
    X(7, 1, stride) X(7, 2, stride) X(4, 3, stride) X(3, 4, stride) X(2, 5, stride) X(2, 6, stride)         \
    X(2, 7, stride) X(1, 8, stride) X(1, 9, stride) X(1, 10, stride) X(1, 11, stride) X(1, 12, stride)      \
    X(1, 13, stride) X(1, 14, stride)                                                                       \
    X(1, 1, stride) X(1, 2, stride) X(1, 3, stride) X(1, 4, stride) X(1, 5, stride) X(1, 6, stride) X(1, 7, stride)
#define INTERLEAVED_BLOCKS(X) BLOCKS_OF(X, 0) BLOCKS_OF(X, 1) BLOCKS_OF(X, 2)

#define DEFINE(high, wide, stride)                                                                                     \
    static __attribute__((noinline)) int NAME(interleaved_##high##x##wide##_##stride)(                                  \
        const NAME(interleaved_tile) *t)                                                                               \
    { return NAME(interleaved_blocks)(high, wide, stride, t); }
INTERLEAVED_BLOCKS(DEFINE)

/* The first kernel in the list whose blocks fit into a tile and divide its columns with least overlap. */
static NAME(interleaved_kernel) *NAME(interleaved_kernel_of)(int64_t rows, int64_t cols, int64_t stride)
{
    const int64_t parts = (cols + MOST_COLUMNS - 1) / MOST_COLUMNS, columns = (cols + parts - 1) / parts;
    const int64_t constant = stride <= 2 ? stride : 0;
#define IF_IT_IS(high, wide, stride)                                \
    if (high <= rows && wide == columns && stride == constant)      \
        return NAME(interleaved_##high##x##wide##_##stride);
    INTERLEAVED_BLOCKS(IF_IT_IS)
#undef IF_IT_IS
    return 0;
}

/* Write `count` positions of `channels` interleaved sums. */
static void NAME(separate)(const Interleaved *a, REAL *sums, int64_t count, int64_t channels, REAL *out)
{
    if (channels == LANES && a->out_plane == 1)
        for (int64_t i = 0; i < count; i++)
            NAME(store)(out + i * a->out_position, NAME(load)(sums + i * LANES));
    else if (channels == LANES && a->out_position == 1 && count >= PIECE)
        for (int64_t i = 0; i < count; i += PIECE) {
            VECTOR row[PIECE];
            i = i < count - PIECE ? i : count - PIECE;
            UNROLL
            for (int j = 0; j < PIECE; j++)
                row[j] = NAME(load)(sums + (i + j) * LANES);
            NAME(turn_pieces)(row);
            UNROLL
            for (int j = 0; j < PIECE; j++)
                UNROLL
                for (int part = 0; part < PIECES; part++) {
                    REAL *plane = out + (part * PIECE + j) * a->out_plane;
                    *(NAME(piece) *)(plane + i) = ((const NAME(piece) *)&row[j])[part];
                }
        }
    else
        for (int64_t i = 0; i < count; i++)
            for (int64_t m = 0; m < channels; m++)
                out[m * a->out_plane + i * a->out_position] = sums[i * LANES + m];
}

/* Tile: LANES output channels of a part of a plane; those of the same part follow each other. arrays: x, weight (packed by
 * interleave_filters), bias or null, out, scratch. scalars: the activation's parameter. */
static void NAME(interleaved)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                              int64_t worker)
{
    const Interleaved *a = (const Interleaved *)ints;
    const REAL *bias = arrays[2];
    const int64_t icg = a->ic / a->g, ocg = a->oc / a->g, blocks = (a->oc + LANES - 1) / LANES;
    const int64_t taps = icg * a->kh * a->kw;
    char *memory = (char *)arrays[4] + worker * NAME(interleaved_scratch)(ints);
    const NAME(interleaved_parts) own = NAME(interleaved_layout)(a, memory);
    const int64_t plane = own.lines * own.pitch * LANES;
    for (int64_t k = 0; k < taps; k++) {
        const int64_t c = k / (a->kh * a->kw), i = k / a->kw % a->kh, j = k % a->kw;
        own.shift[k] = c * plane + (i * a->dh * own.pitch + j * a->dw) * LANES;
    }
    NAME(interleaved_tile) tile = {
        .taps = taps,
        .down = a->sh * own.pitch * LANES,
        .step = a->sw * LANES,
        .strip = own.strip,
        .shift = own.shift,
        .sums = own.sums,
        .finish = {
            .applies = a->activation <= LEAKY_RELU && (bias || a->activation),
            .activation = a->activation,
            .slope = NAME(broadcast)((REAL)scalars[0]),
            .leaks = -(BITS)(a->activation == LEAKY_RELU) - (NAME(mask)){0},
        },
        .arrays = arrays,
        .worker = worker,
    };
    int64_t unasked = 0;
    for (int64_t at = begin, past; at < end; at = past) {
        /* The blocks of one part of a plane, which has the same zeros around the image in all of them. */
        const int64_t parts_of_plane = a->down * a->across, part = at / blocks % parts_of_plane;
        const int64_t n = at / blocks / parts_of_plane;
        const int64_t r0 = part / a->across * a->rows, q0 = part % a->across * a->cols;
        const int64_t top = r0 * a->sh - a->pt, left = q0 * a->sw - a->pl;
        past = at / blocks * blocks + blocks < end ? at / blocks * blocks + blocks : end;
        tile.rows = a->oh - r0 < a->rows ? a->oh - r0 : a->rows;
        tile.cols = a->ow - q0 < a->cols ? a->ow - q0 : a->cols;
        NAME(interleaved_kernel) *const compute = NAME(interleaved_kernel_of)(tile.rows, tile.cols, a->sw);
        memset(own.strip, 0, icg * plane * sizeof(REAL));
        for (int64_t block = at % blocks; at < past; at++, block++) {
            unasked += tile.rows * tile.cols * (taps + 8);
            if (unasked > PRODUCTS_UNASKED) {
                unasked = 0;
                if (stops(arrays, worker))
                    return;
            }
            /* Channels that the block before it has are not written again. */
            const int64_t first = NAME(first_of_block)(block, a->oc), m = block * LANES, before = m - first;
            const int64_t channels = a->oc - m < LANES ? a->oc - m : LANES;
            const REAL *from[SIMD_BYTES / sizeof(REAL)];
            REAL offset[SIMD_BYTES / sizeof(REAL)];
            for (int64_t lane = 0; lane < LANES; lane++) {
                const int64_t channel = first + lane < a->oc ? first + lane : a->oc - 1;
                const int64_t group = ocg == 1 ? channel : channel / ocg; /* a division takes as long as an output */
                from[lane] = (const REAL *)arrays[0] + n * a->xn + group * icg * a->xc;
                offset[lane] = bias ? bias[channel] : -(REAL)0; /* -0, the zero that changes no value */
            }
            tile.finish.bias = NAME(load)(offset);
            tile.filters = (const REAL *)arrays[1] + block * taps * LANES;
            for (int64_t c = 0; c < icg; c++) {
                NAME(interleave_plane)(a, from, own.lines, own.pitch, top, left,
                                       a->xc == 1 && icg == 1 && ocg == 1 && a->oc >= LANES, own.strip + c * plane);
                for (int64_t lane = 0; lane < LANES; lane++)
                    from[lane] += a->xc;
            }
            if (compute(&tile))
                return;
            const int64_t values = tile.cols * LANES;
            if (a->activation > LEAKY_RELU) {
                if (bias)
                    for (int64_t i = 0; i < tile.rows * values; i += LANES)
                        NAME(store)(own.sums + i, NAME(load)(own.sums + i) + tile.finish.bias);
                NAME(activate)(own.sums, own.sums, tile.rows * values, 0, a->activation, scalars);
            }
            REAL *out = (REAL *)arrays[3] + n * a->out_image + m * a->out_plane;
            out += r0 * a->out_row + q0 * a->out_position;
            if (a->out_row == tile.cols * a->out_position)
                NAME(separate)(a, own.sums + before, tile.rows * tile.cols, channels, out);
            else
                for (int64_t r = 0; r < tile.rows; r++)
                    NAME(separate)(a, own.sums + r * values + before, tile.cols, channels, out + r * a->out_row);
        }
    }
}

#undef DEFINE
