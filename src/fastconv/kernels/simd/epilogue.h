/* Activations: `activate` computes target[i] = activation(source[i] + b) for n neighbouring values; `epilogue` does so
 * in place for a row of output channel m.
 *
 * `bias` may be null, and `target` may be `source`. Code 0 is the identity; engine/epilogue.py gives names to the others,
 * and says what they compute. `a` is the parameter of activations that have one. Those that have two come last; they are
 * not fused.
 */
#include "elementary.h"

#define EACH(expression)                                     \
    INDEPENDENT                                              \
    for (int64_t i = 0; i < n; i++) {                        \
        const REAL x = source[i] + b;                        \
        target[i] = (expression);                            \
    }                                                        \
    break;

/* min(max(x + 3, 0), 6) / 6; this is 1 where x may be too large to be multiplied by 6. */
static inline REAL NAME(hardsigmoid)(REAL x)
{
    REAL share = x + 3;
    share = share < 0 ? 0 : share > 6 ? 6 : share;
    return share * (REAL)(1. / 6);
}

/* x (1 + tanh(u)) / 2 with u = sqrt(2 / pi) (x + 0.044715 x**3), as x / (1 + exp(-2 u)): nothing cancels where u is far
 * below 0. */
static inline REAL NAME(gelu_tanh)(REAL x)
{
    const REAL inner = NAME(MULADD)(x * x, (REAL)0.044715, 1);
    return x / (1 + NAME(vector_exp)(x * inner * (REAL)-1.5957691216057307118));
}

/* log(1 + exp(x)), where nothing overflows or cancels. */
static inline REAL NAME(softplus)(REAL x)
{
    return (x > 0 ? x : 0) + NAME(vector_log1p)(NAME(vector_exp)(x < 0 ? x : -x));
}

/* x tanh(log(1 + n)), n = exp(x), as x w / (w + 2), w = n (n + 2). Right of 20 the quotient is 1. */
static inline REAL NAME(mish)(REAL x)
{
    const REAL n = NAME(vector_exp)(x > 20 ? 20 : x), w = NAME(MULADD)(n, n, 2 * n);
    return x * (w / (w + 2));
}

/* `x < 0 ? 0 : x` lets a NaN through, as the maximum of NumPy and torch does. */
static void NAME(activate)(const REAL *source, REAL *target, int64_t n, REAL b, int64_t code,
                           const double *parameters)
{
    const REAL a = (REAL)parameters[0];
    switch (code) {
    case 0: EACH(x)
    case 1: EACH(x < 0 ? 0 : x)
    case 2: EACH(x < 0 ? a * x : x)
    case 3: EACH(x < 0 ? a * NAME(vector_expm1)(x) : x)
    case 4: EACH(1 / (1 + NAME(vector_exp)(-x)))
    case 5: EACH(NAME(vector_tanh)(x))
    case 6: EACH(x / (1 + NAME(vector_exp)(-x)))
    case 7: EACH(x * NAME(vector_normal)(x))
    case 8: EACH(x * NAME(hardsigmoid)(x))
    case 9: EACH(NAME(gelu_tanh)(x))
    case 10: EACH(x < 0 ? 0 : x > 6 ? 6 : x)
    case 11: EACH(x / (1 + (x < 0 ? -x : x)))
    case 12: EACH(x < 0 ? (REAL)1.75809934084737685994 * NAME(vector_expm1)(x) : (REAL)1.05070098735548049342 * x)
    case 13: EACH(x < 0 ? a * NAME(vector_expm1)(x / a) : x)
    case 14: EACH(NAME(mish)(x))
    case 15: EACH(NAME(hardsigmoid)(x))
    case 16: EACH((x >= -a) & (x <= a) ? 0 : x)
    case 17: EACH(x - (x > a ? a : x < -a ? -a : x))
    case 18: EACH(x - NAME(vector_tanh)(x))
    case 19: EACH(-NAME(softplus)(-x))
    case 20: {
        const REAL most = (REAL)parameters[1];
        EACH(x * a > most ? x : NAME(softplus)(x * a) / a)
    }
    case 21: {
        const REAL most = (REAL)parameters[1];
        EACH(x < a ? a : x > most ? most : x)
    }
    case 22: {
        const REAL value = (REAL)parameters[1];
        EACH(x <= a ? value : x)
    }
    }
}

static void NAME(epilogue)(REAL *values, int64_t n, const REAL *bias, int64_t m, int64_t code, double parameter)
{
    if (code || bias)
        NAME(activate)(values, values, n, bias ? bias[m] : 0, code, &parameter);
}

#undef EACH
