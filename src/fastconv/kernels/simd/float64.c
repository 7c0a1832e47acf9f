/* The kernels of float64. */
#define REAL double
#define BITS int64_t
#define TYPE "f8"
#define NAME(name) name##_f64
#include "real.h"
