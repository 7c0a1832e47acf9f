"""The door to the C kernels of the instruction set in use: the address, arguments and scratch memory of each.

A kernel is found by its name and the type of its values. They are listed in simd/slots.h; the header of each says what
it computes and which arrays it takes. Its integers are a named tuple, made from the same list as the struct in C: a
missing, misspelt or superfluous field is a ``TypeError`` when the call is planned.
"""

from collections import namedtuple
from functools import cache

from libc.stdint cimport int64_t, intptr_t

import numpy as np

from fastconv.kernels.cpu cimport found, kernel_slot, picked

cdef extern from "region.h":
    enum: MAX_INTS

cdef extern from *:
    """
    #include "simd/simd.h"

    #define TILE_OF(t, m) {t, m},
    static const int axes[][2] = {AXES(TILE_OF)};
    enum { AXIS_COUNT = sizeof axes / sizeof *axes };
    """
    const int axes[][2]
    int AXIS_COUNT
    int ABREAST_ "ABREAST"
    int CACHE_LINE_ "CACHE_LINE"
    int MOST_SHARING_ "MOST_SHARING"
    int AT_A_TIME

# Bytes of a cache line, and of a vector.
CACHE_LINE = CACHE_LINE_
VECTOR_BYTES = picked.lanes_bytes

# Of the matrix micro-kernel: rows of a register tile, the values of a vector and its columns, by the size of a value;
# and the most products that share L1.
MR = picked.mr
LANES = {size: VECTOR_BYTES // size for size in (4, 8)}
NR = {size: picked.nv * lanes for size, lanes in LANES.items()}
MOST_SHARING = MOST_SHARING_

# Of Winograd's transforms: the axes F(m, r) that kernels are compiled for, with their numbers.
AXES = {(axes[i][1], axes[i][0] - axes[i][1] + 1): i for i in range(AXIS_COUNT)}

# Vectors that a separable filter sums side by side, and neighbouring columns of a tile of softmax.
ABREAST = ABREAST_
SOFTMAX_COLUMNS = AT_A_TIME


cdef const kernel_slot *slot(str name, dtype) except NULL:
    return found(name.encode(), np.dtype(dtype).str[1:].encode())


@cache
def kernel(str name, dtype):
    """The address of a kernel for values of `dtype`."""
    return <intptr_t> slot(name, dtype).function


@cache
def arguments(str name):
    """The named tuple of a kernel's integers."""
    for kernel_name, dtype in kernels():
        if kernel_name == name:
            fields = slot(name, dtype).arguments.decode().split()
            if len(fields) > MAX_INTS:
                raise OverflowError(f"{name} takes {len(fields)} integers, more than {MAX_INTS}")
            return namedtuple(name.title().replace("_", ""), fields)
    raise LookupError(f"no kernel {name!r}")


def scratch(str name, dtype, ints):
    """Bytes of scratch memory that each worker of a kernel needs with these `arguments`: a multiple of CACHE_LINE."""
    return counted(slot(name, dtype).scratch, name, ints)


def packed(str name, dtype, ints):
    """Bytes of a group's filters in the form that a kernel packs them into with these `arguments`."""
    return counted(slot(name, dtype).packed, name, ints)


cdef counted(int64_t (*count)(const int64_t *ints) noexcept nogil, str name, ints):
    """The bytes that `count` finds, or 0 without it."""
    cdef int64_t values[MAX_INTS]
    cdef Py_ssize_t at
    fields = arguments(name)._fields
    if getattr(ints, "_fields", None) != fields:
        raise TypeError(f"{name} takes {', '.join(fields)}")
    if count == NULL:
        return 0
    for at, value in enumerate(ints):
        values[at] = value
    return count(values)


@cache
def kernels():
    """The name and type of every kernel."""
    cdef const kernel_slot *const *of_type = picked.kernels
    cdef const kernel_slot *of
    listed = []
    while of_type[0] != NULL:
        of = of_type[0]
        while of.name != NULL:
            listed.append((of.name.decode(), of.type.decode()))
            of += 1
        of_type += 1
    return tuple(listed)
