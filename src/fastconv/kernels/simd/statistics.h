/* The mean and the variance of each channel, or of each slice of neighbouring values, and normalising by them. */

/* Sums are in double precision, in as many chains as hide the latency of an addition. Vectors are spelled out: GCC makes
 * arrays of chains scalars here and there, and took 1.6 to 4 times as long. */
#define CHAINS_OF_SUMS 16
#define CHAINS_OF_A_VECTOR (SIMD_BYTES / 8)
typedef double NAME(chains) __attribute__((vector_size(SIMD_BYTES)));
typedef REAL NAME(summands)
    __attribute__((vector_size(CHAINS_OF_A_VECTOR * sizeof(REAL)), aligned(sizeof(REAL)), may_alias));
typedef double NAME(two_chains) __attribute__((vector_size(16)));

static inline __attribute__((always_inline)) double NAME(sum_of_chains)(NAME(chains) *sums)
{
    UNROLL
    for (int half = CHAINS_OF_SUMS / CHAINS_OF_A_VECTOR / 2; half; half /= 2)
        UNROLL
        for (int l = 0; l < half; l++)
            sums[l] += sums[l + half];
    NAME(two_chains) parts[CHAINS_OF_A_VECTOR / 2];
    memcpy(parts, sums, sizeof parts);
    UNROLL
    for (int half = CHAINS_OF_A_VECTOR / 4; half; half /= 2)
        UNROLL
        for (int l = 0; l < half; l++)
            parts[l] += parts[l + half];
    return parts[0][0] + parts[0][1];
}

/* The sum of a channel's values in a few planes, `apart` from one another, less `centre` each, and the sum of the squares
 * of these differences; the compiler leaves out the one that is not used. */
static inline __attribute__((always_inline)) void NAME(deviations)(const REAL *x, int64_t planes, int64_t apart,
                                                                   int64_t n, double centre, double *sum,
                                                                   double *squares)
{
    enum { lanes = CHAINS_OF_A_VECTOR, vectors = CHAINS_OF_SUMS / CHAINS_OF_A_VECTOR };
    NAME(chains) first[vectors] = {{0}}, second[vectors] = {{0}};
    for (int64_t plane = 0; plane < planes; plane++, x += apart) {
        int64_t i = 0;
        for (; i + CHAINS_OF_SUMS <= n; i += CHAINS_OF_SUMS)
            UNROLL
            for (int l = 0; l < vectors; l++) {
                const NAME(summands) own = *(const NAME(summands) *)(x + i + l * lanes);
                const NAME(chains) d = __builtin_convertvector(own, NAME(chains)) - centre;
                first[l] += d;
                second[l] += d * d;
            }
        if (i < n) {
            double rest[CHAINS_OF_SUMS];
            for (int l = 0; l < CHAINS_OF_SUMS; l++)
                rest[l] = i + l < n ? x[i + l] - centre : 0;
            UNROLL
            for (int l = 0; l < vectors; l++) {
                NAME(chains) d;
                memcpy(&d, rest + l * lanes, sizeof d);
                first[l] += d;
                second[l] += d * d;
            }
        }
    }
    *sum = NAME(sum_of_chains)(first);
    *squares = NAME(sum_of_chains)(second);
}

/* The mean of `count` values in a few planes, and the sum of the squares of their differences from it. */
static inline __attribute__((always_inline)) void NAME(block_moments)(const REAL *x, int64_t planes, int64_t apart,
                                                                      int64_t n, double count, double *mean,
                                                                      double *squares)
{
    double sum, unused;
    if (sizeof(REAL) == sizeof(double)) {
        NAME(deviations)(x, planes, apart, n, 0, &sum, &unused);
        *mean = sum / count;
        NAME(deviations)(x, planes, apart, n, *mean, &unused, squares);
    } else {
        /* One pass, about one of the values: that is at most sqrt(count) standard deviations from the mean (Samuelson,
         * 1968), so that the difference loses at most log2(count) of the many bits that a double has beyond a float. */
        const double pivot = x[0];
        NAME(deviations)(x, planes, apart, n, pivot, &sum, squares);
        *mean = pivot + sum / count;
        *squares -= sum * (sum / count);
        *squares = *squares < 0 ? 0 : *squares;
    }
}

/* Values of a channel that are summed together; where they are summed twice, they are in L1. */
#define MOMENT_VALUES 2048

/* The mean of a channel, and its biased variance: those of blocks, combined as they come (Chan, Golub and LeVeque, 1979).
 * Nothing cancels, wherever the mean may be. */
static void NAME(moments)(const REAL *x, int64_t images, int64_t apart, int64_t inner, double *mean, double *variance,
                          void **arrays, int64_t worker)
{
    const int64_t part = inner < MOMENT_VALUES ? inner : MOMENT_VALUES, most = MOMENT_VALUES / part;
    double middle = 0, squares = 0, count = 0, asked = 0;
    for (int64_t n = 0; n < images; n += most)
        for (int64_t first = 0; first < inner; first += part) {
            const int64_t planes = images - n < most ? images - n : most;
            const int64_t values = inner - first < part ? inner - first : part;
            const REAL *block = x + n * apart + first;
            const double more = (double)(planes * values), total = count + more;
            double own, around;
            NAME(block_moments)(block, planes, apart, values, more, &own, &around);
            const double ahead = own - middle;
            squares += around + ahead * ahead * (count * more / total);
            middle += ahead * (more / total);
            count = total;
            if (count - asked > STRETCH) {
                asked = count;
                if (stops(arrays, worker))
                    return;
            }
        }
    *mean = middle;
    *variance = squares / count;
}

