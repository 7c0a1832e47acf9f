/* Softmax and its logarithm: exp(x - peak) over the sum of these, where nothing overflows. */

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
