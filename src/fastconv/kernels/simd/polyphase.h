/* Filters between two rates, along one axis: zeros are inserted between samples, and only some outputs are kept.
 *
 *   out[m, c] = sum_k filter[offset + m * down - k * up] * x[k, c]
 *
 * Most of the filter falls on zeros. What is left of it for one output is one of `up` phases, each stored in the order
 * in which it reads the samples, and filled up with zeros to `taps` values:
 *
 *   out[m, c] = sum_t phase[at % up, t] * x[at / up - taps + 1 + t, c]      at = offset + m * down
 *
 * Outputs that are `up` apart share a phase, and each reads `down` samples further on than the one before.
 *
 * Vectors run along the columns. A single line has no columns: where `down` is 1, the outputs of a phase take their
 * place, as these read neighbouring samples. Otherwise vectors run along the taps, and their lanes are added up. Samples
 * that are not next to each other, and those near the ends of the axis, are gathered first.
 *
 * Past its ends, a position is the fill value, or a weighted sum of up to three samples: modes that continue a slope
 * are of this form, too.
 */
#define POLYPHASE_ARGUMENTS(X)                                                        \
    X(n)         /* samples along the axis */                                         \
    X(inner)     /* columns */                                                        \
    X(outputs)   /* along the axis */                                                 \
    X(up)        /* phases of the filter */                                           \
    X(down)      /* samples from what an output reads to the next of the same phase */ \
    X(offset)    /* of the filter's value that the first output weighs the first sample by */ \
    X(taps)      /* of a phase */                                                     \
    X(x_plane)   /* values from one plane to the next */                              \
    X(x_sample)  /* values from one sample to the next */                             \
    X(x_column)  /* values from one column to the next: 1 in tiles of several */      \
    X(out_plane) /* values of the output from one plane to the next */                \
    X(pad)       /* positions before the first sample that are looked up */           \
    X(block)     /* outputs of a tile */                                              \
    X(blocks)    /* tiles along the axis */                                           \
    X(width)     /* columns of a tile */                                              \
    X(across)    /* tiles across the columns */
ARGUMENTS(Polyphase, POLYPHASE_ARGUMENTS);

/* The most sources of a position past the ends. */
#define SOURCES 3

/* Products between two checks whether to stop. */
#define PRODUCTS_BETWEEN_CHECKS (1 << 18)

typedef struct {
    REAL *strip;  /* gathered samples */
    REAL *values; /* the outputs of a phase */
    int64_t bytes;
} NAME(polyphase_parts);

static NAME(polyphase_parts) NAME(lay_out_polyphase)(const Polyphase *a, char *memory)
{
    Scratch s = {memory, 0};
    NAME(polyphase_parts) parts;
    const int64_t seen = ((a->block - 1) * a->down + a->up - 1) / a->up + a->taps;
    parts.strip = take(&s, seen * a->width * sizeof(REAL));
    parts.values = take(&s, (a->block + a->up - 1) / a->up * sizeof(REAL));
    parts.bytes = s.bytes;
    return parts;
}

static int64_t NAME(polyphase_scratch)(const int64_t *ints)
{ return NAME(lay_out_polyphase)((const Polyphase *)ints, 0).bytes; }

/* n vectors of columns; what one tap reads is `pitch` values from what the next does. */
static inline __attribute__((always_inline)) void NAME(weighed_vectors)(const int n, const REAL *x, int64_t pitch,
                                                                        const REAL *phase, int64_t taps, REAL *out)
{
    VECTOR sum[ABREAST];
    UNROLL
    for (int s = 0; s < n; s++)
        sum[s] = (VECTOR){0};
    for (int64_t t = 0; t < taps; t++, x += pitch) {
        const VECTOR weight = NAME(broadcast)(phase[t]);
        UNROLL
        for (int s = 0; s < n; s++)
            sum[s] += weight * NAME(load)(x + s * LANES);
    }
    UNROLL
    for (int s = 0; s < n; s++)
        NAME(store)(out + s * LANES, sum[s]);
}

