/* Sums in SciPy's order, compiled without contraction: the same kernel for all types of integers, and their casts. */
#include "ordered.h"

#include "slots.h"

#define CAST_SLOTS(name, T)                                                                          \
    {"ordered", #name, (void (*)(void))ordered, ORDERED_ARGUMENTS(QUOTED), ordered_scratch, 0},      \
    {"widen", #name, (void (*)(void))widen_##name, "", 0, 0},                                        \
    {"narrow", #name, (void (*)(void))narrow_##name, "", 0, 0},                                      \
    {"narrow_fitting", #name, (void (*)(void))narrow_fitting_##name, "", 0, 0},

const kernel_slot OF_ISA(kernels_ordered)[] = {CAST_TYPES(CAST_SLOTS) {0}};
