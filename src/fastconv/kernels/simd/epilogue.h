/* y = activation(x + bias[m]) over the n neighbouring values of a row that belongs to output channel m, in place.
 *
 * `bias` may be null. The codes are those of fastconv/epilogue.py; 0 is the identity, and `a` the parameter of
 * those that have one.
 */
#ifndef FASTCONV_EPILOGUE_H
#define FASTCONV_EPILOGUE_H

#include <stdint.h>

#include "elementary.h"

#define EACH(expression)                                     \
    for (int64_t i = 0; i < n; i++) {                        \
        const T x = values[i] + b;                           \
        values[i] = (expression);                            \
    }                                                        \
    break;

/* `x < 0 ? 0 : x` lets a NaN through, as the maximum of NumPy and torch does. */
#define EPILOGUE(real, type)                                                                            \
    static void epilogue_##type(real *values, int64_t n, const real *bias, int64_t m, int64_t code, double parameter) \
    {                                                                                                   \
        typedef real T;                                                                                 \
        const T b = bias ? bias[m] : 0, a = (T)parameter;                                               \
        switch (code) {                                                                                 \
        case 0: if (!bias) break; EACH(x)                                                               \
        case 1: EACH(x < 0 ? 0 : x)                                                                     \
        case 2: EACH(x < 0 ? a * x : x)                                                                 \
        case 3: EACH(x < 0 ? a * vector_expm1_##type(x) : x)                                            \
        case 4: EACH(1 / (1 + vector_exp_##type(-x)))                                                   \
        case 5: EACH(vector_tanh_##type(x))                                                             \
        case 6: EACH(x / (1 + vector_exp_##type(-x)))                                                   \
        case 7: EACH((T)0.5 * x * (x < 0 ? vector_two_tails_##type(-x) : 2 - vector_two_tails_##type(x))) \
        case 8: EACH(x <= -3 ? 0 : x >= 3 ? x : x * (x + 3) / 6)                                        \
        }                                                                                               \
    }

EPILOGUE(float, f32)
EPILOGUE(double, f64)

#undef EACH
#undef EPILOGUE
#endif
