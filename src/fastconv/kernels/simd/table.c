/* The table of an instruction set, whose parts are compiled side by side. */
#include "copy.h"

/* Lines of `bytes` each, `apart` and, in the target, `pitch` bytes from one to the next. */
static void copy_lines(void *to, int64_t pitch, const void *from, int64_t apart, int64_t lines, int64_t bytes)
{
    for (int64_t line = 0; line < lines; line++)
        copy_line((char *)to + line * pitch, (const char *)from + line * apart, bytes);
}

extern const real_kernels OF_ISA(real_f32), OF_ISA(real_f64);
extern const filter_sweep OF_ISA(filter_f32), OF_ISA(filter_f64), OF_ISA(filter_i8), OF_ISA(filter_i16),
    OF_ISA(filter_i32), OF_ISA(filter_i64), OF_ISA(filter_c64), OF_ISA(filter_c128);
extern const window_kernels OF_ISA(windows);

const simd_kernels OF_ISA(simd) = {
    .isa = TEXT(SIMD_ISA),
    .lanes_bytes = SIMD_BYTES,
    .mr = MR,
    .nv = NV,
    .copy_lines = copy_lines,
    .f32 = &OF_ISA(real_f32),
    .f64 = &OF_ISA(real_f64),
    .wide_rows = WIDE_ROWS,
    .wide_3_rows = WIDE_3_ROWS,
    .filters = {&OF_ISA(filter_f32), &OF_ISA(filter_f64), &OF_ISA(filter_i8), &OF_ISA(filter_i16),
                &OF_ISA(filter_i32), &OF_ISA(filter_i64), &OF_ISA(filter_c64), &OF_ISA(filter_c128)},
    .windows = &OF_ISA(windows),
};
