/* Activations: `activate` computes target[i] = activation(source[i] + b) for n neighbouring values; `epilogue` does so
 * in place for a row of output channel m.
 *
 * `bias` may be null, and `target` may be `source`. Code 0 is the identity; engine/epilogue.py gives names to the others,
 * and says what they compute. `a` is the parameter of activations that have one.
 */
#include "elementary.h"

#define EACH(expression)                                     \
    INDEPENDENT                                              \
    for (int64_t i = 0; i < n; i++) {                        \
        const REAL x = source[i] + b;                        \
        target[i] = (expression);                            \
    }                                                        \
    break;

/* x times min(max(x + 3, 0), 6) / 6; that factor is 1 where x may be too large to be multiplied by 6. */
static inline REAL NAME(hardswish)(REAL x)
{
    REAL share = x + 3;
    share = share < 0 ? 0 : share > 6 ? 6 : share;
    return x * (share * (REAL)(1. / 6));
}

/* x (1 + tanh(u)) / 2 with u = sqrt(2 / pi) (x + 0.044715 x**3), as x / (1 + exp(-2 u)): nothing cancels where u is far
 * below 0. */
static inline REAL NAME(gelu_tanh)(REAL x)
{
    const REAL inner = NAME(MULADD)(x * x, (REAL)0.044715, 1);
    return x / (1 + NAME(vector_exp)(x * inner * (REAL)-1.5957691216057307118));
}

/* `x < 0 ? 0 : x` lets a NaN through, as the maximum of NumPy and torch does. */
static void NAME(activate)(const REAL *source, REAL *target, int64_t n, REAL b, int64_t code, double parameter)
{
    const REAL a = (REAL)parameter;
    switch (code) {
    case 0: EACH(x)
    case 1: EACH(x < 0 ? 0 : x)
    case 2: EACH(x < 0 ? a * x : x)
    case 3: EACH(x < 0 ? a * NAME(vector_expm1)(x) : x)
    case 4: EACH(1 / (1 + NAME(vector_exp)(-x)))
    case 5: EACH(NAME(vector_tanh)(x))
    case 6: EACH(x / (1 + NAME(vector_exp)(-x)))
    case 7: EACH(x * NAME(vector_normal)(x))
    case 8: EACH(NAME(hardswish)(x))
    case 9: EACH(NAME(gelu_tanh)(x))
    case 10: EACH(x < 0 ? 0 : x > 6 ? 6 : x)
    }
}

static void NAME(epilogue)(REAL *values, int64_t n, const REAL *bias, int64_t m, int64_t code, double parameter)
{
    if (code || bias)
        NAME(activate)(values, values, n, bias ? bias[m] : 0, code, parameter);
}

#undef EACH
