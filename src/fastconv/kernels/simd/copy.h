#include "isa.h"

/* Copying lines of values of any type. Most lines are a few vectors, which take no longer than a call of memcpy. */
static inline __attribute__((always_inline)) void copy_line(char *to, const char *from, int64_t bytes)
{
    typedef char piece __attribute__((vector_size(SIMD_BYTES), aligned(1), may_alias));
    /* The last vector overlaps the one before it. */
#define PIECES(size)                                                  \
    if (bytes >= size) {                                              \
        for (int64_t at = 0; at < bytes - size; at += size)           \
            memcpy(to + at, from + at, size);                         \
        memcpy(to + bytes - size, from + bytes - size, size);         \
        return;                                                       \
    }
    if (bytes >= SIMD_BYTES) {
        for (int64_t at = 0; at < bytes - SIMD_BYTES; at += SIMD_BYTES)
            *(piece *)(to + at) = *(const piece *)(from + at);
        *(piece *)(to + bytes - SIMD_BYTES) = *(const piece *)(from + bytes - SIMD_BYTES);
        return;
    }
    PIECES(16)
    PIECES(4)
    PIECES(1)
#undef PIECES
}

/* Fetch a line that will be read soon. Rows are often pages apart, and the hardware does not look across pages. */
static inline void fetch_line(const char *from, int64_t bytes)
{
    for (int64_t at = 0; at < bytes; at += CACHE_LINE)
        __builtin_prefetch(from + at);
}
