/* exp, expm1, log, log1p, tanh and the normal distribution without branches or calls, so that a loop over them becomes vector
 * instructions.
 *
 *   x = n ln 2 + r,  |r| <= ln(2) / 2,  exp(x) = 2**n (1 + p(r)),  p(r) = expm1(r) by its Taylor polynomial
 *   tanh|x| = -e / (2 + e),  e = expm1(-2 |x|), which cancels nowhere
 *
 * Errors are about two units in the last place (2.5 measured); the polynomials end where their next term is below a
 * quarter of a unit. Adding MAGIC rounds to an integer and leaves it in the lowest bits. The power of two is applied in
 * two halves, so that results pass through the subnormals to zero, and up to infinity. The C library's functions take
 * one value per call: they took 4 to 12 times as long.
 *
 * Every multiply-add is spelled out, since a compiler may contract differently from loop to loop. Each limit is a
 * statement of its own, since GCC turns nested choices into branches, and then does not vectorise.
 */
#ifndef FASTCONV_ELEMENTARY_H
#define FASTCONV_ELEMENTARY_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__FMA__) || defined(__aarch64__)
#define MULADD_f32(a, b, c) __builtin_fmaf(a, b, c)
#define MULADD_f64(a, b, c) __builtin_fma(a, b, c)
#else
#define MULADD_f32(a, b, c) ((a) * (b) + (c))
#define MULADD_f64(a, b, c) ((a) * (b) + (c))
#endif

#define ELEMENTARY(T, I, type, MAGIC, MANTISSA, BIAS, LOW, HIGH, LN2_HIGH, LN2_LOW)                   \
    static inline I bits_##type(T x)                                                                  \
    {                                                                                                 \
        I bits;                                                                                       \
        memcpy(&bits, &x, sizeof bits);                                                               \
        return bits;                                                                                  \
    }                                                                                                 \
    static inline T power_of_two_##type(I n)                                                          \
    {                                                                                                 \
        const I bits = (I)((uint64_t)(n + BIAS) << MANTISSA);                                         \
        T x;                                                                                          \
        memcpy(&x, &bits, sizeof x);                                                                  \
        return x;                                                                                     \
    }                                                                                                 \
    /* exp(x), or expm1(x). */                                                                        \
    static inline T raised_##type(T x, int less_one)                                                  \
    {                                                                                                 \
        x = x < LOW ? LOW : x;                                                                        \
        x = x > HIGH ? HIGH : x;                                                                      \
        const T whole = MULADD_##type(x, (T)1.44269504088896340736, MAGIC), n = whole - MAGIC;        \
        const T half = MULADD_##type(n, (T)0.5, MAGIC);                                               \
        const I first = bits_##type(half) - bits_##type(MAGIC);                                       \
        const I second = bits_##type(whole) - bits_##type(MAGIC) - first;                             \
        const T r = MULADD_##type(n, -LN2_LOW, MULADD_##type(n, -LN2_HIGH, x));                       \
        const T s = power_of_two_##type(first), one = less_one ? power_of_two_##type(-second) : 0;    \
        return MULADD_##type(s, expm1_near_0_##type(r), s - one) * power_of_two_##type(second);       \
    }                                                                                                 \
    static inline T vector_exp_##type(T x) { return raised_##type(x, 0); }                          \
    static inline T vector_expm1_##type(T x) { return raised_##type(x, 1); }                        \
    static inline T vector_tanh_##type(T x)                                                           \
    {                                                                                                 \
        const T e = raised_##type(x < 0 ? 2 * x : -2 * x, 1), y = -e / (2 + e);                     \
        return x < 0 ? -y : x > 0 ? y : x;                                                            \
    }

/* Horner's rule for r + r**2 (c2 + c3 r + ...). */
static inline float expm1_near_0_f32(float r)
{
    static const float c[] = {1.f / 5040, 1.f / 720, 1.f / 120, 1.f / 24, 1.f / 6, 1.f / 2};
    float q = c[0];
    UNROLL for (int i = 1; i < 6; i++)
        q = MULADD_f32(q, r, c[i]);
    return MULADD_f32(r * r, q, r);
}

static inline double expm1_near_0_f64(double r)
{
    static const double c[] = {1. / 6227020800, 1. / 479001600, 1. / 39916800, 1. / 3628800, 1. / 362880, 1. / 40320,
                               1. / 5040,       1. / 720,       1. / 120,      1. / 24,      1. / 6,      1. / 2};
    double q = c[0];
    UNROLL for (int i = 1; i < 12; i++)
        q = MULADD_f64(q, r, c[i]);
    return MULADD_f64(r * r, q, r);
}

ELEMENTARY(float, int32_t, f32, 0x1.8p23f, 23, 127, -104.f, 89.f, 0x1.62e4p-1f, 0x1.7f7d1cp-20f)
ELEMENTARY(double, int64_t, f64, 0x1.8p52, 52, 1023, -746., 710., 0x1.62e42fefa3800p-1, 0x1.ef35793c76730p-45)

/* log(x) of a normal number: x = 2**n (1 + f), sqrt(1/2) <= 1 + f < sqrt 2, and log(1 + f) = 2 atanh(s), s = f / (2 + f),
 * by its series. NaN stays NaN. log1p(x), 0 <= x <= 1, takes f from x itself, without the rounding of 1 + x. */
