/* Winograd's minimal filtering with vectors along channels: for groups, images with channels last, and dilations.
 *
 * Everything is as in winograd.h, but for where values lie. There, vectors of the input's transform run along
 * neighbouring tiles of a plane, and transformed inputs are packed for the micro-kernel of gemm.h. That pays if many
 * filters use them. Groups of a few channels spent most of their time on it, and on tiles of products that were half
 * empty. Here, what a block sees is laid out with channels last, as in indirect.h, whose register tiles sum the
 * products:
 *
 *   strip[line][column][channel]       PIXEL_CHANNELS at a time
 *   V[e][tile][channel]                transformed input
 *   U[panel of channels][e][c][channels], S[e][tile][channels of a panel]      as in winograd_blocks.h
 *
 * Strides are as in winograd_axis.h. A kernel with dilation d and stride 1 is d × d interleaved ones without: the
 * inputs of a tile are d pixels apart, and so are its outputs. Blocks have whole squares of d × d such tiles.
 */
#define WINOGRAD_PIXELS_ARGUMENTS(X)                                                                        \
    WINDOW_FIELDS(X)                                                                                        \
    X(t_down)            /* points of a tile down */                                                        \
    X(t_across)          /* points of a tile across */                                                      \
    X(m_down)            /* outputs of a tile down */                                                       \
    X(m_across)          /* outputs of a tile across */                                                     \
    X(axis)              /* number of the axis, in AXES */                                                  \
    X(combined)          /* 0: of both axes, 1: down alone, 2: across alone */                              \
    X(kc)                /* channels of a running sum */                                                    \
    X(tiles_down)        /* tiles of an image down, of a phase of the dilation */                           \
    X(tiles_across)      /* tiles of an image across, of a phase of the dilation */                         \
    X(block_rows)        /* rows of tiles of a block and a phase */                                         \
    X(block_cols)        /* columns of tiles of a block and a phase */                                      \
    X(down)              /* blocks of an image down */                                                      \
    X(across)            /* blocks of an image across */                                                    \
    X(block_panels)      /* panels of a block of output channels */                                         \
    X(channel_blocks)    /* blocks of output channels */                                                    \
    X(transforms_weight) /* whether filters are given, and each panel is transformed just before its use */ \
    X(activation)        /* code of the activation */                                                       \
    X(out_image)         /* values of the output from one image to the next */                              \
    X(out_plane)         /* values of the output from one channel to the next */                            \
    X(out_row)           /* values of the output from one row to the next */                                \
    X(out_position)      /* values of the output from one position to the next */
ARGUMENTS(WinogradPixels, WINOGRAD_PIXELS_ARGUMENTS);

/* Channels of a strip: a cache line of floats, whole vectors of any type. */
#define PIXEL_CHANNELS 16

/* Transform a tile of `channels` channels, whole vectors, whose inputs are `line` and `pixel` values apart. */
typedef void NAME(pixels_in)(const NAME(points) *points, const REAL *strip, int64_t line, int64_t pixel,
                             int64_t channels, REAL *V, int64_t point_v);

static inline __attribute__((always_inline)) void NAME(transform_pixels_in)(
    const int down, const int across, const int stride, const NAME(points) *points, const REAL *strip, int64_t line,
    int64_t pixel, int64_t channels, REAL *V, int64_t point_v)
{
    for (int64_t c = 0; c < channels; c += LANES) {
        VECTOR half[MAX_T * MAX_T];
        for (int j = 0; j < across; j++) {
            VECTOR d[MAX_T];
            UNROLL
            for (int i = 0; i < down; i++)
                d[i] = NAME(load)(strip + i * line + j * pixel + c);
            NAME(transform_in)(down, stride, points, d, 1, half + j, across);
        }
        for (int i = 0; i < down; i++) {
            VECTOR v[MAX_T];
            NAME(transform_in)(across, stride, points + 1, half + i * across, 1, v, 1);
            UNROLL
            for (int j = 0; j < across; j++)
                NAME(store)(V + (i * across + j) * point_v + c, v[j]);
        }
    }
}

