/* The outputs of Winograd's tiles, Y = Aᵀ S A + bias, with vectors along channels.
 *
 *   S[e][tile][NR channels]     the sums over the input channels, for one panel of output channels
 *
 * A NaN or an infinity in the inputs of a tile reaches at least one of its outputs, since every input contributes to a
 * v, every v to a sum, and every sum to an output; so does anything that overflows on the way. The channels of such
 * outputs are marked, for the caller to sum directly.
 */
/* Compute the outputs of one tile for LANES channels, (i, j) at out + i * row + j * position.
 * `zeros` becomes NaN for channels with an output that is not finite. */
typedef void NAME(tile_out)(const NAME(points) *points, const REAL *S, int64_t point_s, VECTOR bias, REAL *out,
                            int64_t row, int64_t position, VECTOR *zeros);

static inline __attribute__((always_inline)) void NAME(transform_tile_out)(
    const int down, const int m_down, const int across, const int m_across, const int stride,
    const NAME(points) *points, const REAL *S, int64_t point_s, VECTOR bias, REAL *out, int64_t row, int64_t position,
    VECTOR *zeros)
{
    VECTOR half[MAX_T * MAX_T];
    for (int j = 0; j < across; j++) {
        VECTOR s[MAX_T];
        UNROLL
        for (int i = 0; i < down; i++)
            s[i] = NAME(load)(S + (i * across + j) * point_s);
        NAME(transform_out)(down, m_down, stride, points, s, 1, half + j, across);
    }
    for (int i = 0; i < m_down; i++) {
        VECTOR y[MAX_T];
        NAME(transform_out)(across, m_across, stride, points + 1, half + i * across, 1, y, 1);
        VECTOR sum = y[0];
        UNROLL
        for (int j = 1; j < m_across; j++)
            sum += y[j];
        *zeros += sum * 0;
        UNROLL
        for (int j = 0; j < m_across; j++)
            NAME(store)(out + i * row + j * position, y[j] + bias);
    }
}

/* Mark those of the first `channels` lanes that are NaN. */
static inline void NAME(mark_nans)(VECTOR v, int64_t channels, uint8_t *marks)
{
    REAL lanes[LANES];
    NAME(store)(lanes, v);
    for (int64_t l = 0; l < channels; l++)
        if (lanes[l] != lanes[l])
            marks[l] = 1;
}

/* Write a row of outputs, from vectors along channels to the planes of the first `channels` of them. */
static inline void NAME(transpose_row)(const REAL *source, int64_t columns, int64_t channels, REAL *target,
                                       int64_t plane)
{
    const int64_t quads = columns / 4 * 4;
    int64_t l = 0;
    for (; l + 4 <= channels; l += 4) {
        for (int64_t j = 0; j < quads; j += 4)
            NAME(transpose)(source + j * LANES + l, LANES, target + l * plane + j, plane);
        for (int64_t j = quads; j < columns; j++)
            UNROLL
            for (int i = 0; i < 4; i++)
                target[(l + i) * plane + j] = source[j * LANES + l + i];
    }
    for (; l < channels; l++)
        for (int64_t j = 0; j < columns; j++)
            target[l * plane + j] = source[j * LANES + l];
}

#define TILE_OUT(name, down, m_down, across, m_across, stride)                                                       \
    static void NAME(out_##name)(const NAME(points) *points, const REAL *S, int64_t point_s, VECTOR bias, REAL *out, \
                                 int64_t row, int64_t position, VECTOR *zeros)                                       \
    {                                                                                                                \
        NAME(transform_tile_out)(down, m_down, across, m_across, stride, points, S, point_s, bias, out, row,         \
                                 position, zeros);                                                                   \
    }
#define TILE_OUT_SHAPES(t, m, stride) SHAPES_OF_AXIS(TILE_OUT, t, m, stride)
AXES(TILE_OUT_SHAPES)
#define TILE_OUT_ROW(t, m, stride) ROW_OF_AXIS(out, t, m),
static NAME(tile_out) *const NAME(tile_out_of)[][3] = {AXES(TILE_OUT_ROW)};
