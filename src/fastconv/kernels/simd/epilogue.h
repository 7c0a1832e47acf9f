/* y = activation(x + bias[m]) over the n neighbouring values of a row that belongs to output channel m, in place.
 *
 * `bias` may be null. The codes are those of fastconv/epilogue.py; 0 is the identity, and `a` the parameter of
 * those that have one.
 */
#ifndef FASTCONV_EPILOGUE_H
#define FASTCONV_EPILOGUE_H

#include <math.h>
#include <stdint.h>

#define EACH(expression)                                     \
    for (int64_t i = 0; i < n; i++) {                        \
        const T x = values[i] + b;                           \
        values[i] = (expression);                            \
    }                                                        \
    break;

/* `x < 0 ? 0 : x` lets a NaN through, as the maximum of NumPy and torch does. */
#define EPILOGUE(name, type, exp, expm1, tanh, erf)                                              \
    static void name(type *values, int64_t n, const type *bias, int64_t m, int64_t code, double parameter) \
    {                                                                                     \
        typedef type T;                                                                   \
        const T b = bias ? bias[m] : 0, a = (T)parameter;                                 \
        switch (code) {                                                                   \
        case 0: if (!bias) break; EACH(x)                                                 \
        case 1: EACH(x < 0 ? 0 : x)                                                       \
        case 2: EACH(x < 0 ? a * x : x)                                                   \
        case 3: EACH(x < 0 ? a * expm1(x) : x)                                            \
        case 4: EACH(1 / (1 + exp(-x)))                                                   \
        case 5: EACH(tanh(x))                                                             \
        case 6: EACH(x / (1 + exp(-x)))                                                   \
        case 7: EACH((T)0.5 * x * (1 + erf(x * (T)0.70710678118654752)))                  \
        case 8: EACH(x <= -3 ? 0 : x >= 3 ? x : x * (x + 3) / 6)                          \
        }                                                                                 \
    }

EPILOGUE(epilogue_f32, float, expf, expm1f, tanhf, erff)
EPILOGUE(epilogue_f64, double, exp, expm1, tanh, erf)

#undef EACH
#undef EPILOGUE
#endif
