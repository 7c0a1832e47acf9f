/* Layers without products: activations, scaling and normalising channel by channel, softmax and the losses of classes. */

#define ACTIVATION_ARGUMENTS(X)           \
    X(values)      /* number of values */ \
    X(tile_values) /* values of a tile */ \
    X(activation)  /* code of the activation */
ARGUMENTS(Activation, ACTIVATION_ARGUMENTS);

/* Tile: neighbouring values, fewer in the last one. arrays: input and output, which may be the same. scalars: the
 * activation's parameter. */
static void NAME(activation)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                             int64_t worker)
{
    const Activation *a = (const Activation *)ints;
    const int64_t first = begin * a->tile_values, past = end * a->tile_values;
    const int64_t count = (past < a->values ? past : a->values) - first;
    NAME(activate)((const REAL *)arrays[0] + first, (REAL *)arrays[1] + first, count, 0, a->activation, scalars[0]);
}

#define CHANNELS_ARGUMENTS(X)                          \
    X(inner)    /* values of a plane of one channel */ \
    X(channels) /* channels */                         \
    X(part)     /* values of a tile */
ARGUMENTS(Channels, CHANNELS_ARGUMENTS);

/* y = (x - centre) * scale + shift, or without a shift x < 0 ? scale * x : x, with constants per channel. Tile: up to
 * `part` values of a plane of one channel; if planes are single values, all channels or up to `part` of them.
 * arrays: input and output, which may be the same; scale, shift or null, centre. */
static void NAME(channels)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                           int64_t worker)
{
    const Channels *a = (const Channels *)ints;
    const int64_t inner = a->inner, channels = a->channels, part = a->part, size = inner == 1 ? channels : inner;
    const int64_t parts = (size + part - 1) / part;
    const REAL *scale = arrays[2], *shift = arrays[3], *centre = arrays[4];
    for (int64_t tile = begin; tile < end; tile++) {
        const int64_t first = tile % parts * part, line = tile / parts, count = size - first < part ? size - first : part;
        const REAL *x = (const REAL *)arrays[0] + line * size + first;
        REAL *y = (REAL *)arrays[1] + line * size + first;
        if (inner == 1 && shift) {
            const REAL *a = scale + first, *b = shift + first, *middle = centre + first;
            INDEPENDENT
            for (int64_t i = 0; i < count; i++)
                y[i] = (x[i] - middle[i]) * a[i] + b[i];
        } else if (inner == 1) {
            const REAL *a = scale + first;
            INDEPENDENT
            for (int64_t i = 0; i < count; i++)
                y[i] = x[i] < 0 ? a[i] * x[i] : x[i];
        } else if (shift) {
            const int64_t c = line % channels;
            const REAL a = scale[c], b = shift[c], middle = centre[c];
            INDEPENDENT
            for (int64_t i = 0; i < count; i++)
                y[i] = (x[i] - middle) * a + b;
        } else {
            const REAL a = scale[line % channels];
            INDEPENDENT
            for (int64_t i = 0; i < count; i++)
                y[i] = x[i] < 0 ? a * x[i] : x[i];
        }
    }
}

/* The sum of a channel's values in a few planes, `apart` from one another, less `centre` each; or of the squares of these
 * differences. In double precision, in as many chains as hide the latency of an addition. */
#define CHAINS_OF_SUMS 16

static inline __attribute__((always_inline)) double NAME(deviations)(const int squared, const REAL *x, int64_t planes,
                                                                     int64_t apart, int64_t n, double centre)
{
    double sums[CHAINS_OF_SUMS] = {0};
    for (int64_t plane = 0; plane < planes; plane++, x += apart) {
        int64_t i = 0;
        for (; i + CHAINS_OF_SUMS <= n; i += CHAINS_OF_SUMS)
            UNROLL
            for (int l = 0; l < CHAINS_OF_SUMS; l++) {
                const double d = x[i + l] - centre;
                sums[l] += squared ? d * d : d;
            }
        for (int l = 0; i < n; i++, l++) {
            const double d = x[i] - centre;
            sums[l] += squared ? d * d : d;
        }
    }
    for (int half = CHAINS_OF_SUMS / 2; half; half /= 2)
        for (int l = 0; l < half; l++)
            sums[l] += sums[l + half];
    return sums[0];
}

/* Values of a channel that are summed twice, for their mean and their variance, while they are in L1. */
#define MOMENT_VALUES 2048

/* The mean of a channel, and its biased variance: those of blocks, combined as they come (Chan, Golub and LeVeque, 1979).
 * Nothing cancels, wherever the mean may be. */
