/* The kernels of ranks, for each type of values but complex numbers. */
#include "isa.h"

#include "continuation.h"

#include "copy.h"

#include "instructions.h"

#include "slots.h"

#define NETWORK_ARGUMENTS(X)                                                            \
    X(cols)      /* columns of the image */                                             \
    X(axes)      /* axes of rows: all but the last */                                   \
    X(reach)     /* samples that the map of each of these axes has beyond its extent */ \
    X(lines)     /* rows that a window sees */                                          \
    X(taps)      /* inputs of the network */                                            \
    X(kw)        /* columns of the window */                                            \
    X(pl)        /* columns of the window before the output's own */                    \
    X(span)      /* outputs of a block */                                               \
    X(across)    /* blocks of a row */                                                  \
    X(rows)      /* of the output that are computed together: 1 or 2 */                 \
    X(slots)     /* of the program */                                                   \
    X(words)     /* of the program */                                                   \
    X(continues) /* whether the program continues columns */                            \
    X(pause)     /* tiles between two checks whether to stop */
ARGUMENTS(Network, NETWORK_ARGUMENTS);

/* The comparisons that leave the median of values v0 to v8 in v4, and of v0 to v24 in v12 (Devillard, Fast median search:
 * an ANSI C implementation, 1998). */
#define VALUES_9(X) X(0) X(1) X(2) X(3) X(4) X(5) X(6) X(7) X(8)
#define VALUES_25(X)                                                                                        \
    VALUES_9(X) X(9) X(10) X(11) X(12) X(13) X(14) X(15) X(16) X(17) X(18) X(19) X(20) X(21) X(22) X(23) X(24)
#define MEDIAN_9(X)                                                                                         \
    X(1, 2) X(4, 5) X(7, 8) X(0, 1) X(3, 4) X(6, 7) X(1, 2) X(4, 5) X(7, 8) X(0, 3) X(5, 8) X(4, 7) X(3, 6) \
    X(1, 4) X(2, 5) X(4, 7) X(4, 2) X(6, 4) X(4, 2)
#define MEDIAN_25(X) \
    X(0, 1) X(3, 4) X(2, 4) X(2, 3) X(6, 7) X(5, 7) X(5, 6) X(9, 10) X(8, 10) X(8, 9) X(12, 13) X(11, 13) \
    X(11, 12) X(15, 16) X(14, 16) X(14, 15) X(18, 19) X(17, 19) X(17, 18) X(21, 22) X(20, 22) X(20, 21) \
    X(23, 24) X(2, 5) X(3, 6) X(0, 6) X(0, 3) X(4, 7) X(1, 7) X(1, 4) X(11, 14) X(8, 14) X(8, 11) X(12, 15) \
    X(9, 15) X(9, 12) X(13, 16) X(10, 16) X(10, 13) X(20, 23) X(17, 23) X(17, 20) X(21, 24) X(18, 24) \
    X(18, 21) X(19, 22) X(8, 17) X(9, 18) X(0, 18) X(0, 9) X(10, 19) X(1, 19) X(1, 10) X(11, 20) X(2, 20) \
    X(2, 11) X(12, 21) X(3, 21) X(3, 12) X(13, 22) X(4, 22) X(4, 13) X(14, 23) X(5, 23) X(5, 14) X(15, 24) \
    X(6, 24) X(6, 15) X(7, 16) X(7, 19) X(13, 21) X(15, 23) X(7, 13) X(7, 15) X(1, 9) X(3, 11) X(5, 17) \
    X(11, 17) X(9, 17) X(4, 10) X(6, 12) X(7, 14) X(4, 6) X(4, 7) X(12, 14) X(10, 14) X(6, 7) X(10, 12) \
    X(6, 10) X(6, 17) X(12, 17) X(7, 17) X(7, 10) X(12, 18) X(7, 12) X(10, 18) X(12, 20) X(10, 20) X(10, 12)

#define MEDIANS_ARGUMENTS(X)                                         \
    X(ih)       /* rows of a plane */                                \
    X(iw)       /* columns of a plane */                             \
    X(k)        /* rows and columns of the window: 3 or 5 */         \
    X(step)     /* between neighbours along a row: channels */       \
    X(pl)       /* columns of the window before the output's own */  \
    X(row_tile) /* rows of a tile */                                 \
    X(down)     /* tiles down */                                     \
    X(col_tile) /* columns of a tile */                              \
    X(across)   /* tiles across */
ARGUMENTS(Medians, MEDIANS_ARGUMENTS);