#define PIXELS_IN(name, down, m_down, across, m_across, stride)                                                    \
    static void NAME(pixels_##name)(const NAME(points) *points, const REAL *strip, int64_t line, int64_t pixel,    \
                                    int64_t channels, REAL *V, int64_t point_v)                                    \
    { NAME(transform_pixels_in)(down, across, stride, points, strip, line, pixel, channels, V, point_v); }
#define PIXELS_IN_SHAPES(t, m, stride) SHAPES_OF_AXIS(PIXELS_IN, t, m, stride)
AXES(PIXELS_IN_SHAPES)
#define PIXELS_IN_ROW(t, m, stride) ROW_OF_AXIS(pixels, t, m),
static NAME(pixels_in) *const NAME(pixels_in_of)[][3] = {AXES(PIXELS_IN_ROW)};

typedef struct {
    REAL *panel_u;  /* of the panel that is transformed just before its use, if they are */
    REAL *strip;    /* (lines, pitch, PIXEL_CHANNELS) */
    REAL *V, *S;    /* as above */
    REAL *buffer;   /* the outputs of a tile that reaches past those of the image */
    REAL *outs;     /* the outputs of a block, for a panel */
    int64_t *at;    /* of each tile in V */
    int64_t *to;    /* of each tile in S */
    int64_t lines, pitch; /* of the strip, in pixels */
    int64_t depth;  /* channels of a group, whole vectors of them */
    int64_t point_v, point_s; /* values from one point to the next */
    int64_t bytes;
} NAME(pixels_parts);

static NAME(pixels_parts) NAME(pixels_layout)(const WinogradPixels *a, char *memory)
{
    Scratch s = {memory, 0};
    NAME(pixels_parts) parts;
    const int64_t icg = a->ic / a->g, points = a->t_down * a->t_across;
    const int64_t tiles = a->block_rows * a->dh * a->block_cols * a->dw;
    parts.lines = ((a->block_rows - 1) * a->m_down * a->sh + a->t_down) * a->dh;
    parts.pitch = ((a->block_cols - 1) * a->m_across * a->sw + a->t_across) * a->dw;
    parts.depth = NAME(ceil_div)(icg, LANES) * LANES;
    parts.point_v = parts.depth * tiles + POINT_GAP;
    parts.point_s = NR * tiles + POINT_GAP;
    parts.panel_u = take(&s, a->transforms_weight ? points * (icg * NR + POINT_GAP) * sizeof(REAL) : 0);
    parts.strip = take(&s, parts.lines * parts.pitch * PIXEL_CHANNELS * sizeof(REAL));
    parts.V = take(&s, points * parts.point_v * sizeof(REAL));
    parts.S = take(&s, points * parts.point_s * sizeof(REAL));
    parts.buffer = take(&s, a->m_down * a->m_across * SIMD_BYTES);
    parts.outs = take(&s, tiles * a->m_down * a->m_across * NR * sizeof(REAL));
    parts.at = take(&s, tiles * sizeof(int64_t));
    parts.to = take(&s, tiles * sizeof(int64_t));
    parts.bytes = s.bytes;
    return parts;
}

static int64_t NAME(pixels_scratch)(const int64_t *ints)
{ return NAME(pixels_layout)((const WinogradPixels *)ints, 0).bytes; }

/* Tile: a block of output tiles and panels of channels of one group of one image; the groups of the same positions
 * follow each other. arrays: x, U or the filters, bias or null, out, marks (bytes, by image and output channel) of what
 * is to be summed plainly, Points of down and across, scratch. scalars: the activation's parameter. */
