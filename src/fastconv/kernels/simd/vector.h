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

/* The sum of a vector's lanes, by halves. */
static inline REAL NAME(total)(VECTOR v)
{
    REAL lanes[LANES];
    NAME(store)(lanes, v);
    UNROLL
    for (int64_t half = LANES / 2; half; half /= 2)
        UNROLL
        for (int64_t l = 0; l < half; l++)
            lanes[l] += lanes[l + half];
    return lanes[0];
}

/* The larger values, those of `a` where they are equal or one is NaN. Chosen lane by lane, they would be one instruction
 * where GCC sees through the loop, and thirty where it does not. */
static inline VECTOR NAME(larger)(VECTOR a, VECTOR b)
{
    const NAME(mask) chosen = a < b;
    return (VECTOR)(((NAME(mask))b & chosen) | ((NAME(mask))a & ~chosen));
}

/* Four neighbouring values. */
typedef REAL NAME(quad) __attribute__((vector_size(4 * sizeof(REAL)), aligned(sizeof(REAL)), may_alias));

/* Turn four rows of four values into columns. */
static inline __attribute__((always_inline)) void NAME(turn_quads)(NAME(quad) row[4])
{
    const NAME(quad) ab01 = SHUFFLE(row[0], row[1], 0, 4, 1, 5), ab23 = SHUFFLE(row[0], row[1], 2, 6, 3, 7);
    const NAME(quad) cd01 = SHUFFLE(row[2], row[3], 0, 4, 1, 5), cd23 = SHUFFLE(row[2], row[3], 2, 6, 3, 7);
    row[0] = SHUFFLE(ab01, cd01, 0, 1, 4, 5);
    row[1] = SHUFFLE(ab01, cd01, 2, 3, 6, 7);
    row[2] = SHUFFLE(ab23, cd23, 0, 1, 4, 5);
    row[3] = SHUFFLE(ab23, cd23, 2, 3, 6, 7);
}

/* target[i][j] = source[j][i] for i, j < 4; rows are `from` and `to` apart. */
static inline __attribute__((always_inline)) void NAME(transpose)(const REAL *source, int64_t from, REAL *target,
                                                                  int64_t to)
{
    NAME(quad) row[4];
    UNROLL
    for (int i = 0; i < 4; i++)
        row[i] = *(const NAME(quad) *)(source + i * from);
    NAME(turn_quads)(row);
    UNROLL
    for (int i = 0; i < 4; i++)
        *(NAME(quad) *)(target + i * to) = row[i];
}

/* Values of 16 bytes, and how many of these are a vector. */
#define PIECE ((int64_t)(16 / sizeof(REAL)))
#define PIECES (SIMD_BYTES / 16)

typedef REAL NAME(piece) __attribute__((vector_size(16), aligned(sizeof(REAL)), may_alias));

/* Turn a square of PIECE by PIECE values in each 16 bytes of PIECE vectors. */
static inline __attribute__((always_inline)) void NAME(turn_pieces)(VECTOR row[])
{
    if (PIECE == 4) {
        const VECTOR even[] = {SHUFFLE(row[0], row[2], NAME(LOWER)), SHUFFLE(row[0], row[2], NAME(UPPER))};
        const VECTOR odd[] = {SHUFFLE(row[1], row[3], NAME(LOWER)), SHUFFLE(row[1], row[3], NAME(UPPER))};
        row[0] = SHUFFLE(even[0], odd[0], NAME(LOWER));
        row[1] = SHUFFLE(even[0], odd[0], NAME(UPPER));
        row[2] = SHUFFLE(even[1], odd[1], NAME(LOWER));
        row[3] = SHUFFLE(even[1], odd[1], NAME(UPPER));
    } else {
        const VECTOR first = row[0];
        row[0] = SHUFFLE(first, row[1], NAME(LOWER));
        row[1] = SHUFFLE(first, row[1], NAME(UPPER));
    }
}
