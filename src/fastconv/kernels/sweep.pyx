# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""The tiles of direct convolution: the part of the image that each reads, and the sweeps that compute it.

A *sweep* is a native function that computes a rectangle of the output planes of a group from lines of values that can
be loaded as vectors: block by block (simd/filter.h), or, for narrow planes with 3 × 3 filters, down the columns
(simd/rolling.h). This module cuts tiles into rectangles and provides such lines. If everything a rectangle reads is
inside the image, and columns are contiguous in memory, they are the image's own lines. For all other rectangles, mainly
those at boundaries, a *strip* is gathered first, with what lies around the image: a constant, or values of the image
that maps name; its columns may be split into planes::

    strip[c, l, plane, t] = x[c, top + line(l), col * sw - pl + start[plane] + t * step]

`line(l)` is ``l // segment * dh + l % segment * line_step``: every dh-th line if output rows of one residue modulo dh
make a tile (`spread` = dh, stride 1), otherwise all lines, or the lines that each tap reads, one tap after another.

Values are moved as integers of their size, or as pairs of these.
"""

from collections import namedtuple

from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, intptr_t

from fastconv.kernels.cpu cimport ceil_div, picked, stops

from fastconv.kernels.slots import Slot

cdef extern from "simd/continuation.h":
    int64_t source_of(int64_t at, int64_t extent, int64_t pad, const int64_t *map) noexcept nogil

cdef extern from "simd/simd.h":
    enum:
        CACHE_LINE
        COMPLEX_TAPS
        LEAKY_RELU
        TAPS

    ctypedef struct Sweep:
        int64_t channel, line, tap, row, out_vector, out_row, out_plane
        int64_t rows, cols, channels, kw, weights, runs, long_runs, run, activation, flat
        int64_t block_rows, across, stride, every

# Of the sweeps of simd/filter.h: the values of a vector, by the size of a value, since single bytes are summed in two;
# taps of a column that they take at a time; and the rows of blocks of two vectors, in general and for 3 × 3 filters of
# one channel.
LANES = {size: picked.lanes_bytes // max(2, size) for size in (1, 2, 4, 8, 16)}
RUN = {"f": TAPS, "i": TAPS, "c": COMPLEX_TAPS}
WIDE_ROWS, WIDE_3_ROWS = picked.wide_rows, picked.wide_3_rows

ctypedef void (*sweep_function)(void **arrays, const int64_t *ints, const double *scalars,
                                int64_t begin, int64_t end, int64_t worker) noexcept nogil
ctypedef void (*row_function)(void *values, int64_t n, const void *bias, int64_t m, int64_t code,
                              double parameter) noexcept nogil

cdef enum:
    # The most products between two questions whether to stop. A sum of more than LONG_SUM is swept block by block.
    PRODUCTS_AT_A_TIME = 1 << 26
    LONG_SUM = 1 << 16

ctypedef fused item:
    int8_t
    int16_t
    int32_t
    int64_t

# The integers of the kernels. Strides and pitches are in items; a complex number has two.
cdef struct Tiles:
    # Geometry.
    int64_t groups, icg, ocg, ih, iw, oh, ow, kh, kw, sh, sw, dh, pt, pl
    int64_t unit          # items of a value
    int64_t least_rows    # rows of the smallest rectangle that the sweep computes
    int64_t least_cols    # columns of that
    # Of the sweep, by their names in `Sweep`.
    int64_t block_rows, across, stride, every, flat, runs, long_runs, run
    int64_t spread        # distance of the output rows of a tile, which are of one residue
    int64_t row_tile      # rows of a tile
    int64_t row_tiles     # tiles of one residue
    int64_t strip_rows    # rows of the largest rectangle that is computed from a strip
    int64_t strip_cols    # columns of that
    int64_t in_place      # whether lines of the image are read where they lie, if a rectangle sees nothing else
    int64_t first_inside  # the first column that sees only the image
    int64_t last_inside   # the one after the last of these
    int64_t image_lines   # lines of the image from one vector of a block to the next
    int64_t strip_lines   # likewise of a strip
    int64_t row_lines     # lines of a strip from one row to the next
    int64_t tap_lines     # lines of a strip from one tap to the next
    int64_t segment       # lines of a strip that follow each other by line_step
    int64_t line_step     # lines of the image from one of those to the next
    int64_t by_tap        # whether tap_lines and segment are the rows of the strip
    int64_t planes        # planes of each line
    int64_t step          # columns of the image from one value of a plane to the next
    int64_t reach         # columns that a plane has beyond those of the outputs
    int64_t plane_pitch   # distance from one plane to the next, if there are several
    # Strides of the image.
    int64_t xn, xc, xh, xw
    int64_t activation    # code of the activation

# As a named tuple: a struct becomes a dictionary of its fields, in their order.
cdef Tiles no_tiles

# The position of a strip in the image; often the next tile has it in another plane, with the same constants around it.
cdef struct Place:
    int64_t top, left, rows, cols

# What lies past the edges of the image: maps of its rows and columns (simd/continuation.h), or null, and the constant
# where they name none.
cdef struct Past:
    const int64_t *rows
    const int64_t *cols
    const void *fill

# A part of an output axis.
cdef struct Part:
    int64_t begin, count, inside


cpdef int64_t pitch_of(int64_t width, int64_t size) noexcept nogil:
    """The distance between lines of a strip, in items of `size` bytes.

    Long lines begin an odd number of cache lines apart: at powers of two, many would compete for a few sets of L1.
    """
    cdef int64_t lines = ceil_div(width * size, CACHE_LINE)
    return width if lines < 8 else (lines | 1) * (CACHE_LINE // size)


cpdef int64_t strip_lines(int64_t rows, int64_t kh, int64_t row_lines, int64_t tap_lines, bint by_tap) noexcept nogil:
    """Lines of a strip that `rows` output rows read."""
    return (rows - 1) * row_lines + (kh - 1) * (rows if by_tap else tap_lines) + 1


cpdef int64_t line_pitch(int64_t cols, int64_t every, int64_t reach, int64_t planes, int64_t plane_pitch,
                         int64_t unit, int64_t size) noexcept nogil:
    """The distance between lines of a strip that `cols` output columns read, in items of `size` bytes."""
    return planes * (plane_pitch if planes > 1 else pitch_of(((cols - 1) * every + 1 + reach) * unit, size))


cdef inline int64_t lines_of(const Tiles *t, int64_t rows) noexcept nogil:
    return strip_lines(rows, t.kh, t.row_lines, t.tap_lines, t.by_tap)


cdef inline int64_t pitch_of_lines(const Tiles *t, int64_t cols, int64_t size) noexcept nogil:
    return line_pitch(cols, t.every, t.reach, t.planes, t.plane_pitch, t.unit, size)


cdef int64_t scratch_items(const Tiles *t, int64_t size) noexcept nogil:
    """Items that each worker needs: a block of sums, and the largest strip (see `gather`).

    The end of a strip is read by whole vectors; single bytes are summed in two.
    """
    cdef int64_t lanes = picked.lanes_bytes // max(2, size * t.unit)
    cdef int64_t border = min(t.strip_cols, max(t.least_cols, t.first_inside, t.ow - t.last_inside))
    cdef int64_t strip = max(lines_of(t, t.strip_rows) * pitch_of_lines(t, t.strip_cols, size),
                             lines_of(t, t.row_tile) * pitch_of_lines(t, border, size))
    cdef int64_t items = (t.least_rows * t.least_cols + t.every * lanes) * t.unit + t.icg * strip
    return ceil_div(items, CACHE_LINE) * CACHE_LINE


cdef int64_t scratch_1(const int64_t *ints) noexcept nogil:
    return scratch_items(<const Tiles *> ints, 1)


cdef int64_t scratch_2(const int64_t *ints) noexcept nogil:
    return scratch_items(<const Tiles *> ints, 2) * 2


cdef int64_t scratch_4(const int64_t *ints) noexcept nogil:
    return scratch_items(<const Tiles *> ints, 4) * 4


cdef int64_t scratch_8(const int64_t *ints) noexcept nogil:
    return scratch_items(<const Tiles *> ints, 8) * 8


cdef inline Part next_part(int64_t at, int64_t begin, int64_t end, int64_t block, int64_t most,
                           int64_t first, int64_t last) noexcept nogil:
    """What follows `at` of an axis from `begin` to `end`: all that lies inside, from `first` to `last`, but for a block
    that the border behind it begins with, or else at most as much as a strip may hold. It is moved back where it would
    be narrower than a block, unless the axis is."""
    cdef Part part
    part.inside = first <= at and at + block <= min(last, end)
    if part.inside:
        part.begin, part.count = at, end - at if end <= last else max(block, min(last, end - block) - at)
    else:
        part.begin = max(begin, min(at, end - block))
        part.count = min(most, end - part.begin)
        if at < first:
            part.count = min(part.count, max(block, first - at))
    return part


cdef inline void continue_columns(const item *source, int64_t apart, int64_t left, const Tiles *t, const Past *past,
                                  int64_t lines, int64_t begin, int64_t end,
                                  item *strip, int64_t pitch) noexcept nogil:
    """Write columns of a strip that lie past the edges. Lines of the image are `apart`; the strip begins at `left`.

    Without a source, these are lines of constants.
    """
    cdef const item *value
    cdef int64_t col, x, line, part
    for col in range(begin, end):
        x = -1
        if source != NULL and past.cols != NULL:
            x = source_of(left + col * t.step, t.iw, t.pl, past.cols)
        for line in range(lines):
            value = source + line * apart + x * t.xw if x >= 0 else <const item *> past.fill
            for part in range(t.unit):
                strip[line * pitch + col * t.unit + part] = value[part]


cdef inline void gather_lines(const item *source, int64_t apart, int64_t step, int64_t unit, int64_t count,
                              int64_t first, int64_t last, item *strip, int64_t pitch) noexcept nogil:
    """Copy the values first <= t < last of lines that are `apart`; values of a line are `step` items apart."""
    cdef int64_t t, part
    if step == unit:
        picked.copy_lines(strip + first * unit, pitch * sizeof(item), source + first * unit, apart * sizeof(item),
                          count, (last - first) * unit * sizeof(item))
        return
    for _ in range(count):
        if unit == 1:
            for t in range(first, last):
                strip[t] = source[t * step]
        else:
            for t in range(first, last):
                for part in range(unit):
                    strip[t * unit + part] = source[t * step + part]
        source += apart
        strip += pitch


cdef inline void continue_lines(const item *channel, int64_t y, int64_t line_step, int64_t left, const Tiles *t,
                                const Past *past, int64_t lines, int64_t first, int64_t last, int64_t width,
                                item *strip, int64_t pitch) noexcept nogil:
    """Write lines of a strip that lie past the edges, from row y of the continued image."""
    cdef const item *source
    cdef int64_t row
    for _ in range(lines):
        row = -1 if past.rows == NULL else source_of(y, t.ih, t.pt, past.rows)
        if row < 0:
            continue_columns(<const item *> NULL, 0, left, t, past, 1, 0, width, strip, pitch)
        else:
            source = channel + row * t.xh
            gather_lines(source + left * t.xw, 0, t.step * t.xw, t.unit, 1, first, last, strip, pitch)
            continue_columns(source, 0, left, t, past, 1, 0, first, strip, pitch)
            continue_columns(source, 0, left, t, past, 1, last, width, strip, pitch)
        y += line_step
        strip += pitch


cdef void gather(const item *x, const Tiles *t, const Past *past, const int64_t *starts, Part rows, Part cols,
                 int64_t top, Place *last_place, item *strip, Sweep *s) noexcept nogil:
    """Gather the part of the image that a rectangle reads, and describe its layout to the sweep."""
    cdef bint moved = (last_place.top != top or last_place.left != cols.begin or
                       last_place.rows != rows.count or last_place.cols != cols.count)
    cdef int64_t tap_lines = rows.count if t.by_tap else t.tap_lines
    cdef int64_t segment = rows.count if t.by_tap else t.segment
    cdef int64_t lines = lines_of(t, rows.count)
    cdef int64_t width = (cols.count - 1) * t.every + 1 + t.reach
    cdef int64_t pitch = pitch_of_lines(t, cols.count, sizeof(item)), plane_pitch = pitch // t.planes
    cdef int64_t plane, left, first, last, above, inside, c, begin, count, y
    cdef int64_t line_step = t.line_step
    cdef bint changes = moved or past.cols != NULL
    cdef const item *channel
    cdef const item *source
    cdef item *line
    s.channel, s.line, s.tap, s.row = lines * pitch, t.strip_lines * pitch, tap_lines * pitch, t.row_lines * pitch
    if segment == 1:  # one line per tap: a segment of lines that are dh apart
        segment, line_step = lines, t.dh
    for plane in range(t.planes):
        left = cols.begin * t.sw - t.pl + starts[plane]
        first = min(width, max(0, ceil_div(-left, t.step)))
        last = max(first, min(width, ceil_div(t.iw - left, t.step)))
        for c in range(t.icg):
            y, begin = top, 0
            while begin < lines:
                line = strip + c * s.channel + begin * pitch + plane * plane_pitch
                count = min(segment, lines - begin)
                # The lines above the image, then those inside it.
                above = min(count, max(0, ceil_div(-y, line_step)))
                inside = max(0, min(count, ceil_div(t.ih - y, line_step)) - above)
                channel = x + c * t.xc
                source = channel + (y + above * line_step) * t.xh
                gather_lines(source + left * t.xw, line_step * t.xh, t.step * t.xw, t.unit, inside, first, last,
                             line + above * pitch, pitch)
                if changes:
                    continue_lines(channel, y, line_step, left, t, past, above, first, last, width, line, pitch)
                    line += above * pitch
                    continue_columns(source, line_step * t.xh, left, t, past, inside, 0, first, line, pitch)
                    continue_columns(source, line_step * t.xh, left, t, past, inside, last, width, line, pitch)
                    line += inside * pitch
                    continue_lines(channel, y + (above + inside) * line_step, line_step, left, t, past,
                                   count - above - inside, first, last, width, line, pitch)
                begin += count
                y += t.dh
    last_place.top, last_place.left, last_place.rows, last_place.cols = top, cols.begin, rows.count, cols.count


cdef void sweep_small(sweep_function sweep, const Tiles *t, void **arguments, Sweep s, const double *scalars,
                      int64_t m, Part rows, Part cols, item *block, item *target,
                      void **arrays, int64_t worker) noexcept nogil:
    """Sweep a rectangle that blocks do not fit, or whose sums are long: block by block, each into scratch memory."""
    cdef item *source = <item *> arguments[0]
    cdef bint asks = t.ocg * rows.count * cols.count * t.icg * t.kh * t.kw > PRODUCTS_AT_A_TIME
    cdef int64_t plane, down, across, r, q
    arguments[2] = block
    s.rows, s.cols = t.least_rows, t.least_cols * t.unit
    s.out_vector = t.least_cols // (t.block_rows if t.flat else 1) * t.unit
    for plane in range(t.ocg):
        for down in range(ceil_div(rows.count, t.least_rows)):
            r = max(0, min(down * t.least_rows, rows.count - t.least_rows))
            for across in range(ceil_div(cols.count, t.least_cols)):
                if asks and stops(arrays, worker):
                    return
                q = max(0, min(across * t.least_cols, cols.count - t.least_cols))
                arguments[0] = source + r * s.row + q * t.every * t.unit
                sweep(arguments, <int64_t *> &s, scalars, m + plane, m + plane + 1, 0)
                picked.copy_lines(target + plane * s.out_plane + r * s.out_row + q * t.unit, s.out_row * sizeof(item),
                                  block, s.out_vector * sizeof(item), min(rows.count, t.least_rows),
                                  min(cols.count, t.least_cols) * t.unit * sizeof(item))


cdef void compute(item *x, void **arrays, const int64_t *ints, const double *scalars,
                  int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    cdef const Tiles *t = <const Tiles *> ints
    cdef const item *bias = <const item *> arrays[3]
    cdef sweep_function sweep = <sweep_function> arrays[5]
    cdef row_function finish = <row_function> arrays[6]
    cdef const int64_t *shift = <const int64_t *> arrays[7]
    cdef const int64_t *starts = <const int64_t *> arrays[8]
    cdef item *block = <item *> arrays[11] + worker * scratch_items(t, sizeof(item))
    cdef item *strip = block + t.least_rows * t.least_cols * t.unit
    cdef item *image
    cdef item *target
    cdef void *arguments[5]
    cdef Sweep s
    cdef Part rows, cols
    cdef Place place
    cdef Past past
    cdef item zero[2]
    cdef int64_t tile, residue, group, n, row0, row1, row, col, top, first, last, m, plane, planes, r
    cdef int64_t products, unasked = 0
    cdef int64_t sum_length = t.icg * t.kh * t.kw
    s.channels, s.kw, s.weights = t.icg, t.kw, t.icg * t.kh * t.kw * t.unit
    s.runs, s.long_runs, s.run, s.activation, s.flat = t.runs, t.long_runs, t.run, t.activation, t.flat
    s.block_rows, s.across, s.stride, s.every = t.block_rows, t.across, t.stride, t.every
    place.top = place.left = place.rows = place.cols = 0
    zero[0] = zero[1] = 0
    past.rows, past.cols = <const int64_t *> arrays[9], <const int64_t *> arrays[10]
    past.fill = zero if arrays[4] == NULL else arrays[4]
    s.out_row, s.out_plane = t.spread * t.ow * t.unit, t.oh * t.ow * t.unit
    s.out_vector = t.least_cols // t.block_rows * t.unit if t.flat else s.out_row
    arguments[1], arguments[3], arguments[4] = arrays[1], <void *> bias, <void *> shift
    for tile in range(begin, end):
        residue = tile // t.row_tiles % t.spread
        group = tile // (t.row_tiles * t.spread) % t.groups
        n = tile // (t.row_tiles * t.spread * t.groups)
        m = group * t.ocg
        image = x + n * t.xn + group * t.icg * t.xc
        row0 = tile % t.row_tiles * t.row_tile
        row1 = min(row0 + t.row_tile, ceil_div(t.oh - residue, t.spread))
        # The rows that read only the image; none if it must not be read in place.
        first = ceil_div(ceil_div(t.pt, t.sh) - residue, t.spread) if t.in_place else row1
        last = ceil_div((t.ih + t.pt - (t.kh - 1) * t.dh - 1) // t.sh + 1 - residue, t.spread)
        row = row0
        while row < row1:
            rows = next_part(row, row0, row1, t.least_rows, t.strip_rows, first, last)
            row = rows.begin + rows.count
            top = (residue + rows.begin * t.spread) * t.sh - t.pt
            col = 0
            while col < t.ow:
                cols = next_part(col, 0, t.ow, t.least_cols, t.strip_cols,
                                 t.first_inside if rows.inside else t.ow, t.last_inside)
                col = cols.begin + cols.count
                if rows.inside and cols.inside:
                    arguments[0] = image + top * t.xh + (cols.begin * t.sw - t.pl) * t.xw
                    s.channel, s.line, s.tap, s.row = t.xc, t.image_lines * t.xh, t.dh * t.xh, t.spread * t.sh * t.xh
                else:
                    gather(image, t, &past, starts, rows, cols, top, &place, strip, &s)
                    arguments[0] = strip
                if t.flat:
                    s.line = s.out_vector * t.every
                target = <item *> arrays[2] + (n * t.groups * t.ocg + m) * s.out_plane
                target += (residue + rows.begin * t.spread) * t.ow * t.unit + cols.begin * t.unit
                if rows.count < t.least_rows or cols.count < t.least_cols or sum_length > LONG_SUM:
                    sweep_small(sweep, t, arguments, s, scalars, m, rows, cols, block, target, arrays, worker)
                else:
                    s.rows, s.cols = rows.count, cols.count * t.unit
                    products = rows.count * cols.count * sum_length
                    planes = t.ocg
                    if products * t.ocg > PRODUCTS_AT_A_TIME:
                        planes = 1 + PRODUCTS_AT_A_TIME // products
                    plane = 0
                    while plane < t.ocg:
                        unasked += planes * products
                        if unasked > PRODUCTS_AT_A_TIME:
                            unasked = 0
                            if stops(arrays, worker):
                                return
                        arguments[2] = target + plane * s.out_plane
                        sweep(arguments, <int64_t *> &s, scalars, m + plane, m + min(plane + planes, t.ocg), worker)
                        plane += planes
                if s.activation > LEAKY_RELU:
                    for plane in range(t.ocg):
                        for r in range(rows.count):
                            finish(target + plane * s.out_plane + r * s.out_row, cols.count, bias, m + plane,
                                   s.activation, scalars[0])


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


KERNELS = {
    # By the size of an item. Tile: `row_tile` rows of one residue, in all output planes of one group of one image.
    # `arrays`: x, weight and out (C-contiguous), bias or null, the constant past the edges or null for zero; addresses
    # of the sweep, and of the epilogue of a row or null; the tables shift (of the taps in a line) and start (of the
    # planes), maps of rows and of columns past the edges or null for the constant; scratch. `scalars`: the activation's
    # parameter.
    "sweep": Slot(
        namedtuple("Tiles", no_tiles),
        {
            "V1": <intptr_t> &compute_1,
            "V2": <intptr_t> &compute_2,
            "V4": <intptr_t> &compute_4,
            "V8": <intptr_t> &compute_8,
        },
        scratch={
            "V1": <intptr_t> &scratch_1,
            "V2": <intptr_t> &scratch_2,
            "V4": <intptr_t> &scratch_4,
            "V8": <intptr_t> &scratch_8,
        },
    ),
}
