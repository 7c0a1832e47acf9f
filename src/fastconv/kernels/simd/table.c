/* The table of an instruction set, whose parts are compiled side by side. */
#include "copy.h"

/* Lines of `bytes` each, `apart` and, in the target, `pitch` bytes from one to the next. */
static void copy_lines(void *to, int64_t pitch, const void *from, int64_t apart, int64_t lines, int64_t bytes)
{
    for (int64_t line = 0; line < lines; line++)
        copy_line((char *)to + line * pitch, (const char *)from + line * apart, bytes);
}

/* The lists of kernels that the other sources fill: X(type). */
#define LISTS(X) X(f32) X(f64) X(i8) X(i16) X(i32) X(i64) X(c64) X(c128) X(windows) X(ordered) X(ranks)
#define DECLARE_LIST(type) extern const kernel_slot OF_ISA(kernels_##type)[];
#define LIST(type) OF_ISA(kernels_##type),
LISTS(DECLARE_LIST)

static const kernel_slot *const kernels[] = {LISTS(LIST) 0};

const simd_kernels OF_ISA(simd) = {
    .isa = TEXT(SIMD_ISA),
    .lanes_bytes = SIMD_BYTES,
    .mr = MR,
    .nv = NV,
    .wide_rows = WIDE_ROWS,
    .wide_3_rows = WIDE_3_ROWS,
    .kernels = kernels,
    .copy_lines = copy_lines,
};
