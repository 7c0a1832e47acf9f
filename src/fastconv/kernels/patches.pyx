"""Blocks of planes, gathered from where maps say, and whether all values of an array are finite."""

from collections import namedtuple

from libc.stdint cimport int64_t, intptr_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcpy

from fastconv.kernels.slots import Slot

cdef struct Pair:
    double first
    double second

ctypedef fused item:
    uint8_t
    uint16_t
    uint32_t
    uint64_t
    Pair

ctypedef fused bits:
    uint32_t
    uint64_t


cdef struct Block:
    int64_t cols        # columns of the block
    int64_t source_row  # items from one row of the plane to the next
    int64_t source_col  # items from one column of the plane to the next
    int64_t out_row     # items from one row of the block to the next
    int64_t first       # first of the columns that are neighbours in the plane as well
    int64_t last        # the one after the last of these

# As a named tuple: a struct becomes a dictionary of its fields, in their order.
cdef Block no_block


cdef inline void gather(const item *source, item *out, const int64_t *row_map, const int64_t *col_map,
                        const item *fill, const int64_t *ints, int64_t begin, int64_t end) noexcept nogil:
    cdef const Block *b = <const Block *> ints
    cdef int64_t cols = b.cols, source_row = b.source_row, source_col = b.source_col, out_row = b.out_row
    cdef int64_t first = b.first, last = b.last, row, col
    cdef const item *line
    cdef item *target
    for row in range(begin, end):
        target = out + row * out_row
        if row_map[row] < 0:
            for col in range(cols):
                target[col] = fill[0]
            continue
        line = source + row_map[row] * source_row
        for col in range(first):
            target[col] = line[col_map[col] * source_col] if col_map[col] >= 0 else fill[0]
        for col in range(last, cols):
            target[col] = line[col_map[col] * source_col] if col_map[col] >= 0 else fill[0]
        if first >= last:
            continue
        line += col_map[first] * source_col
        if source_col == 1:
            memcpy(target + first, line, (last - first) * sizeof(item))
        else:
            for col in range(first, last):
                target[col] = line[(col - first) * source_col]


cdef void gather_1(void **arrays, const int64_t *ints, const double *scalars,
                   int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    gather(<const uint8_t *> arrays[0], <uint8_t *> arrays[1], <const int64_t *> arrays[2],
           <const int64_t *> arrays[3], <const uint8_t *> arrays[4], ints, begin, end)


cdef void gather_2(void **arrays, const int64_t *ints, const double *scalars,
                   int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    gather(<const uint16_t *> arrays[0], <uint16_t *> arrays[1], <const int64_t *> arrays[2],
           <const int64_t *> arrays[3], <const uint16_t *> arrays[4], ints, begin, end)


cdef void gather_4(void **arrays, const int64_t *ints, const double *scalars,
                   int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    gather(<const uint32_t *> arrays[0], <uint32_t *> arrays[1], <const int64_t *> arrays[2],
           <const int64_t *> arrays[3], <const uint32_t *> arrays[4], ints, begin, end)


cdef void gather_8(void **arrays, const int64_t *ints, const double *scalars,
                   int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    gather(<const uint64_t *> arrays[0], <uint64_t *> arrays[1], <const int64_t *> arrays[2],
           <const int64_t *> arrays[3], <const uint64_t *> arrays[4], ints, begin, end)


cdef void gather_16(void **arrays, const int64_t *ints, const double *scalars,
                    int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    gather(<const Pair *> arrays[0], <Pair *> arrays[1], <const int64_t *> arrays[2],
           <const int64_t *> arrays[3], <const Pair *> arrays[4], ints, begin, end)


cdef struct Spans:
    int64_t values  # number of values
    int64_t span    # values of a tile

cdef Spans no_spans


cdef inline void find_not_finite(const bits *values, int64_t *flag, const int64_t *ints,
                                 int64_t begin, int64_t end) noexcept nogil:
    """An exponent of ones alone, with a one added, carries into the sign: a vector loop without comparisons."""
    cdef bits exponent = 0x7F800000 if bits is uint32_t else 0x7FF0000000000000
    cdef bits one = 0x00800000 if bits is uint32_t else 0x0010000000000000
    cdef const Spans *s = <const Spans *> ints
    cdef int64_t count = s.values, span = s.span, tile, i
    cdef bits found
    for tile in range(begin, end):
        found = 0
        for i in range(tile * span, min(count, (tile + 1) * span)):
            found |= (values[i] & exponent) + one
        if found > exponent:
            flag[0] = 1


cdef void find_not_finite_f32(void **arrays, const int64_t *ints, const double *scalars,
                              int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    find_not_finite(<const uint32_t *> arrays[0], <int64_t *> arrays[1], ints, begin, end)


cdef void find_not_finite_f64(void **arrays, const int64_t *ints, const double *scalars,
                              int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    find_not_finite(<const uint64_t *> arrays[0], <int64_t *> arrays[1], ints, begin, end)


KERNELS = {
    # Values of any type, by their size. Tile: one row of the block. `arrays`: a plane of any strides; the block, with
    # rows any distance apart; for each row and column of the block, the row and column of the plane that it is read
    # from, or -1; the value that is put there then.
    "gather": Slot(
        namedtuple("Block", no_block),
        {
            "V1": <intptr_t> &gather_1,
            "V2": <intptr_t> &gather_2,
            "V4": <intptr_t> &gather_4,
            "V8": <intptr_t> &gather_8,
            "V16": <intptr_t> &gather_16,
        },
    ),
    # Tile: a span of values. `arrays`: the values; a flag, which is set if one of them is not finite.
    "find_not_finite": Slot(
        namedtuple("Spans", no_spans), {"f4": <intptr_t> &find_not_finite_f32, "f8": <intptr_t> &find_not_finite_f64}
    ),
}
