"""The door to the kernels of the instruction set in use: the address, arguments and scratch memory of each.

A kernel is found by its name and the type of its values. Kernels in C are listed in simd/slots.h; the header of each
says what it computes and which arrays it takes. A module in Cython lists its own as `KERNELS`. The integers of a kernel
are a named tuple, made from the same list as its struct: a missing, misspelt or superfluous field is a ``TypeError``
when the call is planned.
"""

from collections import namedtuple
from functools import cache
from importlib import import_module

from libc.stdint cimport int64_t, intptr_t

import numpy as np

from fastconv.kernels.cpu cimport kernel_slot, picked

cdef extern from "region.h":
    enum: MAX_INTS

cdef extern from *:
    """
    #include "simd/simd.h"
    #include "simd/instructions.h"

    #define AXIS_OF(t, m, stride) {m, TAPS_OF(t, m, stride), stride},
    static const int axes[][3] = {AXES(AXIS_OF)};
    enum { AXIS_COUNT = sizeof axes / sizeof *axes };

    #define INSTRUCTION_OF(name, targets, sources) #name " "
    static const char *const instructions = INSTRUCTIONS(INSTRUCTION_OF);
    """
    const int axes[][3]
    int AXIS_COUNT
    int ABREAST_ "ABREAST"
    int CACHE_LINE_ "CACHE_LINE"
    int MOST_SHARING_ "MOST_SHARING"
    int MOST_BYTES_ "MOST_BYTES"
    int BLOCK_TERMS_ "BLOCK_TERMS"
    int AT_A_TIME
    const char *const instructions
    int SHIFT_BITS_ "SHIFT_BITS"
    int NETWORK_TARGET_ "NETWORK_TARGET"

# Bytes of a cache line, and of a vector.
CACHE_LINE = CACHE_LINE_
VECTOR_BYTES = picked.lanes_bytes

# Of the matrix micro-kernel: rows of a register tile, the values of a vector and its columns, by the size of a value;
# and the most products that share L1.
MR = picked.mr
LANES = {size: VECTOR_BYTES // size for size in (4, 8)}
NR = {size: picked.nv * lanes for size, lanes in LANES.items()}
MOST_SHARING = MOST_SHARING_

# Of Winograd's transforms: the axes that kernels are compiled for, by outputs, taps and stride, with their numbers.
AXES = {(axes[i][0], axes[i][1], axes[i][2]): i for i in range(AXIS_COUNT)}

# Vectors that a separable filter sums side by side, bytes whose mean takes 16 bits, and neighbouring columns of a tile
# of softmax.h.
ABREAST = ABREAST_
MOST_BYTES = MOST_BYTES_
BLOCK_TERMS = BLOCK_TERMS_
NEIGHBOURS = AT_A_TIME

# Of networks of comparisons: the codes of instructions, and how operands are written.
INSTRUCTIONS = {name: code for code, name in enumerate(instructions.decode().split())}
SHIFT_BITS = SHIFT_BITS_
NETWORK_TARGET = NETWORK_TARGET_


# A function that counts bytes, given the integers of a kernel.
ctypedef int64_t (*counting)(const int64_t *ints) noexcept nogil


class Slot:
    """A kernel: the named tuple of its integers, and by type of its values, such as "f4", the addresses of functions.

    Those are the kernel's own, and of what counts the bytes of scratch memory and of packed filters, if it has any.
    """

    def __init__(self, arguments, functions, scratch=None, packed=None):
        self.arguments, self.functions = arguments, functions
        self.scratch, self.packed = scratch or {}, packed or {}


@cache
def table():
    """All kernels, by name."""
    modules = "convert", "epilogue", "losses", "lowering", "patches", "rectifying", "scatter", "sweep", "volumes"
    listed = in_c()
    for module in modules:
        listed |= import_module(f"fastconv.kernels.{module}").KERNELS
    for name, slot in listed.items():
        if len(slot.arguments._fields) > MAX_INTS:
            raise OverflowError(f"{name} takes {len(slot.arguments._fields)} integers, more than {MAX_INTS}")
    return listed


cdef in_c():
    """The kernels in C, by name."""
    cdef const kernel_slot *const *of_type = picked.kernels
    cdef const kernel_slot *of
    listed = {}
    while of_type[0] != NULL:
        of = of_type[0]
        while of.name != NULL:
            name, kind = of.name.decode(), of.type.decode()
            if name not in listed:
                listed[name] = Slot(namedtuple(name.title().replace("_", ""), of.arguments.decode()), {})
            listed[name].functions[kind] = <intptr_t> of.function
            if of.scratch != NULL:
                listed[name].scratch[kind] = <intptr_t> of.scratch
            if of.packed != NULL:
                listed[name].packed[kind] = <intptr_t> of.packed
            of += 1
        of_type += 1
    return listed


cdef slot(str name):
    try:
        return table()[name]
    except KeyError:
        raise LookupError(f"no kernel {name!r}") from None


@cache
def kernel(str name, dtype):
    """The address of a kernel for values of `dtype`."""
    functions, kind = slot(name).functions, np.dtype(dtype).str[1:]
    if kind not in functions:
        raise LookupError(f"no kernel {name!r} for {kind!r}")
    return functions[kind]


def arguments(str name):
    """The named tuple of a kernel's integers."""
    return slot(name).arguments


def scratch(str name, dtype, ints):
    """Bytes of scratch memory that each worker of a kernel needs with these `arguments`: a multiple of CACHE_LINE."""
    return counted(slot(name).scratch, name, dtype, ints)


def packed(str name, dtype, ints):
    """Bytes of a group's filters in the form that a kernel packs them into with these `arguments`."""
    return counted(slot(name).packed, name, dtype, ints)


cdef counted(dict counts, str name, dtype, ints):
    """The bytes that the function for values of `dtype` counts; 0 if there are no such functions."""
    cdef int64_t values[MAX_INTS]
    cdef Py_ssize_t at
    fields = arguments(name)
    if type(ints) is not fields:
        raise TypeError(f"{name} takes {', '.join(fields._fields)}")
    if not counts:
        return 0
    for at, value in enumerate(ints):
        values[at] = value
    return (<counting> <intptr_t> counts[np.dtype(dtype).str[1:]])(values)


def kernels():
    """The name and type of every kernel."""
    return tuple((name, kind) for name, slot in table().items() for kind in slot.functions)
