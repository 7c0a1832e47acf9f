"""Door to the kernel of windows of the instruction set in use (simd/windows.h), and to its folds: all by address.

`FOLDS` holds the folds for every step and for the last one, by name and type of the values, such as "u1".
"""

from libc.stdint cimport intptr_t

from fastconv.kernels.cpu cimport picked

cdef extern from "simd/simd.h":
    enum:
        CACHE_LINE
        LINES
        WINDOW_TYPES

cdef int i

# The alignment of lines in bytes, and the number of lines in addition to those that are looked back to.
LINE_BYTES, WORKING_LINES = CACHE_LINE, LINES

WINDOWS = <intptr_t> picked.windows.windows

FOLDS = {}
for i in range(WINDOW_TYPES):
    kind = picked.windows.folds[i].type.decode()
    maximum, minimum = <intptr_t> picked.windows.folds[i].maximum, <intptr_t> picked.windows.folds[i].minimum
    FOLDS["maximum", kind], FOLDS["minimum", kind] = (maximum, maximum), (minimum, minimum)
    if picked.windows.folds[i].mean != NULL:
        FOLDS["mean", kind] = (<intptr_t> picked.windows.folds[i].sum, <intptr_t> picked.windows.folds[i].mean)
