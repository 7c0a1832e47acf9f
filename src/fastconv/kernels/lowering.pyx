"""Lowering a convolution to matrix products: im2col, its adjoint col2im, and the Toeplitz matrix.

Equation, for one image and group, with ``k = (c, i, j)`` over input channels and kernel taps and
``p = (r, q)`` over output rows and columns::

    cols[k, p] = x[c, r * sh - pt + i * dh, q * sw - pl + j * dw]        (0 outside the image)
    out[m, p]  = sum_k weight[m, k] * cols[k, p]

Boundary cases: for a fixed tap the columns q that fall inside the image form one interval, so every copied row consists
of zeros, a run of the image, and zeros again; a row outside the image is all zeros.

All images are read through element strides of any sign.
"""

from collections import namedtuple

from libc.stdint cimport int32_t, int64_t, intptr_t
from libc.string cimport memcpy, memset

from fastconv.kernels.cpu cimport Window, ceil_div, stops

from fastconv.kernels.slots import Slot

cdef extern from *:
    """
    #include "simd/simd.h"
    static const char *const window_names = WINDOW_FIELDS(QUOTED);
    """
    const char *window_names

# `Window` (simd/simd.h) as a named tuple.
cdef object window_arguments = namedtuple("Window", window_names.decode())

cpdef enum:
    SWAPPED_CHANNELS = 8
    SWAPPED_FILTERS = 8

ctypedef fused real:
    float
    double


cdef inline int64_t clip(int64_t value, int64_t low, int64_t high) noexcept nogil:
    return low if value < low else high if value > high else value


cdef inline void inside(int64_t extent, int64_t outputs, int64_t stride, int64_t offset,
                        int64_t *first, int64_t *last) noexcept nogil:
    """The interval of outputs o for which ``0 <= o * stride + offset < extent``."""
    first[0] = clip(ceil_div(-offset, stride), 0, outputs)
    last[0] = clip(ceil_div(extent - offset, stride), first[0], outputs)


cdef void lower(const real *image, const Window *w, real *cols, void **arrays, int64_t worker) noexcept nogil:
    """cols[(i, j), (r, q)] of one channel."""
    cdef int64_t i, j, r, q, y, first, last, offset
    cdef const real *source
    for i in range(w.kh):
        for j in range(w.kw):
            if stops(arrays, worker):
                return
            offset = j * w.dw - w.pl
            inside(w.iw, w.ow, w.sw, offset, &first, &last)
            for r in range(w.oh):
                y = r * w.sh - w.pt + i * w.dh
                if y < 0 or y >= w.ih:
                    memset(cols, 0, w.ow * sizeof(real))
                else:
                    source = image + y * w.xh + offset * w.xw
                    for q in range(first):
                        cols[q] = 0
                    if w.sw * w.xw == 1:
                        memcpy(cols + first, source + first, (last - first) * sizeof(real))
                    else:
                        for q in range(first, last):
                            cols[q] = source[q * w.sw * w.xw]
                    for q in range(last, w.ow):
                        cols[q] = 0
                cols += w.ow


cdef void scatter(const real *cols, const Window *w, real *image, void **arrays, int64_t worker) noexcept nogil:
    """The adjoint of `lower`: add every entry of a column to the pixel it came from."""
    cdef int64_t i, j, r, q, y, first, last, offset
    cdef real *target
    for i in range(w.kh):
        for j in range(w.kw):
            if stops(arrays, worker):
                return
            offset = j * w.dw - w.pl
            inside(w.iw, w.ow, w.sw, offset, &first, &last)
            for r in range(w.oh):
                y = r * w.sh - w.pt + i * w.dh
                if 0 <= y < w.ih:
                    target = image + y * w.xh + offset * w.xw
                    for q in range(first, last):
                        target[q * w.sw * w.xw] += cols[q]
                cols += w.ow


cdef inline void channel_tiles(bint scattering, real *x, real *cols, const int64_t *ints,
                               int64_t begin, int64_t end, void **arrays, int64_t worker) noexcept nogil:
    cdef const Window *w = <const Window *> ints
    cdef int64_t tile, size = w.kh * w.kw * w.oh * w.ow
    cdef real *image
    for tile in range(begin, end):
        image = x + tile // w.ic * w.xn + tile % w.ic * w.xc
        if scattering:
            scatter(cols + tile * size, w, image, arrays, worker)
        else:
            lower(image, w, cols + tile * size, arrays, worker)


