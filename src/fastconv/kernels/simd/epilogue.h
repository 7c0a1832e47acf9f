/* Activations: `activate` is target[i] = activation(source[i] + b) over n neighbouring values, and `epilogue` that of a
 * row that belongs to output channel m, in place.
 *
 * `bias` may be null, and `target` may be `source`. The codes are those of fastconv/epilogue.py; 0 is the identity, and
 * `a` the parameter of those that have one.
 */
#ifndef FASTCONV_EPILOGUE_H
#define FASTCONV_EPILOGUE_H

#include <stdint.h>

#include "elementary.h"

#define EACH(expression)                                     \
    INDEPENDENT                                              \
    for (int64_t i = 0; i < n; i++) {                        \
        const T x = source[i] + b;                           \
        target[i] = (expression);                            \
    }                                                        \
    break;

/* `x < 0 ? 0 : x` lets a NaN through, as the maximum of NumPy and torch does. */
#define EPILOGUE(real, type)                                                                            \
    /* x times min(max(x + 3, 0), 6) / 6, which is 1 where x may be too large to be multiplied by 6. */ \
    static inline real hardswish_##type(real x)                                                         \
    {                                                                                                   \
        real share = x + 3;                                                                             \
        share = share < 0 ? 0 : share > 6 ? 6 : share;                                                  \
        return x * (share * (real)(1. / 6));                                                            \
    }                                                                                                   \
    static void activate_##type(const real *source, real *target, int64_t n, real b, int64_t code, double parameter) \
    {                                                                                                   \
        typedef real T;                                                                                 \
        const T a = (T)parameter;                                                                       \
        switch (code) {                                                                                 \
        case 0: EACH(x)                                                                                 \
        case 1: EACH(x < 0 ? 0 : x)                                                                     \
        case 2: EACH(x < 0 ? a * x : x)                                                                 \
        case 3: EACH(x < 0 ? a * vector_expm1_##type(x) : x)                                            \
        case 4: EACH(1 / (1 + vector_exp_##type(-x)))                                                   \
        case 5: EACH(vector_tanh_##type(x))                                                             \
        case 6: EACH(x / (1 + vector_exp_##type(-x)))                                                   \
        case 7: EACH((T)0.5 * x * vector_tail_##type(x))                                                \
        case 8: EACH(hardswish_##type(x))                                                               \
        }                                                                                               \
    }                                                                                                   \
    static void epilogue_##type(real *values, int64_t n, const real *bias, int64_t m, int64_t code, double parameter) \
    {                                                                                                   \
        if (code || bias)                                                                               \
            activate_##type(values, values, n, bias ? bias[m] : 0, code, parameter);                    \
    }

EPILOGUE(float, f32)
EPILOGUE(double, f64)

#undef EACH
#undef EPILOGUE
#endif
