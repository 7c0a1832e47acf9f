#define SIMD_ISA baseline
#include "table.h"
