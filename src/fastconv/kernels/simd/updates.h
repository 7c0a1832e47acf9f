/* Steps of optimisers: parameters follow their gradients, in one pass over memory. */

#define MOMENTUM_ARGUMENTS(X)             \
    X(values)      /* number of values */ \
    X(tile_values) /* values of a tile */ \
    X(nesterov)    /* whether to look ahead */
ARGUMENTS(Momentum, MOMENTUM_ARGUMENTS);

/* With g = gradient + decay * p: v = momentum * v + g, and p -= rate * v, or looking ahead p -= rate * (g + momentum * v).
 * arrays: p; its gradient; v, or null, which is v = g. scalars: rate; momentum; decay. */
static void NAME(momentum)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                           int64_t worker)
{
    const Momentum *a = (const Momentum *)ints;
    const REAL rate = (REAL)scalars[0], momentum = (REAL)scalars[1], decay = (REAL)scalars[2];
    const int64_t nesterov = a->nesterov;
    for (int64_t tile = begin; tile < end; tile++) {
        const int64_t first = tile * a->tile_values, rest = a->values - first;
        const int64_t count = rest < a->tile_values ? rest : a->tile_values;
        REAL *p = (REAL *)arrays[0] + first, *v = arrays[2] ? (REAL *)arrays[2] + first : 0;
        const REAL *gradient = (const REAL *)arrays[1] + first;
        if (!v) {
            INDEPENDENT
            for (int64_t i = 0; i < count; i++)
                p[i] -= rate * (gradient[i] + decay * p[i]);
            continue;
        }
        INDEPENDENT
        for (int64_t i = 0; i < count; i++) {
            const REAL g = gradient[i] + decay * p[i], velocity = momentum * v[i] + g;
            v[i] = velocity;
            p[i] -= rate * (nesterov ? g + momentum * velocity : velocity);
        }
    }
}

#define ADAM_ARGUMENTS(X)                 \
    X(values)      /* number of values */ \
    X(tile_values) /* values of a tile */
ARGUMENTS(Adam, ADAM_ARGUMENTS);

/* With g = gradient + decay * p: m += (1 - beta1) * (g - m), s += (1 - beta2) * (g * g - s), and
 * p = kept * p - rate * m / (scale * sqrt(s) + eps).
 * arrays: p; its gradient; m; s; seven doubles: rate, 1 - beta1, 1 - beta2, scale, eps, decay, kept. */
static void NAME(adam)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                       int64_t worker)
{
    const Adam *a = (const Adam *)ints;
    const double *of = arrays[4];
    const REAL rate = (REAL)of[0], fresh = (REAL)of[1], fresh_square = (REAL)of[2], scale = (REAL)of[3];
    const REAL eps = (REAL)of[4], decay = (REAL)of[5], kept = (REAL)of[6];
    for (int64_t tile = begin; tile < end; tile++) {
        const int64_t first = tile * a->tile_values, rest = a->values - first;
        const int64_t count = rest < a->tile_values ? rest : a->tile_values;
        REAL *p = (REAL *)arrays[0] + first, *m = (REAL *)arrays[2] + first, *s = (REAL *)arrays[3] + first;
        const REAL *gradient = (const REAL *)arrays[1] + first;
        INDEPENDENT
        for (int64_t i = 0; i < count; i++) {
            const REAL g = gradient[i] + decay * p[i];
            m[i] += fresh * (g - m[i]);
            s[i] += fresh_square * (g * g - s[i]);
            p[i] = kept * p[i] - rate * m[i] / (scale * (REAL)sqrt(s[i]) + eps);
        }
    }
}