static void NAME(moments)(const REAL *x, int64_t images, int64_t apart, int64_t inner, double *mean, double *variance,
                          void **arrays, int64_t worker)
{
    const int64_t part = inner < MOMENT_VALUES ? inner : MOMENT_VALUES, most = MOMENT_VALUES / part;
    double middle = 0, squares = 0, count = 0;
    for (int64_t n = 0; n < images; n += most)
        for (int64_t first = 0; first < inner; first += part) {
            const int64_t planes = images - n < most ? images - n : most;
            const int64_t values = inner - first < part ? inner - first : part;
            const REAL *block = x + n * apart + first;
            const double more = (double)(planes * values), total = count + more;
            const double own = NAME(deviations)(0, block, planes, apart, values, 0) / more, ahead = own - middle;
            squares += NAME(deviations)(1, block, planes, apart, values, own) + ahead * ahead * (count * more / total);
            middle += ahead * (more / total);
            count = total;
            if (stops(arrays, worker))
                return;
        }
    *mean = middle;
    *variance = squares / count;
}

#define NORMALISE_ARGUMENTS(X)                         \
    X(images)   /* images */                           \
    X(channels) /* channels */                         \
    X(inner)    /* values of a plane of one channel */
ARGUMENTS(Normalise, NORMALISE_ARGUMENTS);

/* y = (x - mean) / sqrt(variance + eps) * weight + bias, by the statistics of each channel over all images, which are
 * stored. Tile: a channel; if planes are single values, up to AT_A_TIME neighbouring channels.
 * arrays: input; output, which may be the same, or null if statistics are all that is wanted; weight and bias, each of
 * which may be null; means and biased variances (double). scalars: eps. */
static void NAME(normalise)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                            int64_t worker)
{
    const Normalise *a = (const Normalise *)ints;
    const int64_t images = a->images, channels = a->channels, inner = a->inner, apart = channels * inner;
    const REAL *x = arrays[0], *weight = arrays[2], *bias = arrays[3];
    REAL *y = arrays[1];
    double *mean = arrays[4], *variance = arrays[5];
    for (int64_t tile = begin; tile < end; tile++) {
        const int64_t few = inner == 1 ? AT_A_TIME : 1, first = tile * few;
        const int64_t count = channels - first < few ? channels - first : few;
        REAL scale[AT_A_TIME], shift[AT_A_TIME], middle[AT_A_TIME];
        if (inner == 1) {
            double sum[AT_A_TIME] = {0};
            for (int64_t n = 0; n < images && !(n % 1024 == 1023 && stops(arrays, worker)); n++)
                for (int64_t c = 0; c < count; c++)
                    sum[c] += x[n * channels + first + c];
            for (int64_t c = 0; c < count; c++) {
                mean[first + c] = sum[c] / (double)images;
                sum[c] = 0;
            }
            for (int64_t n = 0; n < images && !(n % 1024 == 1023 && stops(arrays, worker)); n++)
                for (int64_t c = 0; c < count; c++) {
                    const double d = x[n * channels + first + c] - mean[first + c];
                    sum[c] += d * d;
                }
            for (int64_t c = 0; c < count; c++)
                variance[first + c] = sum[c] / (double)images;
        } else
            NAME(moments)(x + first * inner, images, apart, inner, mean + first, variance + first, arrays, worker);
        if (!y)
            continue;
        for (int64_t c = 0; c < count; c++) {
            const int64_t m = first + c;
            const double factor = (weight ? weight[m] : 1) / sqrt(variance[m] + scalars[0]);
            scale[c] = (REAL)factor;
            middle[c] = (REAL)mean[m];
            /* What the mean loses by its type goes into the shift. */
            shift[c] = (REAL)((bias ? bias[m] : 0) + (middle[c] - mean[m]) * factor);
        }
        for (int64_t n = 0; n < images && !(n * inner > STRETCH && stops(arrays, worker)); n++) {
            const REAL *from = x + n * apart + first * inner;
            REAL *to = y + n * apart + first * inner;
            if (inner == 1) {
                INDEPENDENT
                for (int64_t c = 0; c < count; c++)
                    to[c] = (from[c] - middle[c]) * scale[c] + shift[c];
            } else {
                const REAL by = *scale, more = *shift, less = *middle;
                INDEPENDENT
                for (int64_t i = 0; i < inner; i++)
                    to[i] = (from[i] - less) * by + more;
            }
        }
    }
}

static inline VECTOR NAME(larger)(VECTOR a, VECTOR b)
{
    const NAME(mask) chosen = a < b;
    return (VECTOR)(((NAME(mask))b & chosen) | ((NAME(mask))a & ~chosen));
}

