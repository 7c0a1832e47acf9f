# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The tiles of direct convolution: what each sees of the image, and the sweeps that compute it.

A *sweep* is a native function that Numba compiled (kernels/direct.py): it computes a rectangle of the output planes of a
group block by block, from lines of values that it can load as vectors. This module finds such lines. Where those of a
tile lie in the image, and columns follow each other in memory, they are the image's own. All other tiles, those at borders above
all, first gather what they see into a *strip*, zeros around the image included, whose columns may be split into planes::

    strip[c, l, plane, t] = x[c, top + line(l), col * sw - pl + start[plane] + t * step]

`line(l)` is ``l // segment * dh + l % segment * line_step``: every dh-th line where output rows of one residue modulo
dh are a tile (`spread` = dh, stride 1), all lines, or the lines of one tap after those of another.

Values are moved as integers of their size, or as pairs of these.
"""

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, intptr_t
from libc.string cimport memcpy, memset

ctypedef void (*sweep_kernel)(void **arrays, const int64_t *ints, const double *scalars,
                              int64_t begin, int64_t end, int64_t worker) noexcept nogil
ctypedef void (*row_function)(void *values, int64_t n, const void *bias, int64_t m, int64_t code,
                              double parameter) noexcept nogil

cdef enum:
    SHORT = 32  # values that a loop copies sooner than memcpy does

ctypedef fused item:
    int8_t
    int16_t
    int32_t
    int64_t

# The integers of the kernels, in order. Strides and pitches are in items.
cdef struct Tiles:
    # Of the geometry.
    int64_t groups, icg, ocg, ih, iw, oh, ow, kh, kw, sh, sw, dh, pt, pl
    # Of the sweep: items of a value and of a vector; rows and columns of its blocks, whether their vectors are
    # neighbours in a row (flat); input columns of an output column; runs of taps; the last activation that it applies.
    int64_t unit, lanes, block_rows, block_cols, flat, every, runs, long_runs, run, activations_swept
    # Of the tiles.
    int64_t spread, row_tile, row_tiles, col_tile, in_place, first_inside, last_inside
    # Of the lines: lines of the image from one vector of a block to the next, and of a strip; of a strip from one row or
    # tap to the next; which of the image are in it; the planes of each, and how long they are.
    int64_t image_lines, strip_lines, row_lines, tap_lines, segment, line_step, planes, step, reach
    int64_t plane_pitch, pitch, channel_pitch, scratch
    # Of the image, and of the epilogue.
    int64_t xn, xc, xh, xw, activation

# The integers of a sweep: items from one channel, line, tap or row of blocks to the next, and in the output from one
# vector of a block, row or plane to the next.
cdef struct Sweep:
    int64_t channel, line, tap, row, out_vector, out_row, out_plane
    int64_t rows, cols, channels, kw, weights, runs, long_runs, run, activation, flat


cdef inline void gather_line(const item *source, int64_t step, int64_t unit, item *line,
                             int64_t first, int64_t last, int64_t width) noexcept nogil:
    """The values first <= t < last of a line, every `step` items; zeros before them and after, to `width`."""
    cdef int64_t t, part
    for t in range(first * unit):
        line[t] = 0
    if step == unit:
        if last - first > SHORT:
            memcpy(line + first * unit, source + first * unit, (last - first) * unit * sizeof(item))
        else:
            for t in range(first * unit, last * unit):
                line[t] = source[t]
    elif unit == 1:
        for t in range(first, last):
            line[t] = source[t * step]
    else:
        for t in range(first, last):
            for part in range(unit):
                line[t * unit + part] = source[t * step + part]
    for t in range(last * unit, width * unit):
        line[t] = 0


cdef void gather(const item *x, const Tiles *t, const int64_t *starts, int64_t rows, int64_t top, int64_t col,
                 int64_t width, item *strip) noexcept nogil:
    """The strip of `rows` output rows from the image's line `top` on, and of output columns from `col` on."""
    cdef int64_t lines = (rows - 1) * t.row_lines + (t.kh - 1) * t.tap_lines + 1
    cdef int64_t plane, left, first, last, c, begin, l, y
    cdef item *line
    for plane in range(t.planes):
        left = col * t.sw - t.pl + starts[plane]
        first = (t.step - 1 - left) // t.step if left < 0 else 0
        last = (t.iw - left + t.step - 1) // t.step if left < t.iw else 0
        first = min(first, width)
        last = max(first, min(last, width))
        for c in range(t.icg):
            y = begin = 0
            for l in range(lines):
                if l - begin == t.segment:
                    begin += t.segment
                    y += t.dh - t.segment * t.line_step
                line = strip + c * t.channel_pitch + l * t.pitch + plane * t.plane_pitch
                if top + y < 0 or top + y >= t.ih:
                    gather_line(x, 0, t.unit, line, 0, 0, width)
                else:
                    gather_line(x + c * t.xc + (top + y) * t.xh + left * t.xw, t.step * t.xw, t.unit, line,
                                first, last, width)
                y += t.line_step


