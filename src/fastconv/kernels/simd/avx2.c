#define SIMD_ISA avx2
#include "table.h"