/* The largest of n values that are not NaN. */
static inline REAL NAME(largest)(const REAL *x, int64_t n)
{
    const VECTOR lowest = NAME(broadcast)(-INFINITY);
    VECTOR best[4] = {lowest, lowest, lowest, lowest};
    REAL most = -INFINITY;
    int64_t i = 0;
    if (n < LANES) {
        for (; i < n; i++)
            most = most < x[i] ? x[i] : most;
        return most;
    }
    for (; i + 4 * LANES <= n; i += 4 * LANES)
        UNROLL
        for (int v = 0; v < 4; v++)
            best[v] = NAME(larger)(best[v], NAME(load)(x + i + v * LANES));
    for (; i < n; i += LANES)  /* the last vector may begin among values that were compared before */
        *best = NAME(larger)(*best, NAME(load)(x + (i + LANES <= n ? i : n - LANES)));
    REAL lanes[LANES];
    NAME(store)(lanes, NAME(larger)(NAME(larger)(best[0], best[1]), NAME(larger)(best[2], best[3])));
    UNROLL
    for (int64_t half = LANES / 2; half; half /= 2)
        UNROLL
        for (int64_t l = 0; l < half; l++)
            lanes[l] = lanes[l] < lanes[l + half] ? lanes[l + half] : lanes[l];
    return lanes[0] > most ? lanes[0] : most;
}

static inline REAL NAME(total)(VECTOR v)
{
    REAL lanes[LANES];
    NAME(store)(lanes, v);
    UNROLL
    for (int64_t half = LANES / 2; half; half /= 2)
        UNROLL
        for (int64_t l = 0; l < half; l++)
            lanes[l] += lanes[l + half];
    return lanes[0];
}

/* Powers are summed in blocks, and block sums are added up in double precision: in single precision the error would
 * grow with the number of classes. */
#define BLOCK 64

/* The sum of exp(x - peak); the powers are stored in `powers` unless that is null. */
static REAL NAME(sum_of_powers)(const REAL *x, int64_t n, REAL peak, REAL *powers, void **arrays, int64_t worker)
{
    REAL few[AT_A_TIME], rest = 0;
    double blocks = 0;
    VECTOR sums = {0};
    for (int64_t i = 0; i < n; i += AT_A_TIME) {
        if (i && i % STRETCH == 0 && stops(arrays, worker))
            break;
        const int64_t count = n - i < AT_A_TIME ? n - i : AT_A_TIME;
        REAL *target = powers ? powers + i : few;
        INDEPENDENT
        for (int64_t j = 0; j < count; j++)
            target[j] = NAME(vector_exp)(x[i + j] - peak);
        int64_t j = 0;
        for (; j + LANES <= count; j += LANES)
            sums += NAME(load)(target + j);
        for (; j < count; j++)
            rest += target[j];
        if ((i + AT_A_TIME) % (BLOCK * LANES) == 0) {
            blocks += NAME(total)(sums);
            sums = (VECTOR){0};
        }
    }
    return (REAL)(blocks + NAME(total)(sums) + rest);
}

/* Rows of no more values are computed several at a time: powers in one loop over all of them, and likewise logarithms. A
 * row of its own would end in partial vectors. */
#define SHORT (BLOCK * LANES < 256 ? BLOCK * LANES : 256)

/* softmax of so many short rows, which hold 2 * SHORT values at most. */
static void NAME(softmax_of_rows)(const REAL *x, REAL *y, REAL *peaks, REAL *sums, int64_t rows, int64_t classes,
                                  int64_t logarithm)
{
    REAL powers[2 * SHORT], peak[2 * SHORT], sum[2 * SHORT];
    for (int64_t r = 0; r < rows; r++) {
        const REAL *from = x + r * classes, most = NAME(largest)(from, classes);
        peak[r] = most;
        REAL *to = powers + r * classes;
        for (int64_t c = 0; c < classes; c++)
            to[c] = from[c] - most;
    }
    INDEPENDENT
    for (int64_t i = 0; i < rows * classes; i++)
        powers[i] = NAME(vector_exp)(powers[i]);
    for (int64_t r = 0; r < rows; r++) {
        const REAL *from = powers + r * classes;
        VECTOR sums = {0};
        REAL rest = 0;
        int64_t c = 0;
        for (; c + LANES <= classes; c += LANES)
            sums += NAME(load)(from + c);
        for (; c < classes; c++)
            rest += from[c];
        sum[r] = NAME(total)(sums) + rest;
    }
    if (logarithm)
        INDEPENDENT
        for (int64_t r = 0; r < rows; r++)
            sum[r] = NAME(vector_log)(sum[r]);
    if (!y) {
        memcpy(peaks, peak, rows * sizeof(REAL));
        memcpy(sums, sum, rows * sizeof(REAL));
        return;
    }
    for (int64_t r = 0; r < rows; r++) {
        const REAL *from = x + r * classes, most = peak[r], log = sum[r], share = 1 / sum[r];
        const REAL *power = powers + r * classes;
        REAL *to = y + r * classes;
        if (logarithm)
            INDEPENDENT
            for (int64_t c = 0; c < classes; c++)
                to[c] = from[c] - most - log;
        else
            for (int64_t c = 0; c < classes; c++)
                to[c] = power[c] * share;
    }
}