cdef void compute(item *x, void **arrays, const int64_t *ints, const double *scalars,
                  int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    cdef const Tiles *t = <const Tiles *> ints
    cdef sweep_kernel sweep = <sweep_kernel> arrays[3]
    cdef row_function finish = <row_function> arrays[4]
    cdef item *block = <item *> arrays[6] + worker * t.scratch
    cdef item *strip = block + t.block_rows * t.block_cols * t.unit
    cdef item *image
    cdef item *target
    cdef item *value
    cdef void *arguments[5]
    cdef Sweep s
    cdef int64_t tile, row0, residue, group, n, rows, cols, top, col, m, r, q, i, down, across, inside
    cdef int64_t row_size = t.ow * t.unit, plane = t.oh * t.ow * t.unit
    s.channels, s.kw, s.weights = t.icg, t.kw, t.icg * t.kh * t.kw * t.unit
    s.runs, s.long_runs, s.run, s.activation, s.flat = t.runs, t.long_runs, t.run, t.activation, t.flat
    arguments[1], arguments[3], arguments[4] = arrays[1], arrays[5], arrays[7]
    for tile in range(begin, end):
        row0 = tile % t.row_tiles * t.row_tile
        residue = tile // t.row_tiles % t.spread
        group = tile // (t.row_tiles * t.spread) % t.groups
        n = tile // (t.row_tiles * t.spread * t.groups)
        rows = min(t.row_tile, (t.oh - residue + t.spread - 1) // t.spread - row0)
        if rows <= 0:
            continue
        top = (residue + row0 * t.spread) * t.sh - t.pt
        inside = (t.in_place and rows >= t.block_rows and top >= 0
                  and top + (rows - 1) * t.spread * t.sh + (t.kh - 1) * t.dh < t.ih)
        image = x + n * t.xn + group * t.icg * t.xc
        col = 0
        while col < t.ow:
            if inside and t.first_inside <= col and col + t.block_cols <= t.last_inside:
                cols = t.last_inside - col
                arguments[0] = image + top * t.xh + (col * t.sw - t.pl) * t.xw
                s.channel, s.line, s.tap, s.row = t.xc, t.image_lines * t.xh, t.dh * t.xh, t.spread * t.sh * t.xh
            else:
                # Moved back so that it is not narrower than a block, if the plane is not.
                col = max(0, min(col, t.ow - t.block_cols))
                cols = min(t.col_tile, t.ow - col)
                if inside and col < t.first_inside:
                    cols = min(cols, max(t.block_cols, t.first_inside - col))
                gather(image, t, <const int64_t *> arrays[8], rows, top, col,
                       (cols - 1) * t.every + 1 + t.reach, strip)
                arguments[0] = strip
                s.channel, s.line = t.channel_pitch, t.strip_lines * t.pitch
                s.tap, s.row = t.tap_lines * t.pitch, t.row_lines * t.pitch
            if t.flat:
                s.line = t.lanes * t.every
            m = group * t.ocg
            target = <item *> arrays[2] + ((n * t.groups * t.ocg + m) * t.oh + residue + row0 * t.spread) * row_size
            target += col * t.unit
            s.cols, s.rows, s.out_row, s.out_plane = cols * t.unit, rows, t.spread * row_size, plane
            if rows >= t.block_rows and cols >= t.block_cols:
                arguments[2] = target
                s.out_vector = t.lanes if t.flat else s.out_row
                sweep(arguments, <int64_t *> &s, scalars, m, m + t.ocg, worker)
            else:
                # Block by block, each into scratch memory: it sticks out.
                arguments[2] = block
                s.cols, s.rows, s.out_vector = t.block_cols * t.unit, t.block_rows, t.lanes
                value = <item *> arguments[0]
                for m in range(group * t.ocg, (group + 1) * t.ocg):
                    for down in range((rows + t.block_rows - 1) // t.block_rows):
                        r = max(0, min(down * t.block_rows, rows - t.block_rows))
                        for across in range((cols + t.block_cols - 1) // t.block_cols):
                            q = max(0, min(across * t.block_cols, cols - t.block_cols))
                            arguments[0] = value + r * s.row + q * t.every * t.unit
                            sweep(arguments, <int64_t *> &s, scalars, m, m + 1, worker)
                            for i in range(min(rows, t.block_rows)):
                                memcpy(target + (m - group * t.ocg) * plane + (r + i) * s.out_row + q * t.unit,
                                       block + i * t.lanes, min(cols, t.block_cols) * t.unit * sizeof(item))
            if t.activation > t.activations_swept:
                for m in range(group * t.ocg, (group + 1) * t.ocg):
                    for r in range(rows):
                        value = target + (m - group * t.ocg) * plane + r * s.out_row
                        finish(value, cols, arrays[5], m, t.activation, scalars[0])
            col += cols


cdef void compute_1(void **arrays, const int64_t *ints, const double *scalars,
                    int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    compute(<int8_t *> arrays[0], arrays, ints, scalars, begin, end, worker)


cdef void compute_2(void **arrays, const int64_t *ints, const double *scalars,
                    int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    compute(<int16_t *> arrays[0], arrays, ints, scalars, begin, end, worker)


cdef void compute_4(void **arrays, const int64_t *ints, const double *scalars,
                    int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    compute(<int32_t *> arrays[0], arrays, ints, scalars, begin, end, worker)


cdef void compute_8(void **arrays, const int64_t *ints, const double *scalars,
                    int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    compute(<int64_t *> arrays[0], arrays, ints, scalars, begin, end, worker)


# Tile kernels by the size of an item. Tile: `row_tile` rows of one residue, in all output planes of one group of one image.
# ``arrays``: x, weight and out (C-contiguous), the sweep, `kernels.epilogue.ROW` or null, bias or null, scratch of the
# workers, and the tables shift (of the taps in a line) and start (of the planes). ``scalars``: the activation's parameter.
COMPUTE = {
    1: <intptr_t> &compute_1,
    2: <intptr_t> &compute_2,
    4: <intptr_t> &compute_4,
    8: <intptr_t> &compute_8,
}
