/* The work of a team of threads: a kernel, its arguments, and the number of tiles. */
#ifndef FASTCONV_REGION_H
#define FASTCONV_REGION_H

#include <stdint.h>

#include "simd/simd.h"

enum { MAX_INTS = 64, MAX_SCALARS = 4, MAX_WORKERS = 1023 };

typedef struct {
    void *arrays[MAX_ARRAYS + 1]; /* first, so that a kernel's arrays are the address of its region */
    tile_function *kernel;
    int64_t ints[MAX_INTS];
    double scalars[MAX_SCALARS];
    int64_t tiles, grain;
    int (*check_signals)(void); /* nonzero: stop; called by the caller's own thread, now and then */
    double checked;
    int interrupted, threads; /* threads: members of the team that take part */
    /* Every thread changes it for every chunk, so nothing that all of them read is on the same pair of cache lines. */
    char before[2 * CACHE_LINE];
    int64_t next_tile;
    char after[2 * CACHE_LINE];
} Region;

#endif
