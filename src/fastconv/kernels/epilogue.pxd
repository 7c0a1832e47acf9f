from libc.stdint cimport int64_t

cdef void epilogue_f32(float *values, int64_t n, const float *bias, int64_t m, int64_t code, double a) noexcept nogil
cdef void epilogue_f64(double *values, int64_t n, const double *bias, int64_t m, int64_t code, double a) noexcept nogil
