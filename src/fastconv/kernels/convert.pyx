"""Casting values from one type to another (convert.h)."""

from collections import namedtuple

from libc.stdint cimport int64_t, intptr_t

from fastconv.kernels.slots import Slot

cdef extern from "convert.h" nogil:
    enum:
        TYPES, CAST_TO_BOOL, NOT_ZERO
    void convert(const void *source, void *target, int64_t kind, int64_t begin, int64_t end) noexcept

cdef struct Spans:
    int64_t values  # number of values
    int64_t span    # values of a tile
    int64_t kind

# As a named tuple: a struct becomes a dictionary of its fields, in their order.
cdef Spans no_spans


cdef void convert_span(void **arrays, const int64_t *ints, const double *scalars,
                       int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    cdef const Spans *s = <const Spans *> ints
    convert(arrays[0], arrays[1], s.kind, begin * s.span, min(s.values, end * s.span))


_NUMBERS = {name: number for number, name in enumerate(("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"))}
_BETWEEN = ("i8", "f4", "f8")
_WIDER = {"i1": ("i2", "i4"), "u1": ("i2", "u2", "i4"), "i2": ("i4",), "u2": ("i4",)}

# The kinds, by the types that are converted: one of them is among `_BETWEEN`, or the second holds all values of the
# first. Any type can become whether it is not zero.
KINDS = {
    (source, target): _NUMBERS[source] * TYPES + _NUMBERS[target]
    for source in _NUMBERS
    for target in _NUMBERS
    if source != target and (source in _BETWEEN or target in _BETWEEN or target in _WIDER.get(source, ()))
}
KINDS |= {
    (source, target): number * TYPES + (CAST_TO_BOOL if target == "b1" and source[0] == "f" else NOT_ZERO)
    for source, number in _NUMBERS.items()
    for target in ("b1", "not zero")
}

KERNELS = {
    # Tile: a span of values of any type. `arrays`: the values, and what they become.
    "convert": Slot(namedtuple("Spans", no_spans), dict.fromkeys(_NUMBERS, <intptr_t> &convert_span)),
}
