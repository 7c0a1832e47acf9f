/* Values of one type as another: as C casts them, but real numbers become unsigned ones through int64, and signed ones of
 * one and two bytes through int32, as in SciPy as it is compiled. Clang would otherwise saturate some of them. */
#include <stdint.h>

/* X(number, type): the numbers of the types, which convert.pyx names. */
#define OTHERS(X)                                                                                                      \
    X(0, int8_t) X(1, uint8_t) X(2, int16_t) X(3, uint16_t) X(4, int32_t) X(5, uint32_t) X(7, uint64_t)
#define INTEGERS(X) OTHERS(X) X(6, int64_t)
#define TYPES 12
/* Results of one byte that are 0 or 1: whether a real number, cast to a byte as SciPy casts it, or any value as it is
 * differs from 0. */
#define CAST_TO_BOOL 10
#define NOT_ZERO 11

#define LOOP(CAST)                                                                                                     \
    for (int64_t i = begin; i < end; i++)                                                                              \
        to[i] = CAST from[i];                                                                                          \
    return

/* From a type of integers to one of real numbers, and back. */
#define BETWEEN(number, type, real_number, real)                                                              \
    case number * TYPES + real_number: {                                                                               \
        const type *restrict from = source;                                                                            \
        real *restrict to = target;                                                                                    \
        LOOP((real));                                                                                                  \
    }                                                                                                                  \
    case real_number * TYPES + number: {                                                                               \
        const real *restrict from = source;                                                                            \
        type *restrict to = target;                                                                                    \
        if ((type)-1 > 0 && sizeof(type) < 8) {                                                                        \
            LOOP((type)(int64_t));                                                                                     \
        }                                                                                                              \
        if (sizeof(type) < 4) {                                                                                        \
            LOOP((type)(int32_t));                                                                                     \
        }                                                                                                              \
        LOOP((type));                                                                                                  \
    }
#define WITH_FLOAT(number, type) BETWEEN(number, type, 8, float)
#define WITH_DOUBLE(number, type) BETWEEN(number, type, 9, double)


/* From int64 to another type of integers, and back. */
#define WITH_LONG(number, type)                                                                                        \
    case number * TYPES + 6: {                                                                                         \
        const type *restrict from = source;                                                                            \
        int64_t *restrict to = target;                                                                                 \
        LOOP((int64_t));                                                                                               \
    }                                                                                                                  \
    case 6 * TYPES + number: {                                                                                         \
        const int64_t *restrict from = source;                                                                         \
        type *restrict to = target;                                                                                    \
        LOOP((type));                                                                                                  \
    }

/* From short integers to longer ones that hold all of them. */
#define WIDENED(number, type, wide_number, wide)                                                                       \
    case number * TYPES + wide_number: {                                                                               \
        const type *restrict from = source;                                                                            \
        wide *restrict to = target;                                                                                    \
        LOOP((wide));                                                                                                  \
    }

#define TO_BOOL(number, type)                                                                                          \
    case number * TYPES + CAST_TO_BOOL: {                                                                              \
        const type *restrict from = source;                                                                            \
        uint8_t *restrict to = target;                                                                                 \
        LOOP(0 != (uint8_t)(int64_t));                                                                                 \
    }
#define FROM_ANY(number, type)                                                                                         \
    case number * TYPES + NOT_ZERO: {                                                                                  \
        const type *restrict from = source;                                                                            \
        uint8_t *restrict to = target;                                                                                 \
        LOOP(0 !=);                                                                                                    \
    }

static void convert(const void *source, void *target, int64_t kind, int64_t begin, int64_t end)
{
    switch (kind) {
        INTEGERS(WITH_FLOAT)
        INTEGERS(WITH_DOUBLE)
        OTHERS(WITH_LONG)
        WIDENED(0, int8_t, 2, int16_t)
        WIDENED(0, int8_t, 4, int32_t)
        WIDENED(1, uint8_t, 2, int16_t)
        WIDENED(1, uint8_t, 3, uint16_t)
        WIDENED(1, uint8_t, 4, int32_t)
        WIDENED(2, int16_t, 4, int32_t)
        WIDENED(3, uint16_t, 4, int32_t)
        TO_BOOL(8, float)
        TO_BOOL(9, double)
        INTEGERS(FROM_ANY)
        FROM_ANY(8, float)
        FROM_ANY(9, double)
    case 8 * TYPES + 9: {
        const float *restrict from = source;
        double *restrict to = target;
        LOOP((double));
    }
    case 9 * TYPES + 8: {
        const double *restrict from = source;
        float *restrict to = target;
        LOOP((float));
    }
    }
}
