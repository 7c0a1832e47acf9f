/* The kernel of windows, and its folds of each type. */
#include "windows.h"

#define EXTREME_FOLDS(kind) \
    .type = #kind, .maximum = (void (*)(void))maximum_##kind, .minimum = (void (*)(void))minimum_##kind
#define MEAN_FOLDS(kind) .sum = (void (*)(void))sum_##kind, .mean = (void (*)(void))mean_##kind

const window_kernels OF_ISA(windows) = {
    .windows = windows,
    .folds = {{EXTREME_FOLDS(i1)},
              {EXTREME_FOLDS(u1)},
              {EXTREME_FOLDS(i2)},
              {EXTREME_FOLDS(u2)},
              {EXTREME_FOLDS(i4)},
              {EXTREME_FOLDS(u4)},
              {EXTREME_FOLDS(i8)},
              {EXTREME_FOLDS(u8)},
              {EXTREME_FOLDS(f4), MEAN_FOLDS(f4)},
              {EXTREME_FOLDS(f8), MEAN_FOLDS(f8)}},
};
