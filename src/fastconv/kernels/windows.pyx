"""Door to the kernel of windows of the instruction set in use (simd/windows.h), and to its folds: all by address.

`FOLDS` holds the folds of every step and of the last one, by their name and the type of the values, such as "u1".
"""

from libc.stdint cimport intptr_t

from fastconv.kernels.cpu cimport picked

cdef extern from "simd/simd.h":
    enum:
        CACHE_LINE
        LINES
        WINDOW_TYPES

cdef int i

# Bytes that lines begin a multiple of, and how many lines there are beside those that are looked back to.
LINE_BYTES, WORKING_LINES = CACHE_LINE, LINES

WINDOWS = <intptr_t> picked.windows.windows

FOLDS = {}
for i in range(WINDOW_TYPES):
    kind = picked.windows.folds[i].type.decode()
    maximum, minimum = <intptr_t> picked.windows.folds[i].maximum, <intptr_t> picked.windows.folds[i].minimum
    FOLDS["maximum", kind], FOLDS["minimum", kind] = (maximum, maximum), (minimum, minimum)
    if picked.windows.folds[i].mean != NULL:
        FOLDS["mean", kind] = (<intptr_t> picked.windows.folds[i].sum, <intptr_t> picked.windows.folds[i].mean)
