#define SIMD_ISA avx512
#include "table.h"