#define SOFTMAX_ARGUMENTS(X)                     \
    X(classes)   /* extent of the middle axis */ \
    X(inner)     /* extent of the last axis */   \
    X(blocks)    /* blocks of columns */         \
    X(logarithm) /* whether the logarithm is asked for */
ARGUMENTS(Softmax, SOFTMAX_ARGUMENTS);

/* exp(x) / sum(exp(x)) along the middle of three axes, or its logarithm. Tile: a row if the last axis has extent 1,
 * otherwise up to AT_A_TIME neighbouring columns. arrays: input; output, which may be the same; or if that is null,
 * arrays for the peaks and the logarithms of the sums of exp(x - peak). */
static void NAME(softmax)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                          int64_t worker)
{
    const Softmax *a = (const Softmax *)ints;
    const int64_t classes = a->classes, inner = a->inner, blocks = a->blocks, logarithm = a->logarithm;
    if (inner == 1 && classes <= SHORT) {
        const int64_t most = classes ? 2 * SHORT / classes : 1;
        for (int64_t row = begin, few; row < end && !((row - begin) / most % 16 == 15 && stops(arrays, worker)); row += few) {
            few = end - row < most ? end - row : most;
            NAME(softmax_of_rows)((const REAL *)arrays[0] + row * classes,
                                  arrays[1] ? (REAL *)arrays[1] + row * classes : 0, (REAL *)arrays[2] + row,
                                  (REAL *)arrays[3] + row, few, classes, logarithm);
        }
        return;
    }
    for (int64_t tile = begin; tile < end; tile++) {
        const int64_t first = tile % blocks * AT_A_TIME, at = tile / blocks * inner + first;
        const int64_t columns = inner - first < AT_A_TIME ? inner - first : AT_A_TIME;
        const REAL *x = (const REAL *)arrays[0] + tile / blocks * classes * inner + first;
        REAL *y = arrays[1] ? (REAL *)arrays[1] + tile / blocks * classes * inner + first : 0;
        REAL peak[AT_A_TIME], sum[AT_A_TIME];
        if (inner == 1) {
            *peak = -INFINITY;
            for (int64_t c = 0; c < classes && !(c && stops(arrays, worker)); c += STRETCH) {
                const REAL most = NAME(largest)(x + c, classes - c < STRETCH ? classes - c : STRETCH);
                *peak = *peak < most ? most : *peak;
            }
            *sum = NAME(sum_of_powers)(x, classes, *peak, logarithm ? 0 : y, arrays, worker);
        } else {
            double blocks[AT_A_TIME] = {0};
            for (int64_t j = 0; j < columns; j++) {
                peak[j] = -INFINITY;
                sum[j] = 0;
            }
            for (int64_t c = 0; c < classes && !(c % 1024 == 1023 && stops(arrays, worker)); c++)
                for (int64_t j = 0; j < columns; j++)
                    peak[j] = peak[j] < x[c * inner + j] ? x[c * inner + j] : peak[j];
            for (int64_t c = 0; c < classes && !(c % 1024 == 1023 && stops(arrays, worker)); c++) {
                REAL powers[AT_A_TIME];
                for (int64_t j = 0; j < columns; j++) {
                    powers[j] = NAME(vector_exp)(x[c * inner + j] - peak[j]);
                    sum[j] += powers[j];
                }
                if (!logarithm)
                    memcpy(y + c * inner, powers, columns * sizeof(REAL));
                if (c % BLOCK == BLOCK - 1)
                    for (int64_t j = 0; j < columns; j++) {
                        blocks[j] += sum[j];
                        sum[j] = 0;
                    }
            }
            for (int64_t j = 0; j < columns; j++)
                sum[j] = (REAL)(blocks[j] + sum[j]);
        }
        if (logarithm)
            INDEPENDENT
            for (int64_t j = 0; j < columns; j++)
                sum[j] = NAME(vector_log)(sum[j]);
        else
            for (int64_t j = 0; j < columns; j++)
                sum[j] = 1 / sum[j];
        if (!y) {
            memcpy((REAL *)arrays[2] + at, peak, columns * sizeof(REAL));
            memcpy((REAL *)arrays[3] + at, sum, columns * sizeof(REAL));
        } else if (inner == 1) {
            const REAL subtracted = *peak, other = *sum;
            for (int64_t begun = 0; begun < classes && !(begun && stops(arrays, worker)); begun += STRETCH) {
                const int64_t done = begun + STRETCH < classes ? begun + STRETCH : classes;
                if (logarithm)
                    INDEPENDENT
                    for (int64_t c = begun; c < done; c++)
                        y[c] = x[c] - subtracted - other;
                else
                    for (int64_t c = begun; c < done; c++)
                        y[c] *= other;
            }
        } else if (logarithm) {
            for (int64_t c = 0; c < classes && !(c % 1024 == 1023 && stops(arrays, worker)); c++)
                INDEPENDENT
                for (int64_t j = 0; j < columns; j++)
                    y[c * inner + j] = x[c * inner + j] - peak[j] - sum[j];
        } else {
            for (int64_t c = 0; c < classes && !(c % 1024 == 1023 && stops(arrays, worker)); c++)
                for (int64_t j = 0; j < columns; j++)
                    y[c * inner + j] *= sum[j];
        }
    }
}