/* running += momentum * (batch - running), for running statistics of REAL or of double. */
static inline void NAME(follow)(void *running, int64_t at, int is_double, double batch, double momentum)
{
    if (!running)
        return;
    if (is_double)
        ((double *)running)[at] += momentum * (batch - ((double *)running)[at]);
    else
        ((REAL *)running)[at] = (REAL)(((REAL *)running)[at] + momentum * (batch - ((REAL *)running)[at]));
}

#define NORMALISE_ARGUMENTS(X)                         \
    X(images)   /* images */                           \
    X(channels) /* channels */                         \
    X(inner)    /* values of a plane of one channel */ \
    X(doubles)  /* whether running statistics are double */
ARGUMENTS(Normalise, NORMALISE_ARGUMENTS);

/* y = (x - mean) / sqrt(variance + eps) * weight + bias, by the statistics of each channel over all images, which are
 * stored. Tile: a channel; if planes are single values, up to AT_A_TIME neighbouring channels.
 * arrays: input; output, which may be the same, or null if statistics are all that is wanted; weight and bias, each of
 * which may be null; means and biased variances (double); running means and unbiased variances, each of which may be
 * null, to be updated. scalars: eps; momentum. */
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
        if (stops(arrays, worker))
            return;  /* before the running statistics follow a part of the batch */
        const double unbiased = (double)(images * inner) / (double)(images * inner - 1);
        for (int64_t m = first; m < first + count; m++) {
            NAME(follow)(arrays[6], m, a->doubles, mean[m], scalars[1]);
            NAME(follow)(arrays[7], m, a->doubles, variance[m] * unbiased, scalars[1]);
        }
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

#define STANDARDISE_ARGUMENTS(X)                                  \
    X(length)   /* values of a slice */                           \
    X(inner)    /* neighbouring values that share a weight */     \
    X(channels) /* weights, as many as biases */                  \
    X(centred)  /* whether the mean is subtracted */
ARGUMENTS(Standardise, STANDARDISE_ARGUMENTS);

/* y = (x - mean) / sqrt(variance + eps) * weight + bias, by the statistics of each slice of neighbouring values; if they
 * are not centred, x / sqrt(mean of the squares + eps) * weight + bias. Value i has weight i / inner modulo the channels.
 * Tile: a slice. arrays: input; output, which may be the same, or null if statistics are all that is wanted; weight and
 * bias, each of which may be null (but not the weight if `inner` is 1); means and biased variances or mean squares
 * (double), null if they are not wanted. scalars: eps. */
static void NAME(standardise)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                              int64_t worker)
{
    const Standardise *a = (const Standardise *)ints;
    const int64_t length = a->length, inner = a->inner;
    const REAL *weight = arrays[2], *bias = arrays[3];
    double *means = arrays[4], *variances = arrays[5];
    int64_t values = 0; /* since the last look at the clock, which takes as long as a short slice */
    for (int64_t tile = begin; tile < end; tile++) {
        const int64_t start = tile * length, first = start / inner % a->channels;
        const REAL *from = (const REAL *)arrays[0] + start;
        double mean = 0, variance = 0, unused;
        if (a->centred && length > MOMENT_VALUES) {
            NAME(moments)(from, 1, 0, length, &mean, &variance, arrays, worker);
        } else {
            if (a->centred)
                NAME(block_moments)(from, 1, 0, length, (double)length, &mean, &variance);
            else
                NAME(deviations)(from, 1, 0, length, 0, &unused, &variance);
            variance /= (double)length;
        }
        values += length;
        if (values > STRETCH) {
            values = 0;
            if (stops(arrays, worker))
                return;
        }
        if (means) {
            means[tile] = mean;
            variances[tile] = variance;
        }
        if (!arrays[1])
            continue;
        REAL *to = (REAL *)arrays[1] + start;
        const double factor = 1 / sqrt(variance + scalars[0]);
        const REAL middle = (REAL)mean;
        /* What the mean loses by its type goes into the shift. */
        const double lost = (middle - mean) * factor;
        if (inner == 1) {
            const REAL by = (REAL)factor, more = (REAL)lost, *w = weight + first, *b = bias ? bias + first : 0;
            if (b) {
                INDEPENDENT
                for (int64_t i = 0; i < length; i++)
                    to[i] = ((from[i] - middle) * by + more) * w[i] + b[i];
            } else {
                INDEPENDENT
                for (int64_t i = 0; i < length; i++)
                    to[i] = ((from[i] - middle) * by + more) * w[i];
            }
            continue;
        }
        for (int64_t i = 0, c = first; i < length; i += inner, c++) {
            const double scale = weight ? weight[c] : 1;
            const REAL by = (REAL)(factor * scale), more = (REAL)((bias ? bias[c] : 0) + lost * scale);
            INDEPENDENT
            for (int64_t j = i; j < i + inner; j++)
                to[j] = (from[j] - middle) * by + more;
        }
    }
}
