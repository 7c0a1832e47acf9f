/* The filters of integers, signed or not, and of complex numbers. */
#include "isa.h"
#include "slots.h"

#define FLOATS 0
#define PARTS 1

#define TYPE "i1"
#define ITEM uint8_t
#define SUM uint16_t
#define NAME(name) name##_i8
#include "filter.h"
const kernel_slot OF_ISA(NAME(kernels))[] = {FILTER_KERNELS(SLOT) {0}};
#undef TYPE
#undef ITEM
#undef SUM
#undef NAME

#define TYPE "i2"
#define ITEM uint16_t
#define SUM uint16_t
#define NAME(name) name##_i16
#include "filter.h"
const kernel_slot OF_ISA(NAME(kernels))[] = {FILTER_KERNELS(SLOT) {0}};
#undef TYPE
#undef ITEM
#undef SUM
#undef NAME

#define TYPE "i4"
#define ITEM uint32_t
#define SUM uint32_t
#define NAME(name) name##_i32
#include "filter.h"
const kernel_slot OF_ISA(NAME(kernels))[] = {FILTER_KERNELS(SLOT) {0}};
#undef TYPE
#undef ITEM
#undef SUM
#undef NAME

#define TYPE "i8"
#define ITEM uint64_t
#define SUM uint64_t
#define NAME(name) name##_i64
#include "filter.h"
const kernel_slot OF_ISA(NAME(kernels))[] = {FILTER_KERNELS(SLOT) {0}};
#undef TYPE
#undef ITEM
#undef SUM
#undef NAME

#undef PARTS
#define PARTS 2

#define TYPE "c8"
#define ITEM float
#define SUM float
#define NAME(name) name##_c64
#include "filter.h"
const kernel_slot OF_ISA(NAME(kernels))[] = {FILTER_KERNELS(SLOT) {0}};
#undef TYPE
#undef ITEM
#undef SUM
#undef NAME

#define TYPE "c16"
#define ITEM double
#define SUM double
#define NAME(name) name##_c128
#include "filter.h"
const kernel_slot OF_ISA(NAME(kernels))[] = {FILTER_KERNELS(SLOT) {0}};
