/* Sums in SciPy's order, compiled without contraction: the same kernel for all types of integers, and their casts. */
#include "casts.h"

#include "continuation.h"

#include "near.h"

#define REAL float
#define BITS int32_t
#define NAME(name) name##_f32
#include "vector.h"
#undef REAL
#undef BITS
#undef NAME

/* How many values of a type are a vector. */
#define LANES_OF(T) (SIMD_BYTES / (int)sizeof(T))

#define ORDERED_ARGUMENTS(X)                                                      \
    X(size)         /* bytes of a value of the image */                           \
    X(out_size)     /* bytes of a value of the output */                          \
    X(ih)           /* rows of a plane */                                         \
    X(iw)           /* columns of a plane */                                      \
    X(kh)           /* rows that the first pass sees */                           \
    X(reach)        /* columns past an output's own strip that it sees */         \
    X(pt)           /* rows above the output's own that it sees */                \
    X(pl)           /* columns before the output's own that it sees */            \
    X(taps)         /* of the first pass */                                       \
    X(terms)        /* weights of the first pass: fewer than taps if in pairs */  \
    X(parity)       /* 1 for sums of pairs, -1 for differences, 0 for no pairs */ \
    X(along_reach)  /* the same of the second pass, */                            \
    X(along_pl)     /* which runs along the rows */                               \
    X(along_taps)   /* 0 if there is none */                                      \
    X(along_parity) /* */                                                         \
    X(along_terms)  /* */                                                         \
    X(rows)         /* of sums that share what they add up: 1, or 2 in float32 */ \
    X(row_tile)     /* rows of a tile */                                          \
    X(down)         /* tiles down */                                              \
    X(strip)        /* columns of a strip: whole vectors */                       \
    X(block)        /* rows that a second pass runs along at a time */
ARGUMENTS(Ordered, ORDERED_ARGUMENTS);

#define LINE double
#define NEAR 0
#define NAME(name) name##_f64
#include "ordered.h"
#undef LINE
#undef NEAR
#undef NAME

#define LINE float
#define NEAR 1
#define NAME(name) name##_f32
#include "ordered.h"
#undef LINE
#undef NEAR
#undef NAME

#include "slots.h"

#define CAST_SLOTS(name, T)                                                                             \
    {"ordered", #name, (void (*)(void))ordered_f64, ORDERED_ARGUMENTS(QUOTED), ordered_scratch_f64, 0}, \
    {"widen", #name, (void (*)(void))widen_##name, "", 0, 0},                                           \
    {"narrow", #name, (void (*)(void))narrow_##name, "", 0, 0},                                         \
    {"narrow_fitting", #name, (void (*)(void))narrow_fitting_##name, "", 0, 0},

#define NEAR_SLOTS(name, T)                                                                                  \
    {"ordered_near", #name, (void (*)(void))ordered_f32, ORDERED_ARGUMENTS(QUOTED), ordered_scratch_f32, 0}, \
    {"widen_near", #name, (void (*)(void))widen_near_##name, "", 0, 0},                                      \
    {"narrow_near", #name, (void (*)(void))narrow_near_##name, "", 0, 0},

const kernel_slot OF_ISA(kernels_ordered)[] = {CAST_TYPES(CAST_SLOTS) BYTE_TYPES(NEAR_SLOTS) {0}};
