/* The kernels of ranks, for each type of values but complex numbers. */
#include "isa.h"

#include "continuation.h"

#include "instructions.h"

#include "slots.h"

/* The first position from t on that is outside `first` to `last`. */
static inline int64_t edge(int64_t t, int64_t first, int64_t last) { return t == first ? last : t; }

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
    X(slots)     /* of the program */                                                   \
    X(words)     /* of the program */                                                   \
    X(continues) /* whether the program continues columns */                            \
    X(pause)     /* tiles between two checks whether to stop */
ARGUMENTS(Network, NETWORK_ARGUMENTS);

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

#define T int8_t
#define FLOATING 0
#define NAME(name) name##_i1
#define KEY uint32_t
#include "network.h"
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
#include "sliding.h"
#undef KEY
#undef T
#undef FLOATING
#undef NAME

#include "bytes.h"

#define RANK_TYPES(X) X(i1) X(u1) X(i2) X(u2) X(i4) X(u4) X(i8) X(u8) X(f4) X(f8)
#define RANK_SLOTS(type)                                                                                      \
    {"network", #type, (void (*)(void))network_##type, NETWORK_ARGUMENTS(QUOTED), network_scratch_##type, 0}, \
    {"sliding", #type, (void (*)(void))sliding_##type, SLIDING_ARGUMENTS(QUOTED), sliding_scratch_##type, 0},

const kernel_slot OF_ISA(kernels_ranks)[] = {
    RANK_TYPES(RANK_SLOTS){"bytes", "u1", (void (*)(void))bytes, BYTES_ARGUMENTS(QUOTED), bytes_scratch, 0},
    {0},
};
