/* What one instruction set has: the width of its vectors, the blocks that fill its registers, its shuffles.
 *
 * SIMD_ISA names it: setup.py compiles each source once per instruction set, with that set's flags.
 */
#ifndef FASTCONV_ISA_H
#define FASTCONV_ISA_H

#include <string.h>

#include "simd.h"

#if defined(__AVX512F__)
#define SIMD_BYTES 64
#elif defined(__AVX2__)
#define SIMD_BYTES 32
#else
#define SIMD_BYTES 16
#endif

/* A loop whose extent is a constant becomes straight code, so that its vectors live in registers. */
#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 20")
#endif

/* What follows is a loop whose iterations read and write nothing of one another, even if it works in place. */
#if defined(__clang__)
#define INDEPENDENT _Pragma("clang loop vectorize(assume_safety)")
#else
#define INDEPENDENT _Pragma("GCC ivdep")
#endif

/* GCC for arm64 would hoist a step's MR scalar loads above its multiply-adds, and spill accumulators to make room. */
#if defined(__aarch64__) && !defined(__clang__)
#pragma GCC optimize("no-schedule-insns")
#endif

/* A vector that several instructions read: GCC would load it again with each of them, and of 64 bytes that are not aligned
 * every load crosses a cache line. */
#if defined(__AVX512F__)
#define LOAD_ONCE(vector) __asm__("" : "+v"(vector))
#else
#define LOAD_ONCE(vector) (void)(vector)
#endif

/* A register tile of MR rows of NV vectors: 24 accumulators of 32 registers, 12 of 16, or 8 where a product needs a
 * register of its own before it is added. */
#if defined(__AVX512F__) || defined(__aarch64__)
#define MR 8
#else
#define MR 4
#endif

#if defined(__FMA__) || defined(__aarch64__)
#define NV 3
#else
#define NV 2
#endif

/* The blocks of filter.h: rows of those of two vectors, and the most rows and vectors of any. These sums, TAPS weights
 * and a vector of the image fill 16 registers, or most of 32. */
#if defined(__AVX512F__) || defined(__aarch64__)
#define WIDE_ROWS 8
#else
#define WIDE_ROWS 5
#endif
#define MOST_ROWS 8
#define MOST_ACROSS 4

/* Columns of 3 weights leave registers for another row, unless products need them. */
#if defined(__FMA__) && !defined(__AVX512F__)
#define WIDE_3_ROWS 6
#else
#define WIDE_3_ROWS WIDE_ROWS
#endif

#define JOIN_(a, b) a##_##b
#define JOIN(a, b) JOIN_(a, b)
#define TEXT_(a) #a
#define TEXT(a) TEXT_(a)

/* The name of something that other sources see. */
#define OF_ISA(name) JOIN(name, SIMD_ISA)

/* Lanes of one vector, or of two: the compiler is to choose among the instruction set's shuffles. */
#if defined(__clang__) || __GNUC__ >= 12
#define SHUFFLE __builtin_shufflevector
#else
#define SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (__typeof__(a > b)){__VA_ARGS__})
#endif

/* Two vectors as one of twice the length. GCC before 12 has no such shuffle. */
#if defined(__clang__) || __GNUC__ >= 12
#define JOINED(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#endif

/* Of two vectors in turn, the values of the LOWER or the UPPER half of each 16 bytes; and for JOINED, all VALUES of a
 * vector, or those of HALF of one. */
#if SIMD_BYTES == 64
#define LOWER_f32 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29
#define UPPER_f32 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31
#define LOWER_f64 0, 8, 2, 10, 4, 12, 6, 14
#define UPPER_f64 1, 9, 3, 11, 5, 13, 7, 15
#define VALUES_f32 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
#define VALUES_f64 0, 1, 2, 3, 4, 5, 6, 7
#define HALF_f32 0, 1, 2, 3, 4, 5, 6, 7
#define HALF_f64 0, 1, 2, 3
#elif SIMD_BYTES == 32
#define LOWER_f32 0, 8, 1, 9, 4, 12, 5, 13
#define UPPER_f32 2, 10, 3, 11, 6, 14, 7, 15
#define LOWER_f64 0, 4, 2, 6
#define UPPER_f64 1, 5, 3, 7
#define VALUES_f32 0, 1, 2, 3, 4, 5, 6, 7
#define VALUES_f64 0, 1, 2, 3
#else
#define LOWER_f32 0, 4, 1, 5
#define UPPER_f32 2, 6, 3, 7
#define LOWER_f64 0, 2
#define UPPER_f64 1, 3
#endif

/* The even and the odd values of two neighbouring vectors, within each 16 bytes; or the even ones, if the second vector
 * begins a value sooner. Pieces of 8 bytes in ORDER are in order. Complex numbers that are TURNED have their parts
 * swapped. */
#if SIMD_BYTES == 64
#define EVENS_f32 0, 2, 16, 18, 4, 6, 20, 22, 8, 10, 24, 26, 12, 14, 28, 30
#define ODDS_f32 1, 3, 17, 19, 5, 7, 21, 23, 9, 11, 25, 27, 13, 15, 29, 31
#define EVENS_f64 0, 8, 2, 10, 4, 12, 6, 14
#define OVERLAPPING_EVENS_f32 0, 2, 17, 19, 4, 6, 21, 23, 8, 10, 25, 27, 12, 14, 29, 31
#define OVERLAPPING_EVENS_f64 0, 9, 2, 11, 4, 13, 6, 15
#define ODDS_f64 1, 9, 3, 11, 5, 13, 7, 15
#define ORDER 0, 2, 4, 6, 1, 3, 5, 7
#define TURNED_c64 1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14
#define TURNED_c128 1, 0, 3, 2, 5, 4, 7, 6
#elif SIMD_BYTES == 32
#define EVENS_f32 0, 2, 8, 10, 4, 6, 12, 14
#define ODDS_f32 1, 3, 9, 11, 5, 7, 13, 15
#define EVENS_f64 0, 4, 2, 6
#define OVERLAPPING_EVENS_f32 0, 2, 9, 11, 4, 6, 13, 15
#define OVERLAPPING_EVENS_f64 0, 5, 2, 7
#define ODDS_f64 1, 5, 3, 7
#define ORDER 0, 2, 1, 3
#define TURNED_c64 1, 0, 3, 2, 5, 4, 7, 6
#define TURNED_c128 1, 0, 3, 2
#else
#define EVENS_f32 0, 2, 4, 6
#define ODDS_f32 1, 3, 5, 7
#define EVENS_f64 0, 2
#define OVERLAPPING_EVENS_f32 0, 2, 5, 7
#define OVERLAPPING_EVENS_f64 0, 3
#define ODDS_f64 1, 3
#define ORDER 0, 1
#define TURNED_c64 1, 0, 3, 2
#define TURNED_c128 1, 0
#endif

#endif
