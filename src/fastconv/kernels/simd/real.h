/* The kernels of one type of reals: REAL, its BITS, its TYPE by name, and NAME, which appends the type to a name. */
#include "isa.h"

#include "continuation.h"

#include "copy.h"

#include "epilogue.h"

#include "vector.h"

#include "strip.h"

#include "slots.h"

const kernel_slot OF_ISA(NAME(kernels))[] = {REAL_KERNELS(SLOT) {0}};
