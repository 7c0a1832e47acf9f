"""What pooling needs in addition to kernels that fold windows.

Means and positions in volumes, windows that start at random, and powers, whose means make norms.
"""

from collections import namedtuple

from libc.math cimport floor, pow, powf, sqrt, sqrtf
from libc.stdint cimport int64_t, intptr_t

from fastconv.kernels.slots import Slot

ctypedef fused real:
    float
    double


cdef struct Volumes:
    int64_t positions  # per volume

# As a named tuple: a struct becomes a dictionary of its fields, in their order.
cdef Volumes no_volumes


cdef inline void divide(real *sums, const real *counts, const int64_t *ints, int64_t begin, int64_t end) noexcept nogil:
    cdef int64_t positions = (<const Volumes *> ints).positions, volume, i
    for volume in range(begin, end):
        for i in range(positions):
            sums[volume * positions + i] /= counts[i]


cdef void divide_f32(void **arrays, const int64_t *ints, const double *scalars,
                     int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    divide(<float *> arrays[0], <const float *> arrays[1], ints, begin, end)


cdef void divide_f64(void **arrays, const int64_t *ints, const double *scalars,
                     int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    divide(<double *> arrays[0], <const double *> arrays[1], ints, begin, end)


cdef struct Draws:
    int64_t rows    # windows down
    int64_t cols    # windows across
    int64_t bottom  # where the last window down starts
    int64_t right   # where the last window across starts

cdef Draws no_draws


cdef inline void draw_axis(real sample, real step, int64_t count, int64_t last, int64_t *starts) noexcept nogil:
    cdef int64_t i
    cdef double first = floor(sample * step)
    for i in range(count - 1):
        starts[i] = <int64_t> (floor((i + sample) * step) - first)
    starts[count - 1] = last


cdef inline void draw(const real *samples, int64_t *down, int64_t *across, int64_t *flag, const int64_t *ints,
                      const double *scalars, int64_t begin, int64_t end) noexcept nogil:
    cdef const Draws *d = <const Draws *> ints
    cdef int64_t plane
    for plane in range(begin, end):
        if not (0 <= samples[2 * plane] < 1 and 0 <= samples[2 * plane + 1] < 1):
            flag[0] = 1
            return
        draw_axis(samples[2 * plane + 1], <real> scalars[0], d.rows, d.bottom, down + plane * d.rows)
        draw_axis(samples[2 * plane], <real> scalars[1], d.cols, d.right, across + plane * d.cols)


cdef void draw_f32(void **arrays, const int64_t *ints, const double *scalars,
                   int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    draw(<const float *> arrays[0], <int64_t *> arrays[1], <int64_t *> arrays[2], <int64_t *> arrays[3],
         ints, scalars, begin, end)


cdef void draw_f64(void **arrays, const int64_t *ints, const double *scalars,
                   int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    draw(<const double *> arrays[0], <int64_t *> arrays[1], <int64_t *> arrays[2], <int64_t *> arrays[3],
         ints, scalars, begin, end)


cdef struct Levels:
    int64_t outputs  # per volume
    int64_t between  # results of the first pass, per volume
    int64_t columns  # of these, per map
    int64_t plane    # positions of a map of the volume

cdef Levels no_levels


cdef void locate(void **arrays, const int64_t *ints, const double *scalars,
                 int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    cdef const Levels *of = <const Levels *> ints
    cdef int64_t *levels = <int64_t *> arrays[0]
    cdef const int64_t *taken
    cdef int64_t volume, first, i, level, columns = of.columns
    cdef double per_column = 1.0 / columns
    for volume in range(begin, end):
        taken = <const int64_t *> arrays[1] + volume * of.between
        first = volume * of.outputs
        while first < (volume + 1) * of.outputs:
            for i in range(columns):
                level = levels[first + i]
                if level < 0 or taken[level] < 0:
                    levels[first + i] = -1
                else:
                    # Exact, since level - i is a multiple of columns; a division of integers takes four times as long.
                    levels[first + i] = <int64_t> ((level - i) * per_column + 0.5) * of.plane + taken[level]
            first += columns


cdef struct Powers:
    int64_t values       # number of values
    int64_t tile_values  # values of a tile

cdef Powers no_powers


cdef inline void raise_to(const real *x, real *y, const int64_t *ints, const double *scalars,
                          int64_t begin, int64_t end) noexcept nogil:
    cdef const Powers *of = <const Powers *> ints
    cdef int64_t i, first = begin * of.tile_values, past = min(of.values, end * of.tile_values)
    cdef real scale = <real> scalars[0], exponent = <real> scalars[1]
    if exponent == 1:
        for i in range(first, past):
            y[i] = x[i] * scale
    elif exponent == 2:
        for i in range(first, past):
            y[i] = (x[i] * scale) * (x[i] * scale)
    elif exponent == 0.5:
        for i in range(first, past):
            y[i] = sqrtf(x[i] * scale) if real is float else sqrt(x[i] * scale)
    else:
        for i in range(first, past):
            y[i] = powf(x[i] * scale, exponent) if real is float else pow(x[i] * scale, exponent)


cdef void power_f32(void **arrays, const int64_t *ints, const double *scalars,
                    int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    raise_to(<const float *> arrays[0], <float *> arrays[1], ints, scalars, begin, end)


cdef void power_f64(void **arrays, const int64_t *ints, const double *scalars,
                    int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    raise_to(<const double *> arrays[0], <double *> arrays[1], ints, scalars, begin, end)


KERNELS = {
    # Tile: a volume. `arrays`: its sums, which become means; the counts.
    "divide": Slot(namedtuple("Volumes", no_volumes), {"f4": <intptr_t> &divide_f32, "f8": <intptr_t> &divide_f64}),
    # Starts of windows with steps of two sizes in random order. Tile: a plane. `arrays`: two samples from [0, 1) per
    # plane, for its columns and for its rows; starts down (planes, rows), and across (planes, cols); a flag, which is
    # set if a sample is outside that range. `scalars`: mean steps down and across.
    "draw": Slot(namedtuple("Draws", no_draws), {"f4": <intptr_t> &draw_f32, "f8": <intptr_t> &draw_f64}),
    # Tile: a volume. `arrays`: per output, which result of the first pass the second pass took, as an index, or -1; it
    # becomes the position in the volume; the positions of the results of the first pass in their maps, or -1.
    "locate": Slot(namedtuple("Levels", no_levels), {"i8": <intptr_t> &locate}),
    # Powers of values times a scale. Tile: neighbouring values. `arrays`: values; powers, which may be the same.
    # `scalars`: scale, exponent.
    "power": Slot(namedtuple("Powers", no_powers), {"f4": <intptr_t> &power_f32, "f8": <intptr_t> &power_f64}),
}