/* An output per column. The last vector overlaps the one before it. */
static void NAME(weighed_columns)(const REAL *x, int64_t pitch, const REAL *phase, int64_t taps, int64_t width,
                                  REAL *out)
{
    int64_t c = 0;
    for (; c + ABREAST * LANES <= width; c += ABREAST * LANES)
        NAME(weighed_vectors)(ABREAST, x + c, pitch, phase, taps, out + c);
    for (; c + 4 * LANES <= width; c += 4 * LANES)
        NAME(weighed_vectors)(4, x + c, pitch, phase, taps, out + c);
    for (; c + LANES <= width; c += LANES)
        NAME(weighed_vectors)(1, x + c, pitch, phase, taps, out + c);
    if (c < width && width >= LANES)
        NAME(weighed_vectors)(1, x + width - LANES, pitch, phase, taps, out + width - LANES);
    else
        for (; c < width; c++) {
            REAL sum = 0;
            for (int64_t t = 0; t < taps; t++)
                sum += phase[t] * x[t * pitch + c];
            out[c] = sum;
        }
}

/* n outputs of a phase, each from the taps that begin `down` samples after those of the one before. */
static inline __attribute__((always_inline)) void NAME(weighed_runs)(const int n, const REAL *x, int64_t down,
                                                                     const REAL *phase, int64_t taps, REAL *out)
{
    VECTOR sum[8];
    UNROLL
    for (int s = 0; s < n; s++)
        sum[s] = (VECTOR){0};
    int64_t t = 0;
    for (; t + LANES <= taps; t += LANES) {
        const VECTOR weights = NAME(load)(phase + t);
        UNROLL
        for (int s = 0; s < n; s++)
            sum[s] += weights * NAME(load)(x + s * down + t);
    }
    if (t < taps && taps >= LANES) {
        /* The rest lies in the last lanes of vectors that end where the taps do. */
        const NAME(mask) rest = *(const NAME(unaligned_mask) *)(NAME(last_lanes) + taps - t);
        const VECTOR weights = (VECTOR)((NAME(mask))NAME(load)(phase + taps - LANES) & rest);
        UNROLL
        for (int s = 0; s < n; s++)
            sum[s] += weights * (VECTOR)((NAME(mask))NAME(load)(x + s * down + taps - LANES) & rest);
        t = taps;
    }
    if (n == 1)
        out[0] = NAME(total)(sum[0]);
    else
        UNROLL
        for (int s = 0; s < n; s += 4)
            *(NAME(quad) *)(out + s) = NAME(four_totals)(sum[s], sum[s + 1], sum[s + 2], sum[s + 3]);
    if (t < taps)
        UNROLL
        for (int s = 0; s < n; s++)
            for (int64_t q = t; q < taps; q++)
                out[s] += phase[q] * x[s * down + q];
}

/* `count` outputs of a phase. */
static void NAME(weighed_line)(const REAL *x, int64_t down, const REAL *phase, int64_t taps, int64_t count, REAL *out)
{
    if (down == 1 && count >= LANES) {
        NAME(weighed_columns)(x, 1, phase, taps, count, out);
        return;
    }
    int64_t q = 0;
    for (; q + 8 <= count; q += 8)
        NAME(weighed_runs)(8, x + q * down, down, phase, taps, out + q);
    for (; q + 4 <= count; q += 4)
        NAME(weighed_runs)(4, x + q * down, down, phase, taps, out + q);
    for (; q < count; q++)
        NAME(weighed_runs)(1, x + q * down, down, phase, taps, out + q);
}

/* The samples at positions `first` to `last` of some columns, continued past the ends of the axis. The parts of complex
 * numbers are columns, and so are those of the fill value. */