#define SPREAD_ARGUMENTS(X)                    \
    X(classes) /* extent of the middle axis */ \
    X(inner)   /* extent of the last axis */   \
    X(blocks)  /* blocks of columns */
ARGUMENTS(Spread, SPREAD_ARGUMENTS);

/* Of each sample, the losses of all classes, each times the share of the target that falls to its class: smoothing spreads
 * an equal share to every class, and the target may be given as probabilities. A class without a share does not count,
 * even if its loss is infinite. Tile: as of softmax. arrays: scores; the peaks and logarithms that softmax finds; the
 * probabilities or null; weights of the classes (double) or null; the sums (double). scalars: what a probability is
 * multiplied by; what is added to it. */
static void NAME(spread)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                         int64_t worker)
{
    const Spread *a = (const Spread *)ints;
    const int64_t classes = a->classes, inner = a->inner, blocks = a->blocks;
    const double kept = scalars[0], even = scalars[1], *weight = arrays[4];
    for (int64_t tile = begin; tile < end; tile++) {
        const int64_t first = tile % blocks * AT_A_TIME, row = tile / blocks, at = row * inner + first;
        const int64_t columns = inner - first < AT_A_TIME ? inner - first : AT_A_TIME;
        const REAL *x = (const REAL *)arrays[0] + row * classes * inner + first;
        const REAL *target = arrays[3] ? (const REAL *)arrays[3] + row * classes * inner + first : 0;
        const REAL *peak = (const REAL *)arrays[1] + at, *logarithm = (const REAL *)arrays[2] + at;
        double sums[AT_A_TIME] = {0}, base[AT_A_TIME];
        for (int64_t j = 0; j < columns; j++)
            base[j] = (double)peak[j] + logarithm[j];
        if (inner == 1) {
            const double loss = *base;
            for (int64_t c = 0, few; c < classes && !(c && c % STRETCH == 0 && stops(arrays, worker)); c += few) {
                few = classes - c < AT_A_TIME ? classes - c : AT_A_TIME;
                for (int64_t j = 0; j < few; j++) {
                    const double own = target ? kept * target[c + j] + even : even;
                    const double share = weight ? own * weight[c + j] : own;
                    const double counted = share * (loss - x[c + j]);
                    sums[j] += share != 0 ? counted : 0;
                }
            }
            for (int half = AT_A_TIME / 2; half; half /= 2)
                for (int64_t j = 0; j < half; j++)
                    sums[j] += sums[j + half];
        } else
            for (int64_t c = 0; c < classes && !(c % 1024 == 1023 && stops(arrays, worker)); c++) {
                const double times = weight ? weight[c] : 1;
                for (int64_t j = 0; j < columns; j++) {
                    const double share = (target ? kept * target[c * inner + j] + even : even) * times;
                    const double counted = share * (base[j] - x[c * inner + j]);
                    sums[j] += share != 0 ? counted : 0;
                }
            }
        memcpy((double *)arrays[5] + at, sums, columns * sizeof(double));
    }
}