cdef void im2col_f32(void **arrays, const int64_t *ints, const double *scalars,
                     int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    channel_tiles(False, <float *> arrays[0], <float *> arrays[1], ints, begin, end, arrays, worker)


cdef void im2col_f64(void **arrays, const int64_t *ints, const double *scalars,
                     int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    channel_tiles(False, <double *> arrays[0], <double *> arrays[1], ints, begin, end, arrays, worker)


cdef void col2im_f32(void **arrays, const int64_t *ints, const double *scalars,
                     int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    channel_tiles(True, <float *> arrays[0], <float *> arrays[1], ints, begin, end, arrays, worker)


cdef void col2im_f64(void **arrays, const int64_t *ints, const double *scalars,
                     int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    channel_tiles(True, <double *> arrays[0], <double *> arrays[1], ints, begin, end, arrays, worker)


cdef struct Swap:
    int64_t groups
    int64_t M       # filters of a group
    int64_t C       # channels of a group
    int64_t taps    # of a filter
    int64_t phases

# As a named tuple: a struct becomes a dictionary of its fields, in their order.
cdef Swap no_swap


cdef inline void swap_tiles(const real *weight, real *swapped, const int64_t *kept, const int64_t *taps,
                            const int64_t *ints, int64_t begin, int64_t end) noexcept nogil:
    cdef const Swap *s = <const Swap *> ints
    cdef int64_t groups = s.groups, M = s.M, C = s.C, all_taps = s.taps, phases = s.phases
    cdef int64_t blocks = (C + SWAPPED_CHANNELS - 1) // SWAPPED_CHANNELS
    cdef int64_t tile, group, block, phase, m, m0, m1, c, count, a, first
    cdef const int64_t *tap
    cdef const real *source
    cdef real *start
    cdef real *target
    for tile in range(begin, end):
        group, first = tile // blocks, tile % blocks * SWAPPED_CHANNELS
        count = min(C - first, SWAPPED_CHANNELS)
        for block in range((M + SWAPPED_FILTERS - 1) // SWAPPED_FILTERS):
            m0 = block * SWAPPED_FILTERS
            m1 = min(M, m0 + SWAPPED_FILTERS)
            start, tap = swapped, taps
            for phase in range(phases):
                for a in range(kept[phase]):
                    for m in range(m0, m1):
                        source = weight + ((group * M + m) * C + first) * all_taps + tap[a]
                        target = start + ((group * C + first) * M + m) * kept[phase] + a
                        for c in range(count):
                            target[c * M * kept[phase]] = source[c * all_taps]
                start += groups * M * C * kept[phase]
                tap += kept[phase]


cdef void swap_f32(void **arrays, const int64_t *ints, const double *scalars,
                   int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    swap_tiles(<const float *> arrays[0], <float *> arrays[1], <const int64_t *> arrays[2],
               <const int64_t *> arrays[3], ints, begin, end)


cdef void swap_f64(void **arrays, const int64_t *ints, const double *scalars,
                   int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    swap_tiles(<const double *> arrays[0], <double *> arrays[1], <const int64_t *> arrays[2],
               <const int64_t *> arrays[3], ints, begin, end)


cdef struct Place:
    int64_t channels
    int64_t phases
    int64_t depth   # planes of a volume of out, rows of a plane, columns
    int64_t height
    int64_t width
    int64_t sd      # strides
    int64_t sh
    int64_t sw

cdef Place no_place


cdef inline bint alternate(const int64_t *left, const int64_t *right) noexcept nogil:
    """Whether the columns of two phases of a stride of 2 alternate in the same rows."""
    cdef int64_t more = left[3] - right[3]
    return (
        left[1] == right[1] and left[2] == right[2] and (more == 0 or more == 1)
        and left[4] == right[4] and left[5] == right[5] and left[6] + 1 == right[6]
    )


cdef inline void place_tiles(const real *source, real *out, const int64_t *phases, const int64_t *ints,
                             int64_t begin, int64_t end) noexcept nogil:
    cdef const Place *p = <const Place *> ints
    cdef int64_t height = p.height, width = p.width, sh = p.sh, sw = p.sw
    cdef int64_t tile, phase, depths, rows, cols, fewer, z, q, image, channel
    cdef const int64_t *fields
    cdef const int64_t *others
    cdef const real *line
    cdef const real *other
    cdef real *target
    for tile in range(begin, end):
        image, channel = tile // p.channels, tile % p.channels
        phase = 0
        while phase < p.phases:
            fields, others, other = phases + phase * 8, NULL, NULL
            phase += 1
            if sw == 2 and phase < p.phases:
                # Two phases that alternate are written together: each line of out is then visited once.
                others = fields + 8
                if alternate(others, fields):
                    fields, others = others, fields
                if alternate(fields, others):
                    phase += 1
                else:
                    others = NULL
            depths, rows, cols = fields[1], fields[2], fields[3]
            line = source + fields[0] + image * fields[7] + channel * depths * rows * cols
            if others is not NULL:
                fewer = others[3]
                other = source + others[0] + image * others[7] + channel * depths * rows * fewer
            for z in range(depths):
                target = out + ((tile * p.depth + fields[4] + z * p.sd) * height + fields[5]) * width + fields[6]
                for _ in range(rows):
                    if others is not NULL:
                        for q in range(fewer):
                            target[2 * q] = line[q]
                            target[2 * q + 1] = other[q]
                        if fewer < cols:
                            target[2 * fewer] = line[fewer]
                        other += fewer
                    elif sw == 1:
                        memcpy(target, line, cols * sizeof(real))
                    else:
                        for q in range(cols):
                            target[sw * q] = line[q]
                    line += cols
                    target += sh * width


cdef void place_f32(void **arrays, const int64_t *ints, const double *scalars,
                    int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    place_tiles(<const float *> arrays[0], <float *> arrays[1], <const int64_t *> arrays[2], ints, begin, end)


cdef void place_f64(void **arrays, const int64_t *ints, const double *scalars,
                    int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    place_tiles(<const double *> arrays[0], <double *> arrays[1], <const int64_t *> arrays[2], ints, begin, end)


cdef inline void toeplitz_rows(const real *weight, const int64_t *indptr, int32_t *indices, real *values,
                               const int64_t *ints, int64_t begin, int64_t end,
                               void **arrays, int64_t worker) noexcept nogil:
    cdef const Window *w = <const Window *> ints
    cdef int64_t icg = w.ic // w.g, ocg = w.oc // w.g
    cdef int64_t tile, m, r, q, c, i, j, i0, i1, j0, j1, y, x, at
    for tile in range(begin, end):
        m = tile // w.oh
        r = tile % w.oh
        inside(w.ih, w.kh, w.dh, r * w.sh - w.pt, &i0, &i1)
        at = indptr[tile * w.ow]
        for q in range(w.ow):
            inside(w.iw, w.kw, w.dw, q * w.sw - w.pl, &j0, &j1)
            for c in range(icg):
                if c % 256 == 0 and stops(arrays, worker):
                    return
                for i in range(i0, i1):
                    y = (m // ocg * icg + c) * w.ih + r * w.sh - w.pt + i * w.dh
                    for j in range(j0, j1):
                        x = q * w.sw - w.pl + j * w.dw
                        indices[at] = <int32_t> (y * w.iw + x)
                        values[at] = weight[((m * icg + c) * w.kh + i) * w.kw + j]
                        at += 1


cdef void toeplitz_f32(void **arrays, const int64_t *ints, const double *scalars,
                       int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    toeplitz_rows(<float *> arrays[0], <int64_t *> arrays[1], <int32_t *> arrays[2], <float *> arrays[3], ints,
                  begin, end, arrays, worker)


cdef void toeplitz_f64(void **arrays, const int64_t *ints, const double *scalars,
                       int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    toeplitz_rows(<double *> arrays[0], <int64_t *> arrays[1], <int32_t *> arrays[2], <double *> arrays[3], ints,
                  begin, end, arrays, worker)


KERNELS = {
    # Tile: one channel of one image. `arrays`: the image, the columns (n, ic * kh * kw, oh * ow).
    "im2col": Slot(window_arguments, {"f4": <intptr_t> &im2col_f32, "f8": <intptr_t> &im2col_f64}),
    "col2im": Slot(window_arguments, {"f4": <intptr_t> &col2im_f32, "f8": <intptr_t> &col2im_f64}),
    # The filters of an adjoint's phases, one phase after another: some of the taps, with channels swapped within each
    # group. All phases are made together, since each line of the weight holds taps of several. Tile: `SWAPPED_CHANNELS`
    # input channels of one group, as many streams as L1 has ways; `SWAPPED_FILTERS` of their filters stay in L1 while
    # they are read tap by tap. `arrays`: the weight (g * M, C, taps); the swapped filters, (g * C, M, kept) per phase;
    # kept, the number of taps per phase; those taps.
    "swap_filters": Slot(namedtuple("Swap", no_swap), {"f4": <intptr_t> &swap_f32, "f8": <intptr_t> &swap_f64}),
    # Writes the results of an adjoint's phases to their positions in the input, which are a stride apart. Tile: one
    # volume of a channel, whose phases are placed one after another. `arrays`: the results, (channels, depths, rows,
    # cols) per image and phase; out; and per phase the index of its first result, depths, rows, cols, its first depth,
    # row and column in out, and the distance of its images' results.
    "place": Slot(namedtuple("Place", no_place), {"f4": <intptr_t> &place_f32, "f8": <intptr_t> &place_f64}),
    # Tile: one output row of one output channel, which makes `ow` rows of the matrix. `arrays`: weight, indptr (int64),
    # indices (int32), values. The entries of a row of the matrix are in the order of the image.
    "toeplitz": Slot(window_arguments, {"f4": <intptr_t> &toeplitz_f32, "f8": <intptr_t> &toeplitz_f64}),
}