/* Rows of outputs that medians.h computes together. */
enum { MEDIAN_ROWS = 4 };

#define SLIDING_ARGUMENTS(X)                    \
    X(ih)       /* rows of a plane */           \
    X(iw)       /* columns of a plane */        \
    X(kh)       /* rows of the window */        \
    X(kw)       /* columns of the window */     \
    X(runs)     /* runs of all of these rows */ \
    X(rank)     /* of the value, from 0 */      \
    X(row_tile) /* rows of a tile */            \
    X(down)     /* tiles down */                \
    X(col_tile) /* columns of a tile */         \
    X(across)   /* tiles across */
ARGUMENTS(Sliding, SLIDING_ARGUMENTS);

/* Places of a block of the histograms of sliding.h. */
enum { PLACES = 64 };

#define NETWORK_CODE(name, targets, sources) NETWORK_##name,
enum { INSTRUCTIONS(NETWORK_CODE) };

#define NETWORK_OPERANDS(name, targets, sources) targets + sources,
static const uint8_t operands[] = {INSTRUCTIONS(NETWORK_OPERANDS)};

#define T int8_t
#define FLOATING 0
#define NAME(name) name##_i1
#define KEY uint32_t
#include "network.h"
#include "medians.h"
#include "sliding.h"
#undef KEY
#undef T
#undef FLOATING
#undef NAME

#define T uint8_t
#define FLOATING 0
#define NAME(name) name##_u1
#define KEY uint32_t
#include "network.h"
#include "medians.h"
#include "sliding.h"
#undef KEY
#undef T
#undef FLOATING
#undef NAME

#define T int16_t
#define FLOATING 0
#define NAME(name) name##_i2
#define KEY uint32_t
#include "network.h"
#include "medians.h"
#include "sliding.h"
#undef KEY
#undef T
#undef FLOATING
#undef NAME

#define T uint16_t
#define FLOATING 0
#define NAME(name) name##_u2
#define KEY uint32_t
#include "network.h"
#include "medians.h"
#include "sliding.h"
#undef KEY
#undef T
#undef FLOATING
#undef NAME

#define T int32_t
#define FLOATING 0
#define NAME(name) name##_i4
#define KEY uint32_t
#include "network.h"
#include "medians.h"
#include "sliding.h"
#undef KEY
#undef T
#undef FLOATING
#undef NAME

#define T uint32_t
#define FLOATING 0
#define NAME(name) name##_u4
#define KEY uint32_t
#include "network.h"
#include "medians.h"
#include "sliding.h"
#undef KEY
#undef T
#undef FLOATING
#undef NAME

#define T int64_t
#define FLOATING 0
#define NAME(name) name##_i8
#define KEY uint64_t
#include "network.h"
#include "medians.h"
#include "sliding.h"
#undef KEY
#undef T
#undef FLOATING
#undef NAME

#define T uint64_t
#define FLOATING 0
#define NAME(name) name##_u8
#define KEY uint64_t
#include "network.h"
#include "medians.h"
#include "sliding.h"
#undef KEY
#undef T
#undef FLOATING
#undef NAME

#define T float
#define FLOATING 1
#define NAME(name) name##_f4
#define KEY uint32_t
#include "network.h"
#include "medians.h"
#include "sliding.h"
#undef KEY
#undef T
#undef FLOATING
#undef NAME

#define T double
#define FLOATING 1
#define NAME(name) name##_f8
#define KEY uint64_t
#include "network.h"
#include "medians.h"
#include "sliding.h"
#undef KEY
#undef T
#undef FLOATING
#undef NAME

#include "bytes.h"

#define RANK_TYPES(X) X(i1) X(u1) X(i2) X(u2) X(i4) X(u4) X(i8) X(u8) X(f4) X(f8)
#define RANK_SLOTS(type)                                                                                      \
    {"network", #type, (void (*)(void))network_##type, NETWORK_ARGUMENTS(QUOTED), network_scratch_##type, 0}, \
    {"medians", #type, (void (*)(void))medians_##type, MEDIANS_ARGUMENTS(QUOTED), medians_scratch_##type, 0}, \
    {"sliding", #type, (void (*)(void))sliding_##type, SLIDING_ARGUMENTS(QUOTED), sliding_scratch_##type, 0},

const kernel_slot OF_ISA(kernels_ranks)[] = {
    RANK_TYPES(RANK_SLOTS){"bytes", "u1", (void (*)(void))bytes, BYTES_ARGUMENTS(QUOTED), bytes_scratch, 0},
    {0},
};
