/* The kernels of float32. */
#define REAL float
#define BITS int32_t
#define TYPE "f4"
#define NAME(name) name##_f32
#include "real.h"
