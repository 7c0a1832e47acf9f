/* Losses of targets that are spread over several classes. */

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
