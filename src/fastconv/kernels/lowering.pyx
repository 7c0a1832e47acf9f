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
    PANELS_TOGETHER = 64
    STEPS_TOGETHER = 4

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


cdef inline void im2col_tiles(const real *x, real *cols, const int64_t *ints,
                              int64_t begin, int64_t end, void **arrays, int64_t worker) noexcept nogil:
    cdef const Window *w = <const Window *> ints
    cdef int64_t tile, size = w.kh * w.kw * w.oh * w.ow
    for tile in range(begin, end):
        lower(x + tile // w.ic * w.xn + tile % w.ic * w.xc, w, cols + tile * size, arrays, worker)


cdef void im2col_f32(void **arrays, const int64_t *ints, const double *scalars,
                     int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    im2col_tiles(<const float *> arrays[0], <float *> arrays[1], ints, begin, end, arrays, worker)


cdef void im2col_f64(void **arrays, const int64_t *ints, const double *scalars,
                     int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    im2col_tiles(<const double *> arrays[0], <double *> arrays[1], ints, begin, end, arrays, worker)


cdef struct Columns:
    int64_t channels  # of an image whose columns are given
    int64_t image     # values from one image to the next
    # Of depths, rows and columns: extents of the image, the kernel and the output; strides, dilations, padding before.
    int64_t id
    int64_t ih
    int64_t iw
    int64_t kd
    int64_t kh
    int64_t kw
    int64_t od
    int64_t oh
    int64_t ow
    int64_t sd
    int64_t sh
    int64_t sw
    int64_t dd
    int64_t dh
    int64_t dw
    int64_t pf
    int64_t pt
    int64_t pl

# As a named tuple: a struct becomes a dictionary of its fields, in their order.
cdef Columns no_columns


cdef inline void add_line(const real *line, real *target, int64_t step, int64_t count) noexcept nogil:
    cdef int64_t q
    if step == 1:
        for q in range(count):
            target[q] += line[q]
    elif step == 2:
        for q in range(count):
            target[2 * q] += line[q]
    else:
        for q in range(count):
            target[q * step] += line[q]


cdef inline void col2im_tiles(const real *cols, real *images, const int64_t *ints,
                              int64_t begin, int64_t end, void **arrays, int64_t worker) noexcept nogil:
    """The adjoint of `lower`: add every entry of a column to the pixel it came from."""
    cdef const Columns *w = <const Columns *> ints
    cdef int64_t tile, k, i, j, z, r, z0, z1, r0, r1, q0, q1, front, top, left
    cdef int64_t volume = w.id * w.ih * w.iw, positions = w.od * w.oh * w.ow
    cdef const real *tap = cols + begin * w.kd * w.kh * w.kw * positions
    cdef real *image
    for tile in range(begin, end):
        image = images + tile // w.channels * w.image + tile % w.channels * volume
        memset(image, 0, volume * sizeof(real))
        for k in range(w.kd):
            front = k * w.dd - w.pf
            inside(w.id, w.od, w.sd, front, &z0, &z1)
            for i in range(w.kh):
                if stops(arrays, worker):
                    return
                top = i * w.dh - w.pt
                inside(w.ih, w.oh, w.sh, top, &r0, &r1)
                for j in range(w.kw):
                    left = j * w.dw - w.pl
                    inside(w.iw, w.ow, w.sw, left, &q0, &q1)
                    for z in range(z0, z1):
                        for r in range(r0, r1):
                            add_line(
                                tap + (z * w.oh + r) * w.ow + q0,
                                image + ((front + z * w.sd) * w.ih + top + r * w.sh) * w.iw + left + q0 * w.sw,
                                w.sw,
                                q1 - q0,
                            )
                    tap += positions


cdef void col2im_f32(void **arrays, const int64_t *ints, const double *scalars,
                     int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    col2im_tiles(<const float *> arrays[0], <float *> arrays[1], ints, begin, end, arrays, worker)


cdef void col2im_f64(void **arrays, const int64_t *ints, const double *scalars,
                     int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    col2im_tiles(<const double *> arrays[0], <double *> arrays[1], ints, begin, end, arrays, worker)


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


cdef struct Transposed:
    int64_t M       # rows of the operand
    int64_t K       # steps, which are its columns
    int64_t kc      # steps of a block
    int64_t panels  # of a group
    int64_t mr      # rows of a panel
    int64_t apart   # values from one column to the next

cdef Transposed no_transposed


cdef inline void pack_turned(const real *weight, real *packed, const int64_t *ints,
                             int64_t begin, int64_t end, void **arrays, int64_t worker) noexcept nogil:
    cdef const Transposed *a = <const Transposed *> ints
    cdef int64_t M = a.M, K = a.K, kc = a.kc, panels = a.panels, mr = a.mr
    cdef int64_t tile = begin, group, first, last, panel, block, k0, k, k1, j, i, steps
    cdef const real *column
    cdef real *target
    while tile < end:
        group, first = tile // panels, tile % panels
        last = min(panels, first + min(end - tile, PANELS_TOGETHER))
        tile += last - first
        for block in range((K + kc - 1) // kc):
            if stops(arrays, worker):
                return
            k0 = block * kc
            steps = min(kc, K - k0)
            k = 0
            while k < steps:
                # Long runs of a few columns, so that they are prefetched, make whole cache lines of many panels.
                k1 = min(k + STEPS_TOGETHER, steps)
                column = weight + (group * K + k0 + k) * a.apart
                for panel in range(first, last):
                    target = packed + (group * K + k0) * panels * mr + (panel * steps + k) * mr
                    if mr == 4 and (panel + 1) * 4 <= M:  # a copy of known length takes one instruction or two
                        for j in range(k1 - k):
                            memcpy(target + j * 4, column + j * a.apart + panel * 4, 4 * sizeof(real))
                    else:
                        for j in range(k1 - k):
                            for i in range(mr):
                                target[j * mr + i] = column[j * a.apart + panel * mr + i] if panel * mr + i < M else 0
                k = k1


cdef void pack_transposed_f32(void **arrays, const int64_t *ints, const double *scalars,
                              int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    pack_turned(<const float *> arrays[0], <float *> arrays[1], ints, begin, end, arrays, worker)


cdef void pack_transposed_f64(void **arrays, const int64_t *ints, const double *scalars,
                              int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    pack_turned(<const double *> arrays[0], <double *> arrays[1], ints, begin, end, arrays, worker)


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
    # Tile: one channel of one image, or volume. `arrays`: the columns (n, channels * kd * kh * kw, od * oh * ow); the
    # images, whose channels are contiguous.
    "col2im": Slot(
        namedtuple("Columns", no_columns), {"f4": <intptr_t> &col2im_f32, "f8": <intptr_t> &col2im_f64}
    ),
    # The filters of an adjoint's phases, one phase after another: some of the taps, with channels swapped within each
    # group. All phases are made together, since each line of the weight holds taps of several. Tile: `SWAPPED_CHANNELS`
    # input channels of one group, as many streams as L1 has ways; `SWAPPED_FILTERS` of their filters stay in L1 while
    # they are read tap by tap. `arrays`: the weight (g * M, C, taps); the swapped filters, (g * C, M, kept) per phase;
    # kept, the number of taps per phase; those taps.
    "swap_filters": Slot(namedtuple("Swap", no_swap), {"f4": <intptr_t> &swap_f32, "f8": <intptr_t> &swap_f64}),
    # Panels of a left operand, as `pack_left` of simd/gemm.h makes them, of weights that lie column by column: value
    # (m, k) of a group is k * apart + m. Tile: one panel. `arrays`: weight (groups * K, apart); packed.
    "pack_transposed": Slot(
        namedtuple("Transposed", no_transposed),
        {"f4": <intptr_t> &pack_transposed_f32, "f8": <intptr_t> &pack_transposed_f64},
    ),
    # Writes the results of an adjoint's phases to their positions in the input, which are a stride apart. Tile: one
    # volume of a channel, whose phases are placed one after another. `arrays`: the results, (channels, depths, rows,
    # cols) per image and phase; out; and per phase the index of its first result, depths, rows, cols, its first depth,
    # row and column in out, and the distance of its images' results.
    "place": Slot(namedtuple("Place", no_place), {"f4": <intptr_t> &place_f32, "f8": <intptr_t> &place_f64}),
    # Tile: one output row of one output channel, which makes `ow` rows of the matrix. `arrays`: weight, indptr (int64),
    # indices (int32), values. The entries of a row of the matrix are in the order of the image.
    "toeplitz": Slot(window_arguments, {"f4": <intptr_t> &toeplitz_f32, "f8": <intptr_t> &toeplitz_f64}),
}