#define LOGARITHM(T, I, type, MANTISSA, TERMS, LN2_HIGH, LN2_LOW)                                               \
    static inline T log_near_1_##type(T f, T high, T low)                                                            \
    {                                                                                                                \
        const T s = f / (2 + f), square = s * s;                                                                     \
        T series = (T)2 / (2 * TERMS + 1);                                                                           \
        UNROLL for (int i = TERMS - 1; i > 0; i--)                                                                   \
            series = MULADD_##type(series, square, (T)2 / (2 * i + 1));                                              \
        /* 2 s = f - s f, which errs less than s does. */                                                            \
        const T rest = MULADD_##type(s, MULADD_##type(series, square, -f), low);                                     \
        return high + (f + rest);                                                                                    \
    }                                                                                                                \
    static inline T vector_log_##type(T x)                                                                           \
    {                                                                                                                \
        const I n = (bits_##type(x) - bits_##type((T)0.70710678118654752440)) >> MANTISSA;                           \
        return log_near_1_##type(x * power_of_two_##type(-n) - 1, n * LN2_HIGH, n * LN2_LOW);                        \
    }                                                                                                                \
    static inline T vector_log1p_##type(T x)                                                                         \
    {                                                                                                                \
        const int halved = x > (T)0.41421356237309504880;                                                            \
        return log_near_1_##type(halved ? (x - 1) * (T)0.5 : x, halved ? LN2_HIGH : 0, halved ? LN2_LOW : 0);        \
    }
LOGARITHM(float, int32_t, f32, 23, 5, 0x1.62e4p-1f, 0x1.7f7d1cp-20f)
LOGARITHM(double, int64_t, f64, 52, 11, 0x1.62e42fefa3800p-1, 0x1.ef35793c76730p-45)

/* The cumulative normal distribution: for x < 0, t p(t) exp(-x**2 / 2), t = 1 / (1 - 0.3 x), with p interpolated so that
 * t p(t) is erfcx(-x / sqrt 2) / 2 to within 1.3e-7. The exponential has no limits to check, since it becomes 0 where its
 * power of two would leave the normal numbers, and is applied at once. Polynomials are summed by Estrin's scheme, whose
 * chain is short. The relative error is at most 5e-7 for x > -1; further down, the rounding of x**2 counts. */
static inline float vector_normal_f32(float x)
{
    const float t = 1 / MULADD_f32(x < 0 ? -x : x, 0.3f, 1.f), t2 = t * t;
    const float high = MULADD_f32(MULADD_f32(0.0360362923f, t, -0.158713547f), t2,
                                  MULADD_f32(0.208964442f, t, -0.0560957077f));
    const float low = MULADD_f32(MULADD_f32(0.129843305f, t, 0.0995231034f), t2,
                                 MULADD_f32(0.120816885f, t, 0.119625166f));
    const float square = x * x, magic = 0x1.8p23f;
    const float whole = MULADD_f32(square, -0.721347520444481704f, magic), n = whole - magic;
    /* -2 times the r above, and expm1(r) + 1 */
    const float r = MULADD_f32(n, 2 * 0x1.7f7d1cp-20f, MULADD_f32(n, 2 * 0x1.62e4p-1f, square)), r2 = r * r;
    const float upper = MULADD_f32(MULADD_f32(-1.f / 645120, r, 1.f / 46080), r2,
                                   MULADD_f32(-1.f / 3840, r, 1.f / 384));
    const float near_1 = MULADD_f32(r2, MULADD_f32(upper, r2, MULADD_f32(-1.f / 48, r, 1.f / 8)),
                                    MULADD_f32(-0.5f, r, 1.f));
    const int32_t raised = bits_f32(near_1) + (int32_t)((uint32_t)bits_f32(whole) << 23);
    float power;
    memcpy(&power, &raised, sizeof power);
    power = square > 173.5f ? 0 : power;
    const float tail = t * MULADD_f32(high, t2 * t2, low) * power;
    return x < 0 ? tail : 1 - tail;
}

/* erfc(x / sqrt 2) for x >= 0: exp(-x**2 / 2) p(x) / q(x), a rational approximation of erfcx (Remez) to within 6e-17 from
 * 0 to 40, where the power vanishes. All coefficients are positive, so that nothing cancels. x is split so that the
 * square of its upper half is exact: rounded, it would cost a power of many digits some of them. */
static inline double vector_two_tails_f64(double x)
{
    static const double p[] = {2.79508159818743853e-6, 0.0000750390177299097596,
                               0.000986668730514349045, 0.00821891321643618821,
                               0.0474342823694335719, 0.196017994335313409, 0.580043435471384174,
                               1.19001973659504294, 1.55107625207588433, 0.999999999999999946};
    static const double q[] = {3.50311528196809374e-6, 0.0000940474617691968657,
                               0.00124010898426865694, 0.0103949275787494139,
                               0.0606796567302881118, 0.255784897426001484, 0.783988749978454989,
                               1.71747554176935463, 2.5642193031222771, 2.34896081287873902, 1.0};
    x = x > 40 ? 40 : x;
    double over = p[0], under = q[0];
    UNROLL for (int i = 1; i < 10; i++)
        over = MULADD_f64(over, x, p[i]);
    UNROLL for (int i = 1; i < 11; i++)
        under = MULADD_f64(under, x, q[i]);
    const int64_t upper = bits_f64(x) & -(INT64_C(1) << 27);
    double high;
    memcpy(&high, &upper, sizeof high);
    const double low = (x - high) * (x + high) * -0.5;
    const double power = MULADD_f64(low, MULADD_f64(low, MULADD_f64(low, 1. / 6, 0.5), 1.), 1.);
    return over / under * power * vector_exp_f64(high * high * -0.5);
}

static inline double vector_normal_f64(double x)
{
    const double tail = 0.5 * vector_two_tails_f64(x < 0 ? -x : x);
    return x < 0 ? tail : 1 - tail;
}

#endif
