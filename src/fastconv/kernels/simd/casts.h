/* Casts of integers to what sums are made of, and of sums to integers, as SciPy casts them: by rounding towards zero. */
#include "isa.h"

#define REAL double
#define BITS int64_t
#define NAME(name) name##_f64
#include "vector.h"

typedef void widen_function(void *to, const void *from, int64_t n);
typedef void narrow_function(void *to, const double *from, int64_t n);
typedef int64_t narrow_near_function(void *to, const float *from, float error, int64_t begin, int64_t end);

/* Whether all values fit int32_t, by way of which vectors cast them. */
static int fit(const double *from, int64_t n)
{
    const VECTOR low = NAME(broadcast)(-2147483649.0), high = NAME(broadcast)(2147483648.0);
    NAME(mask) fits = low < high;
    int64_t i = 0, all = 1;
    for (; i + LANES <= n; i += LANES) {
        const VECTOR x = NAME(load)(from + i);
        fits &= (x > low) & (x < high);
    }
    for (int64_t lane = 0; lane < LANES; lane++)
        all &= fits[lane];
    for (; i < n; i++)
        all &= (from[i] > low[0]) & (from[i] < high[0]);
    return all;
}

#define INTEGERS(name, T)                                                                         \
    static void widen_##name(void *restrict to, const void *restrict from, int64_t n)             \
    {                                                                                             \
        const T *restrict x = from;                                                               \
        double *restrict wider = to;                                                              \
        for (int64_t i = 0; i < n; i++)                                                           \
            wider[i] = (double)x[i];                                                              \
    }                                                                                             \
    static void narrow_fitting_##name(void *restrict to, const double *restrict from, int64_t n)  \
    {                                                                                             \
        T *restrict y = to;                                                                       \
        for (int64_t i = 0; i < n; i++)                                                           \
            y[i] = (T)(int32_t)from[i];                                                           \
    }                                                                                             \
    static void narrow_##name(void *restrict to, const double *restrict from, int64_t n)          \
    {                                                                                             \
        T *restrict y = to;                                                                       \
        if (fit(from, n))                                                                         \
            narrow_fitting_##name(to, from, n);                                                   \
        else                                                                                      \
            for (int64_t i = 0; i < n; i++) /* as convert.h does */                               \
                y[i] = (T)-1 > 0 ? (T)(int64_t)from[i] : (T)(int32_t)from[i];                              \
    }

/* The types that are cast: X(name, type). */
#define CAST_TYPES(X) \
    X(i1, int8_t) X(u1, uint8_t) X(i2, int16_t) X(u2, uint16_t) X(i4, int32_t) X(u4, uint32_t)
CAST_TYPES(INTEGERS)

/* Values that are cast together, and those of them that are added up again together. */
enum { TOGETHER = 64, AGAIN = 8 };

/* The types whose sums may be in float32, X(name, type). They are cast from `begin` on, to where the next TOGETHER begin
 * that are not all cast to the same integers if they are off by up to `error`. */
#define BYTE_TYPES(X) X(i1, int8_t) X(u1, uint8_t)
#define BYTES(name, T)                                                                                       \
    static void widen_near_##name(void *restrict to, const void *restrict from, int64_t n)                   \
    {                                                                                                        \
        const T *restrict x = from;                                                                          \
        float *restrict wider = to;                                                                          \
        for (int64_t i = 0; i < n; i++)                                                                      \
            wider[i] = (float)x[i];                                                                          \
    }                                                                                                        \
    static inline __attribute__((always_inline)) int32_t differs_##name(T *restrict to,                      \
                                                                        const float *restrict from,          \
                                                                        float error, int64_t n)              \
    {                                                                                                        \
        int32_t differs = 0;                                                                                 \
        INDEPENDENT for (int64_t i = 0; i < n; i++)                                                          \
        {                                                                                                    \
            const int32_t low = (int32_t)(from[i] - error), high = (int32_t)(from[i] + error);               \
            differs |= low ^ high;                                                                           \
            to[i] = (T)low;                                                                                  \
        }                                                                                                    \
        return differs;                                                                                      \
    }                                                                                                        \
    static int64_t narrow_near_##name(void *to, const float *from, float error, int64_t begin, int64_t end)  \
    {                                                                                                        \
        int64_t i = begin;                                                                                   \
        for (; i + TOGETHER <= end; i += TOGETHER)                                                           \
            if (differs_##name((T *)to + i, from + i, error, TOGETHER))                                      \
                return i;                                                                                    \
        return i < end && differs_##name((T *)to + i, from + i, error, end - i) ? i : end;                   \
    }
BYTE_TYPES(BYTES)

#undef REAL
#undef BITS
#undef NAME
