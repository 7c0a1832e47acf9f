from libc.stdint cimport int64_t

cdef extern from "simd/simd.h":
    enum: MAX_ARRAYS, MOST_SHARING

    int stops(void **arrays, int64_t worker) noexcept nogil

    ctypedef struct Window:
        int64_t n, g, ic, oc, ih, iw, kh, kw, oh, ow, sh, sw, dh, dw, pt, pl
        int64_t xn, xc, xh, xw

    ctypedef void (*tile_function)(void **arrays, const int64_t *ints, const double *scalars,
                                   int64_t begin, int64_t end, int64_t worker) noexcept nogil

    ctypedef struct real_kernels:
        double (*peak)(int64_t rounds, double *value) noexcept nogil
        void (*gemm_tile)() noexcept nogil
        void (*epilogue)() noexcept nogil
        tile_function activate
        tile_function channels
        tile_function softmax
        tile_function inner
        tile_function pack_left
        tile_function implicit
        tile_function rolling
        tile_function separable
        tile_function weight_gradient
        tile_function tap_gradient
        tile_function winograd_weight
        tile_function winograd
        tile_function fft_weight
        tile_function fft

    ctypedef struct window_folds:
        const char *type
        void (*maximum)() noexcept nogil
        void (*minimum)() noexcept nogil
        void (*sum)() noexcept nogil
        void (*mean)() noexcept nogil

    ctypedef struct window_kernels:
        tile_function windows
        window_folds *folds

    ctypedef struct filter_sweep:
        const char *type
        int64_t lanes
        tile_function filter

    ctypedef struct simd_kernels:
        const char *isa
        int64_t lanes_bytes, mr, nv
        void (*copy_lines)(void *to, int64_t pitch, const void *source, int64_t apart,
                           int64_t lines, int64_t n) noexcept nogil
        real_kernels *f32
        real_kernels *f64
        int64_t wide_rows, wide_3_rows
        filter_sweep **filters
        window_kernels *windows

cdef const simd_kernels *picked
