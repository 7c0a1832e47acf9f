/* Every kernel of one type of reals: REAL, its BITS, its TYPE by name, and NAME, which appends the type to a name. */
#include "isa.h"

#include "continuation.h"

#include "epilogue.h"

#include "vector.h"

#include "peak.h"

#include "gemm.h"

#include "strip.h"

#include "implicit.h"

#include "weight_gradient.h"

#include "winograd.h"

#define ITEM REAL
#define SUM REAL
#define PARTS 1
#define FLOATS 1
#include "filter.h"

#include "rolling.h"

#include "separable.h"

#include "layers.h"

#include "inner.h"

#include "tap_gradient.h"

#include "fft.h"

const real_kernels OF_ISA(NAME(real)) = {
    .peak = NAME(peak),
    .gemm_tile = (void (*)(void))NAME(gemm_tile),
    .epilogue = (void (*)(void))NAME(epilogue),
    .activate = NAME(activate_values),
    .channels = NAME(channels),
    .softmax = NAME(softmax),
    .inner = NAME(inner),
    .pack_left = NAME(pack_left),
    .implicit = NAME(implicit),
    .rolling = NAME(rolling),
    .separable = NAME(separable),
    .weight_gradient = NAME(weight_gradient),
    .tap_gradient = NAME(tap_gradient),
    .winograd_weight = NAME(winograd_weight),
    .winograd = NAME(winograd),
    .fft_weight = NAME(fft_weight),
    .fft = NAME(fft),
};
