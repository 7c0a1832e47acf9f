from libc.stdint cimport int64_t

cdef extern from "simd/simd.h":
    enum: MAX_ARRAYS

    int stops(void **arrays, int64_t worker) noexcept nogil

    ctypedef struct Window:
        int64_t n, g, ic, oc, ih, iw, kh, kw, oh, ow, sh, sw, dh, dw, pt, pl
        int64_t xn, xc, xh, xw

    ctypedef void (*tile_function)(void **arrays, const int64_t *ints, const double *scalars,
                                   int64_t begin, int64_t end, int64_t worker) noexcept nogil

    ctypedef struct kernel_slot:
        const char *name
        const char *type
        void (*function)() noexcept nogil
        const char *arguments
        int64_t (*scratch)(const int64_t *ints) noexcept nogil
        int64_t (*packed)(const int64_t *ints) noexcept nogil

    ctypedef struct simd_kernels:
        const char *isa
        int64_t lanes_bytes, mr, nv, wide_rows, wide_3_rows
        const kernel_slot *const *kernels
        void (*copy_lines)(void *to, int64_t pitch, const void *source, int64_t apart,
                           int64_t lines, int64_t n) noexcept nogil

cdef const simd_kernels *picked

cdef inline int64_t ceil_div(int64_t a, int64_t b) noexcept nogil:
    """a / b rounded up; b is positive, and division is that of C."""
    return (a + b - 1) // b if a > 0 else -(-a // b)

cdef const kernel_slot *found(const char *name, const char *type) except NULL