static void NAME(winograd_pixels)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                                  int64_t worker)
{
    const WinogradPixels *a = (const WinogradPixels *)ints;
    NAME(pixels_in) *const in = NAME(pixels_in_of)[a->axis][a->combined];
    NAME(tile_out) *const transform = NAME(tile_out_of)[a->axis][a->combined];
    const int64_t icg = a->ic / a->g, ocg = a->oc / a->g, e_count = a->t_down * a->t_across;
    const int64_t width = NAME(ceil_div)(ocg, LANES) * LANES, high = a->m_down * a->dh, wide = a->m_across * a->dw;
    const int64_t taps = TAPS_OF(a->t_down, a->m_down, a->sh) * TAPS_OF(a->t_across, a->m_across, a->sw);
    const int64_t group_u = e_count * NAME(panel_start)(NAME(ceil_div)(width, NR), width, icg);
    const NAME(points) points[2] = {NAME(rounded)(arrays[5]), NAME(rounded)((const Points *)arrays[5] + 1)};
    const NAME(pixels_parts) own =
        NAME(pixels_layout)(a, (char *)arrays[6] + worker * NAME(pixels_scratch)(ints));
    const int64_t line = own.pitch * PIXEL_CHANNELS;
    for (int64_t p = 0; p < a->block_rows * a->dh * a->block_cols * a->dw; p++)
        own.at[p] = p * own.depth;
    int64_t last = -1;
    for (int64_t tile = begin; tile < end; tile++) {
        const int64_t g = tile % a->g, first_panel = tile / a->g % a->channel_blocks * a->block_panels;
        const int64_t block = tile / a->g / a->channel_blocks, n = block / (a->down * a->across);
        const int64_t row0 = block / a->across % a->down * a->block_rows, col0 = block % a->across * a->block_cols;
        const int64_t some_rows = a->tiles_down - row0 < a->block_rows ? a->tiles_down - row0 : a->block_rows;
        const int64_t some_cols = a->tiles_across - col0 < a->block_cols ? a->tiles_across - col0 : a->block_cols;
        const int64_t down = some_rows * a->dh, across = some_cols * a->dw, size = down * across;
        const int64_t top = row0 * high, left = col0 * wide;
        const int64_t rows = a->oh - top < some_rows * high ? a->oh - top : some_rows * high;
        const int64_t cols = a->ow - left < some_cols * wide ? a->ow - left : some_cols * wide;
        const REAL *image = (const REAL *)arrays[0] + n * a->xn + g * icg * a->xc;
        const int64_t y0 = top * a->sh - a->pt, x0 = left * a->sw - a->pl, skip = x0 < 0 ? -x0 : 0, from = x0 + skip;
        const int64_t past = x0 + own.pitch < a->iw ? x0 + own.pitch : a->iw;
        if (block % (a->down * a->across) != last)
            memset(own.strip, 0, own.lines * line * sizeof(REAL));
        last = block % (a->down * a->across);
        for (int64_t c = 0; c < icg; c += PIXEL_CHANNELS) {
            if (stops(arrays, worker))
                return;
            const int64_t channels = icg - c < PIXEL_CHANNELS ? icg - c : PIXEL_CHANNELS;
            for (int64_t l = 0; l < own.lines && from < past; l++) {
                const int64_t y = y0 + l;
                if (y >= 0 && y < a->ih)
                    NAME(lay_pixels)(image + c * a->xc + y * a->xh + from * a->xw, a->xc, a->xw, past - from, channels,
                                     channels * a->xc, PIXEL_CHANNELS, own.strip + l * line + skip * PIXEL_CHANNELS);
            }
            for (int64_t p = 0; p < size; p++) {
                const int64_t r = p / across, q = p % across;
                const int64_t y = r / a->dh * high + r % a->dh, x = q / a->dw * wide + q % a->dw;
                in(points, own.strip + y * a->sh * line + x * a->sw * PIXEL_CHANNELS, a->dh * line,
                   a->dw * PIXEL_CHANNELS, channels, own.V + p * own.depth + c, own.point_v);
            }
        }
        for (int64_t panel = first_panel; panel < first_panel + a->block_panels; panel++) {
            const int64_t first = NAME(panel_first)(panel, width);
            if (first >= ocg)
                break;
            if (stops(arrays, worker))
                return;
            const int64_t columns = NAME(tile_columns)(width - first), oc = g * ocg + first;
            const int64_t some = ocg - first < columns ? ocg - first : columns;
            for (int64_t p = 0; p < size; p++)
                own.to[p] = p * columns;
            REAL *out = (REAL *)arrays[3] + n * a->out_image + oc * a->out_plane + top * a->out_row +
                        left * a->out_position;
            const REAL *U = (const REAL *)arrays[1] + g * group_u + e_count * NAME(panel_start)(panel, width, icg);
            uint8_t *marks = (uint8_t *)arrays[4] + n * a->oc + oc;
            if (a->transforms_weight) {
                NAME(weight_in_of)[a->axis][a->combined](arrays[5], (const REAL *)arrays[1] + oc * icg * taps, some,
                                                         icg, columns, own.panel_u, marks);
                U = own.panel_u;
            }
            for (int64_t e = 0; e < e_count; e++)
                for (int64_t k0 = 0; k0 < icg; k0 += a->kc) {
                    const int64_t start = 0;
                    const REAL *filters = U + e * (icg * columns + POINT_GAP) + k0 * columns;
                    const int64_t length = icg - k0 < a->kc ? icg - k0 : a->kc;
                    const NAME(steps) s = {
                        .runs = 1,
                        .length = length,
                        .apart = 1,
                        .shift = &start,
                        .filters = filters,
                        .next = filters + length * columns,
                        .accumulate = k0 > 0,
                    };
                    NAME(sum_positions)(columns / LANES, &s, own.V + e * own.point_v + k0, own.at, own.to, size, size,
                                        own.S + e * own.point_s, 0, 0);
                }
            const int direct = !a->activation && a->out_plane == 1 && some == columns;
            REAL *to = direct ? out : own.outs;
            const int64_t to_row = direct ? a->out_row : cols * columns;
            const int64_t to_position = direct ? a->out_position : columns;
            for (int64_t c = 0; c < columns; c += LANES) {
                const int64_t lanes = some - c < LANES ? some - c : LANES;
                VECTOR offset = {0}, zeros = {0};
                if (arrays[2])
                    memcpy(&offset, (const REAL *)arrays[2] + oc + c, lanes * sizeof(REAL));
                for (int64_t p = 0; p < size; p++) {
                    const int64_t r = p / across, q = p % across;
                    const int64_t y = r / a->dh * high + r % a->dh, x = q / a->dw * wide + q % a->dw;
                    const int whole = y + high - a->dh < rows && x + wide - a->dw < cols;
                    REAL *target = to + y * to_row + x * to_position + c;
                    transform(points, own.S + p * columns + c, own.point_s, offset, whole ? target : own.buffer,
                                    whole ? a->dh * to_row : a->m_across * LANES, whole ? a->dw * to_position : LANES,
                                    &zeros);
                    for (int64_t i = 0; !whole && i < a->m_down && y + i * a->dh < rows; i++)
                        for (int64_t j = 0; j < a->m_across && x + j * a->dw < cols; j++)
                            NAME(store)(target + i * a->dh * to_row + j * a->dw * to_position,
                                        NAME(load)(own.buffer + (i * a->m_across + j) * LANES));
                }
                NAME(mark_nans)(zeros, lanes, marks + c);
            }
            if (direct)
                continue;
            if (a->activation)
                NAME(activate)(to, to, rows * cols * columns, 0, a->activation, scalars);
            const int64_t run = a->out_row == cols * a->out_position ? rows * cols : cols;
            for (int64_t p = 0; p < rows * cols; p += run, out += a->out_row)
                NAME(place)(to + p * columns, columns, run, some, out, a->out_plane, a->out_position);
        }
    }
}
