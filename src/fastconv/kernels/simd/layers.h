/* Layers without products: activations, scaling channel by channel, and softmax. */

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

static inline VECTOR NAME(larger)(VECTOR a, VECTOR b)
{
    const NAME(mask) chosen = a < b;
    return (VECTOR)(((NAME(mask))b & chosen) | ((NAME(mask))a & ~chosen));
}

/* The largest of n values that are not NaN. */
static REAL NAME(largest)(const REAL *x, int64_t n)
{
    const VECTOR lowest = NAME(broadcast)(-INFINITY);
    VECTOR best[4] = {lowest, lowest, lowest, lowest};
    int64_t i = 0;
    for (; i + 4 * LANES <= n; i += 4 * LANES)
        UNROLL
        for (int v = 0; v < 4; v++)
            best[v] = NAME(larger)(best[v], NAME(load)(x + i + v * LANES));
    REAL lanes[LANES];
    NAME(store)(lanes, NAME(larger)(NAME(larger)(best[0], best[1]), NAME(larger)(best[2], best[3])));
    REAL most = -INFINITY;
    for (int64_t l = 0; l < LANES; l++)
        most = most < lanes[l] ? lanes[l] : most;
    for (; i < n; i++)
        most = most < x[i] ? x[i] : most;
    return most;
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