static void NAME(gather_samples)(const Polyphase *a, const REAL *x, int64_t column, int64_t width, int64_t first,
                                 int64_t last, const int64_t *sources, const double *weights, const double *fill,
                                 REAL *strip)
{
    const int64_t n = a->n, inside = clip(-first, 0, last - first), past = clip(n - first, inside, last - first);
    const REAL *from = x + (first + inside) * a->x_sample;
    if (width == 1)
        NAME(copy_apart)(from, past - inside, a->x_sample, strip + inside);
    else
        for (int64_t t = inside; t < past; t++, from += a->x_sample)
            NAME(copy_run)(from, width, strip + t * width);
    for (int64_t t = inside ? 0 : past; t < last - first; t = t + 1 == inside ? past : t + 1) {
        const int64_t at = first + t, row = (at < 0 ? a->pad + at : a->pad + at - n) * SOURCES;
        for (int64_t c = 0; c < width; c++) {
            double value = sources[row] < 0 ? fill[(column + c) % 2] : 0;
            for (int64_t s = row; s < row + SOURCES; s++)
                if (sources[s] >= 0 && weights[s] != 0)
                    value += weights[s] * x[sources[s] * a->x_sample + c];
            strip[t * width + c] = (REAL)value;
        }
    }
}

/* Tile: a block of outputs of some columns of a plane. arrays: x, out, phases, the sources of positions past the ends
 * and their weights, scratch. scalars: fill, for even columns and for odd ones. */
static void NAME(polyphase)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                            int64_t worker)
{
    const Polyphase *a = (const Polyphase *)ints;
    const int64_t up = a->up, down = a->down, taps = a->taps, inner = a->inner;
    const REAL *phases = arrays[2];
    const NAME(polyphase_parts) own =
        NAME(lay_out_polyphase)(a, (char *)arrays[5] + worker * NAME(polyphase_scratch)(ints));
    for (int64_t tile = begin, products = 0; tile < end; tile++) {
        const int64_t column = tile % a->across * a->width, m0 = tile / a->across % a->blocks * a->block;
        const int64_t plane = tile / a->across / a->blocks;
        const int64_t width = inner - column < a->width ? inner - column : a->width;
        const int64_t m1 = a->outputs - m0 < a->block ? a->outputs : m0 + a->block;
        const int64_t first = (a->offset + m0 * down) / up - taps + 1, last = (a->offset + (m1 - 1) * down) / up + 1;
        const REAL *x = (const REAL *)arrays[0] + plane * a->x_plane + column * a->x_column;
        REAL *out = (REAL *)arrays[1] + plane * a->out_plane + column;
        const int is_line = a->width == 1;
        const REAL *seen = x + first * a->x_sample;
        int64_t pitch = a->x_sample;
        if (first < 0 || last > a->n || (is_line && pitch != 1)) {
            NAME(gather_samples)(a, x, column, width, first, last, arrays[3], arrays[4], scalars, own.strip);
            seen = own.strip;
            pitch = width;
        }
        const int64_t lines = is_line && up < m1 - m0 ? up : m1 - m0;
        for (int64_t m = m0; m < m0 + lines; m++) {
            const int64_t at = a->offset + m * down, count = is_line ? (m1 - m + up - 1) / up : 1;
            const REAL *phase = phases + at % up * taps, *from = seen + (at / up - taps + 1 - first) * pitch;
            products += count * width * taps;
            if (products > PRODUCTS_BETWEEN_CHECKS) {
                products = 0;
                if (stops(arrays, worker))
                    return;
            }
            if (!is_line)
                NAME(weighed_columns)(from, pitch, phase, taps, width, out + m * inner);
            else if (up * inner == 1)
                NAME(weighed_line)(from, down, phase, taps, count, out + m);
            else {
                NAME(weighed_line)(from, down, phase, taps, count, own.values);
                for (int64_t q = 0; q < count; q++)
                    out[(m + q * up) * inner] = own.values[q];
            }
        }
    }
}
