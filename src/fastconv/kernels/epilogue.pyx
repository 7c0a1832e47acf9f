"""The epilogue, bias and activation, for compiled kernels by name and for Numba kernels by address.

All use the one of the instruction set in use, as the C micro-kernels do. `ROW` finishes one row (simd/epilogue.h).

`PLANES` is a tile kernel, for lowerings without a tile to fuse it into. Tile: one plane. ``arrays``: values, bias or
null. ``ints``: `arguments`. ``scalars``: the activation's parameter.
"""

from collections import namedtuple

from libc.stdint cimport int64_t, intptr_t

from fastconv.kernels.cpu cimport found

ctypedef void (*row_f32)(float *, int64_t, const float *, int64_t, int64_t, double) noexcept nogil
ctypedef void (*row_f64)(double *, int64_t, const double *, int64_t, int64_t, double) noexcept nogil

cdef struct Planes:
    int64_t values      # per plane
    int64_t channels
    int64_t activation  # code of the activation

# The same as a named tuple: a struct becomes a dictionary of its fields, in their order.
cdef Planes no_planes
arguments = namedtuple("Planes", no_planes)

cdef row_f32 row_of_f32 = <row_f32> found(b"epilogue", b"f4").function
cdef row_f64 row_of_f64 = <row_f64> found(b"epilogue", b"f8").function


cdef void epilogue_f32(float *values, int64_t n, const float *bias, int64_t m, int64_t code, double a) noexcept nogil:
    row_of_f32(values, n, bias, m, code, a)


cdef void epilogue_f64(double *values, int64_t n, const double *bias, int64_t m, int64_t code, double a) noexcept nogil:
    row_of_f64(values, n, bias, m, code, a)


cdef void planes_f32(void **arrays, const int64_t *ints, const double *scalars,
                     int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    cdef const Planes *p = <const Planes *> ints
    cdef int64_t plane
    for plane in range(begin, end):
        epilogue_f32(<float *> arrays[0] + plane * p.values, p.values, <float *> arrays[1], plane % p.channels,
                     p.activation, scalars[0])


cdef void planes_f64(void **arrays, const int64_t *ints, const double *scalars,
                     int64_t begin, int64_t end, int64_t worker) noexcept nogil:
    cdef const Planes *p = <const Planes *> ints
    cdef int64_t plane
    for plane in range(begin, end):
        epilogue_f64(<double *> arrays[0] + plane * p.values, p.values, <double *> arrays[1], plane % p.channels,
                     p.activation, scalars[0])


ROW = {"float32": <intptr_t> row_of_f32, "float64": <intptr_t> row_of_f64}
PLANES = {"float32": <intptr_t> &planes_f32, "float64": <intptr_t> &planes_f64}
