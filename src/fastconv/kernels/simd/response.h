/* Local response normalisation: each value by what its neighbours among channels respond at its position.
 *
 *   out[n, c, p] = x[n, c, p] / (k + alpha * sum_{d = c - before}^{c + after} x[n, d, p]**2) ** beta
 *
 * Channels that do not exist count as zeros. A block of positions is small enough that the channels of a window stay in
 * L1 while the next ones sum them again: running sums would lose what a large value swallows.
 */

#define RESPONSE_ARGUMENTS(X)                          \
    X(channels) /* channels */                         \
    X(inner)    /* values of a plane of one channel */ \
    X(before)   /* channels of a window ahead of its own */ \
    X(after)    /* and behind it */
ARGUMENTS(Response, RESPONSE_ARGUMENTS);

/* Positions of a block. */
#define RESPONSE_PART 256

/* x / s**beta. The exponent of AlexNet takes two roots, which round less than a power by logarithms, and as NumPy's power
 * treats zeros, infinities and negative sums. */
static inline void NAME(divide_by_power)(const REAL *x, const REAL *s, REAL *out, int64_t n, double beta)
{
    if (beta == 0.75) {
        INDEPENDENT
        for (int64_t i = 0; i < n; i++) {
            const REAL root = (REAL)sqrt(s[i]);
            out[i] = x[i] / (root * (REAL)sqrt(root));
        }
    } else {
        for (int64_t i = 0; i < n; i++)
            out[i] = (REAL)(x[i] * pow(s[i], -beta));
    }
}

/* Tile: a block of positions of an image. arrays: x, out. scalars: k, alpha, beta. */
static void NAME(response)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                           int64_t worker)
{
    const Response *a = (const Response *)ints;
    const int64_t inner = a->inner, channels = a->channels, parts = (inner + RESPONSE_PART - 1) / RESPONSE_PART;
    const REAL k = (REAL)scalars[0], alpha = (REAL)scalars[1];
    REAL sums[RESPONSE_PART];
    for (int64_t tile = begin; tile < end; tile++) {
        const int64_t first = tile % parts * RESPONSE_PART, start = tile / parts * channels * inner + first;
        const int64_t count = inner - first < RESPONSE_PART ? inner - first : RESPONSE_PART;
        const REAL *x = (const REAL *)arrays[0] + start;
        REAL *out = (REAL *)arrays[1] + start;
        for (int64_t c = 0; c < channels; c++) {
            const int64_t from = c < a->before ? 0 : c - a->before;
            const int64_t past = channels - c <= a->after ? channels : c + a->after + 1;
            for (int64_t i = 0; i < count; i++)
                sums[i] = 0;
            for (int64_t d = from; d < past; d++) {
                const REAL *row = x + d * inner;
                INDEPENDENT
                for (int64_t i = 0; i < count; i++)
                    sums[i] += row[i] * row[i];
            }
            INDEPENDENT
            for (int64_t i = 0; i < count; i++)
                sums[i] = k + alpha * sums[i];
            NAME(divide_by_power)(x + c * inner, sums, out + c * inner, count, scalars[2]);
        }
    }
}
