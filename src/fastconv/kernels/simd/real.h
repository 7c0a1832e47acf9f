/* Every kernel for one type: REAL, its BITS, and NAME, which appends the type to a name. */
#undef LANES
#undef VECTOR
#undef NR
#undef TILE
#undef TILES
#undef ROW_OF_TILES
#undef PART
#undef LINE
#undef SHAPES
#undef TRANSFORMS
#undef ENTRY
#undef ROW
#undef PACK
#undef SUMS
#undef PRODUCTS
#undef ROW_OF_PRODUCTS
#undef SUM_TAPS
#undef MOST_TAPS

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
#undef ITEM
#undef SUM
#undef PARTS
#undef FLOATS

#include "rolling.h"

#include "separable.h"

#include "layers.h"

#include "inner.h"

#include "tap_gradient.h"

#include "fft.h"
