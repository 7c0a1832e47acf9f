/* The list of all kernels: X(name, list of arguments, function that counts the bytes of scratch memory or 0, function
 * that counts the bytes of what it packs or transforms for other kernels, per group, or 0). The tables of all
 * instruction sets, the door to Python (kernels/slots.pyx) and the tests are made from it.
 *
 * Each kernel of reals has a header, which is included here after the headers that it builds on.
 */
#ifdef REAL
#include "peak.h"

#include "gemm.h"

#include "implicit.h"

#include "turn.h"

#include "im2row.h"

#include "weight_gradient.h"

#include "winograd_axis.h"

#include "winograd_weight.h"

#include "winograd_inputs.h"

#include "winograd_outputs.h"

#include "winograd_blocks.h"

#include "winograd.h"

#include "winograd_shared.h"

#define ITEM REAL
#define SUM REAL
#define PARTS 1
#define FLOATS 1
#include "filter.h"

#include "rolling.h"

#include "interleaved.h"

#include "depthwise.h"

#include "indirect.h"

#include "winograd_pixels.h"

#include "separable.h"

#include "pool_pixels.h"

#include "activations.h"

#include "statistics.h"

#include "response.h"

#include "softmax.h"

#include "losses.h"

#include "noise.h"

#include "updates.h"

#include "inner_panels.h"

#include "inner.h"

#include "polyphase.h"

#include "tap_gradient.h"

#include "fft.h"
#endif

#define REAL_KERNELS(X)                                                                           \
    X(peak, NO_ARGUMENTS, 0, 0)                                                                   \
    X(gemm_tile, NO_ARGUMENTS, 0, 0)                                                              \
    X(epilogue, NO_ARGUMENTS, 0, 0)                                                               \
    X(activation, ACTIVATION_ARGUMENTS, 0, 0)                                                     \
    X(add, ACTIVATION_ARGUMENTS, 0, 0)                                                            \
    X(channels, CHANNELS_ARGUMENTS, 0, 0)                                                         \
    X(normalise, NORMALISE_ARGUMENTS, 0, 0)                                                       \
    X(standardise, STANDARDISE_ARGUMENTS, 0, 0)                                                   \
    X(response, RESPONSE_ARGUMENTS, 0, 0)                                                         \
    X(softmax, SOFTMAX_ARGUMENTS, 0, 0)                                                           \
    X(spread, SPREAD_ARGUMENTS, 0, 0)                                                             \
    X(drop, DROP_ARGUMENTS, 0, 0)                                                                 \
    X(slope, SLOPE_ARGUMENTS, 0, 0)                                                               \
    X(momentum, MOMENTUM_ARGUMENTS, 0, 0)                                                         \
    X(adam, ADAM_ARGUMENTS, 0, 0)                                                                 \
    X(inner, INNER_ARGUMENTS, NAME(inner_scratch), 0)                                             \
    X(polyphase, POLYPHASE_ARGUMENTS, NAME(polyphase_scratch), 0)                                 \
    X(pack_left, PACK_LEFT_ARGUMENTS, 0, NAME(pack_left_packed))                                  \
    X(implicit, IMPLICIT_ARGUMENTS, NAME(implicit_scratch), 0)                                    \
    X(pack_columns, PACK_COLUMNS_ARGUMENTS, 0, NAME(pack_columns_packed))                         \
    X(im2row, IM2ROW_ARGUMENTS, NAME(im2row_scratch), 0)                                          \
    X(turn_images, TURN_IMAGES_ARGUMENTS, 0, 0)                                                   \
    X(rolling, SWEEP_ARGUMENTS, 0, 0)                                                             \
    X(interleave_filters, INTERLEAVE_FILTERS_ARGUMENTS, 0, NAME(interleave_filters_packed))       \
    X(interleaved, INTERLEAVED_ARGUMENTS, NAME(interleaved_scratch), 0)                           \
    X(depthwise, DEPTHWISE_ARGUMENTS, NAME(depthwise_scratch), 0)                                 \
    X(pack_panels, PACK_PANELS_ARGUMENTS, 0, NAME(pack_panels_packed))                            \
    X(indirect, INDIRECT_ARGUMENTS, NAME(indirect_scratch), 0)                                    \
    X(separable, SEPARABLE_ARGUMENTS, NAME(separable_scratch), 0)                                 \
    X(pool_pixels, POOL_PIXELS_ARGUMENTS, 0, 0)                                                   \
    X(weight_gradient, WEIGHT_GRADIENT_ARGUMENTS, NAME(weight_gradient_scratch), 0)               \
    X(tap_gradient, TAP_GRADIENT_ARGUMENTS, NAME(tap_gradient_scratch), 0)                        \
    X(winograd_weight, WINOGRAD_WEIGHT_ARGUMENTS, 0, NAME(winograd_packed))                       \
    X(winograd, WINOGRAD_ARGUMENTS, NAME(winograd_scratch), 0)                                    \
    X(winograd_in, WINOGRAD_ARGUMENTS, NAME(winograd_in_scratch), NAME(winograd_in_packed))       \
    X(winograd_sums, WINOGRAD_ARGUMENTS, NAME(winograd_sums_scratch), NAME(winograd_sums_packed)) \
    X(winograd_out, WINOGRAD_ARGUMENTS, NAME(winograd_out_scratch), 0)                            \
    X(winograd_pixels, WINOGRAD_PIXELS_ARGUMENTS, NAME(pixels_scratch), 0)                        \
    X(fft_weight, FFT_ARGUMENTS, NAME(fft_weight_scratch), NAME(fft_packed))                      \
    X(fft, FFT_ARGUMENTS, NAME(fft_scratch), 0)                                                   \
    FILTER_KERNELS(X)

/* The kernels of integers and complex numbers as well. */
#define FILTER_KERNELS(X) X(filter, SWEEP_ARGUMENTS, 0, 0)

/* The folds of windows, X(name, type): of all types but complex numbers, and of reals alone. */
#define EXTREME_FOLDS(X, type) X(maximum, type) X(minimum, type)
#define MEAN_FOLDS(X, type) X(sum, type) X(mean, type)

#define NO_ARGUMENTS(X)
#define SLOT(name, LIST, scratch, packed) \
    {#name, TYPE, (void (*)(void))NAME(name), "" LIST(QUOTED), scratch, packed},
