/* The kernel of windows, which is the same for all types, and its folds. */
#include "windows.h"

#include "footprints.h"

#include "slots.h"

#define FOLD_SLOT(name, type) {#name, #type, (void (*)(void))name##_##type, "", 0, 0},
#define EXTREME_SLOTS(type)                                                                          \
    {"windows", #type, (void (*)(void))windows, WINDOWS_ARGUMENTS(QUOTED), windows_scratch, 0},      \
    {"footprints", #type, (void (*)(void))footprints, FOOTPRINTS_ARGUMENTS(QUOTED), footprints_scratch, 0}, \
    EXTREME_FOLDS(FOLD_SLOT, type)
#define MEAN_SLOTS(type) MEAN_FOLDS(FOLD_SLOT, type)
#define WIDE_SLOTS(wide, T) MEAN_FOLDS(FOLD_SLOT, wide)
#define INTEGER_SLOTS(wide, T, type, OUT) FOLD_SLOT(mean_of_##wide, type) FOLD_SLOT(to_##wide, type)

const kernel_slot OF_ISA(kernels_windows)[] = {
    EXTREME_TYPES(EXTREME_SLOTS) MEAN_TYPES(MEAN_SLOTS) WIDE_TYPES(WIDE_SLOTS) INTEGER_TYPES(INTEGER_SLOTS) {0}
};
