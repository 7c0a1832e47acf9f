/* Vectors of REAL, as wide as the instruction set allows; included once for float and once for double.
 *
 * GCC's vector extensions: one source for AVX-512, AVX2, SSE2 and NEON. A lane is never subscripted in a hot loop
 * (compilers then spill the vector).
 */
#define LANES ((int64_t)(SIMD_BYTES / sizeof(REAL)))

typedef REAL NAME(vector) __attribute__((vector_size(SIMD_BYTES)));
typedef REAL NAME(unaligned) __attribute__((vector_size(SIMD_BYTES), aligned(sizeof(REAL)), may_alias));
typedef BITS NAME(mask) __attribute__((vector_size(SIMD_BYTES)));
#define VECTOR NAME(vector)

static inline VECTOR NAME(load)(const REAL *p) { return *(const NAME(unaligned) *)p; }

static inline void NAME(store)(REAL *p, VECTOR v) { *(NAME(unaligned) *)p = v; }

/* x - 0 is x for every x, including signed zeros and NaN, and compiles to a single broadcast. */
static inline VECTOR NAME(broadcast)(REAL x) { return x - (VECTOR){0}; }
