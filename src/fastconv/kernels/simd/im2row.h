/* Implicit im2row: a convolution as a matrix product whose rows are output positions, and whose columns are filters.
 *
 *   out[p, m] = epilogue(sum_k x[c, r * sh - pt + i * dh, q * sw - pl + j * dw] * weight[m, k]),  k = (i, j, c)
 *
 * implicit.h has it the other way around: its columns are positions, of which small maps have too few to fill tiles. A
 * position here is one row of MR, and positions follow each other across the images of a batch. Their values are packed
 * from the image, whatever its strides, once per block of kc steps; a panel of filters is in L1 while all of these rows
 * are multiplied with it. Sums are (p, m)-ordered like channels-last images; they are turned in registers on their way
 * to planes (turned in a pass of its own, the block took a tenth of the time).
 */
#define PACK_COLUMNS_ARGUMENTS(X)         \
    X(M)      /* filters of a group */    \
    X(C)      /* channels of a group */   \
    X(taps)   /* positions of a filter */ \
    X(kc)     /* steps of a block */      \
    X(panels) /* panels of a group */
ARGUMENTS(PackColumns, PACK_COLUMNS_ARGUMENTS);

/* Bytes of the packed filters of a group. */
static int64_t NAME(pack_columns_packed)(const int64_t *ints)
{
    const PackColumns *a = (const PackColumns *)ints;
    return a->C * a->taps * a->panels * NR * sizeof(REAL);
}

/* Pack `count` neighbouring values of `width` filters that are `apart`, of which `columns` exist: value k of each of them
 * at target + at[k]. Four filters at a time: more would compete for the same sets of L1 if `apart` is a power of two. */
static void NAME(pack_filters)(const REAL *source, int64_t apart, int64_t columns, int64_t width, int64_t count,
                               const int64_t *at, REAL *target)
{
    int64_t j = 0;
    for (; j + 4 <= columns; j += 4, source += 4 * apart) {
        int64_t k = 0;
        for (; k + 4 <= count; k += 4) {
            NAME(quad) row[4];
            UNROLL
            for (int i = 0; i < 4; i++)
                row[i] = *(const NAME(quad) *)(source + i * apart + k);
            NAME(turn_quads)(row);
            UNROLL
            for (int i = 0; i < 4; i++)
                *(NAME(quad) *)(target + at[k + i] + j) = row[i];
        }
        for (; k < count; k++)
            for (int i = 0; i < 4; i++)
                target[at[k] + j + i] = source[i * apart + k];
    }
    for (; j < width; j++, source += apart)
        for (int64_t k = 0; k < count; k++)
            target[at[k] + j] = j < columns ? source[k] : 0;
}

/* Pack filters (groups * M, C, taps) into blocks of kc steps k = (tap, c), each made of panels of NR filters. Filters
 * past M are zeros. Tile: one panel. arrays: weight, packed. */
static void NAME(pack_columns)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                               int64_t worker)
{
    enum { AT_ONCE = 256 };
    const PackColumns *a = (const PackColumns *)ints;
    const int64_t K = a->C * a->taps, panels = a->panels;
    for (int64_t tile = begin; tile < end; tile++) {
        const int64_t group = tile / panels, panel = tile % panels;
        const int64_t width = NAME(ceil_div)(a->M, LANES) * LANES;
        const int64_t start = NAME(panel_first)(panel, width), past = NAME(panel_first)(panel + 1, width);
        const int64_t columns = past < a->M ? past - start : a->M - start;
        const REAL *source = (const REAL *)arrays[0] + (group * a->M + start) * K;
        for (int64_t first = 0; first < K; first += AT_ONCE) {
            if (stops(arrays, worker))
                return;
            const int64_t count = K - first < AT_ONCE ? K - first : AT_ONCE;
            int64_t at[AT_ONCE];
            for (int64_t i = 0; i < count; i++) {
                const int64_t k = (first + i) % a->taps * a->C + (first + i) / a->taps, k0 = k / a->kc * a->kc;
                const int64_t steps = K - k0 < a->kc ? K - k0 : a->kc;
                at[i] = (k0 * panels + panel * steps + k - k0) * NR;
            }
            NAME(pack_filters)(source + first, K, columns, NR, count, at,
                               (REAL *)arrays[1] + group * K * panels * NR);
        }
    }
}

#define IM2ROW_ARGUMENTS(X)                                                    \
    WINDOW_FIELDS(X)                                                           \
    X(kc)             /* steps of a block of the reduction */                  \
    X(rows)           /* positions of a block: a multiple of MR, or all */     \
    X(blocks)         /* blocks of positions */                                \
    X(block_panels)   /* panels of a block of filters */                       \
    X(channel_blocks) /* blocks of filters */                                  \
    X(in_place)       /* whether filters are not packed; they have one tap */  \
    X(activation)     /* code of the activation */                             \
    X(out_image)      /* values of the output from one image to the next */    \
    X(out_plane)      /* values of the output from one channel to the next */  \
    X(out_position)   /* values of the output from one position to the next */
ARGUMENTS(Im2row, IM2ROW_ARGUMENTS);

/* Whether sums are added up in the output itself: it has channels last, and equal distances between all positions. */
static inline int NAME(im2row_direct)(const Im2row *a)
{
    const int64_t positions = a->oh * a->ow;
    return a->out_plane == 1 && (a->n == 1 || a->out_image == positions * a->out_position);
}

/* Whether there is one block of steps. */
static inline int NAME(im2row_at_once)(const Im2row *a)
{ return a->ic / a->g * a->kh * a->kw <= a->kc; }

typedef struct {
    REAL *packed; /* rows: groups of MR positions */
    REAL *sums;   /* position by position, of a panel if it has all steps, else of the block, unless they are added up
                   * in the output */
    REAL *panel;  /* of filters, if they are not packed before */
    int64_t *panel_shift; /* of the steps in `panel` */
    int64_t *shift;       /* of the steps in the image */
    int64_t bytes;
} NAME(im2row_parts);

static NAME(im2row_parts) NAME(im2row_layout)(const Im2row *a, char *memory)
{
    Scratch s = {memory, 0};
    NAME(im2row_parts) parts;
    const int64_t groups = (a->rows + MR - 1) / MR;
    const int64_t panels = NAME(im2row_at_once)(a) ? 1 : a->block_panels;
    parts.packed = take(&s, groups * MR * a->kc * sizeof(REAL));
    parts.sums = take(&s, NAME(im2row_direct)(a) ? 0 : groups * MR * panels * NR * sizeof(REAL));
    parts.panel = take(&s, a->in_place ? a->kc * NR * sizeof(REAL) : 0);
    parts.panel_shift = take(&s, a->kc * sizeof(int64_t));
    parts.shift = take(&s, a->kc * sizeof(int64_t));
    parts.bytes = s.bytes;
    return parts;
}

static int64_t NAME(im2row_scratch)(const int64_t *ints)
{ return NAME(im2row_layout)((const Im2row *)ints, 0).bytes; }

/* MR neighbouring values, as many as a step of packed rows has. */
typedef REAL NAME(step) __attribute__((vector_size(MR * sizeof(REAL)), aligned(sizeof(REAL)), may_alias));

/* Every second value from p on; nothing past the last of them is read. */
static inline NAME(step) NAME(evens)(const REAL *p)
{
    const NAME(step) first = *(const NAME(step) *)p, last = *(const NAME(step) *)(p + MR - 1);
#if MR == 4
    return SHUFFLE(first, last, 0, 2, 5, 7);
#else
    return SHUFFLE(first, last, 0, 2, 4, 6, 9, 11, 13, 15);
#endif
}

/* Pack `steps` channels of MR positions, where they are side by side: those at `from`, or zeros where that is null. If
 * `whole`, none of them is null: a test before every load cost layers with few filters up to a twentieth of their time. */
static inline __attribute__((always_inline)) void NAME(pack_channels_of)(const int whole, const REAL *const from[MR],
                                                                         int64_t steps, REAL *restrict target)
{
    int64_t c = 0;
    for (; c + 4 <= steps; c += 4)
        UNROLL
        for (int i = 0; i < MR; i += 4) {
            NAME(quad) row[4];
            UNROLL
            for (int j = 0; j < 4; j++)
                row[j] = whole || from[i + j] ? *(const NAME(quad) *)(from[i + j] + c) : (NAME(quad)){0};
            NAME(turn_quads)(row);
            UNROLL
            for (int j = 0; j < 4; j++)
                *(NAME(quad) *)(target + (c + j) * MR + i) = row[j];
        }
    for (; c < steps; c++)
        for (int i = 0; i < MR; i++)
            target[c * MR + i] = whole || from[i] ? from[i][c] : 0;
}

static void NAME(pack_channels)(const REAL *const from[MR], int64_t steps, REAL *target)
{
    int whole = 1;
    for (int i = 0; i < MR; i++)
        whole = whole && from[i];
    if (whole)
        NAME(pack_channels_of)(1, from, steps, target);
    else
        NAME(pack_channels_of)(0, from, steps, target);
}

/* Pack steps k0 to k1 of MR positions from p on, of which `count` exist: steps of MR values. `shift` says where a step
 * is, relative to the first one of its position. */
static void NAME(pack_rows)(const Window *w, const REAL *x, int64_t p, int64_t count, int64_t k0, int64_t k1,
                            const int64_t *shift, REAL *target)
{
    const int64_t icg = w->ic / w->g, positions = w->oh * w->ow, steps = k1 - k0;
    const REAL *first[MR];
    int64_t top[MR], left[MR];
    int whole = count == MR, apart = whole;
    for (int64_t i = 0; i < count; i++) {
        const int64_t at = (p + i) % positions, r = at / w->ow;
        top[i] = r * w->sh - w->pt;
        left[i] = (at - r * w->ow) * w->sw - w->pl;
        first[i] = x + (p + i) / positions * w->xn + top[i] * w->xh + left[i] * w->xw;
        whole = whole && top[i] >= 0 && left[i] >= 0 && top[i] + (w->kh - 1) * w->dh < w->ih &&
                left[i] + (w->kw - 1) * w->dw < w->iw;
        apart = apart && first[i] == first[0] + i * w->sw * w->xw;
    }
    if (whole && w->xc != 1) {
        const int64_t distance = apart ? w->sw * w->xw : 0;
        if (distance == 1)
            for (int64_t k = 0; k < steps; k++)
                *(NAME(step) *)(target + k * MR) = *(const NAME(step) *)(first[0] + shift[k]);
        else if (distance == 2)
            for (int64_t k = 0; k < steps; k++)
                *(NAME(step) *)(target + k * MR) = NAME(evens)(first[0] + shift[k]);
        else
            for (int64_t k = 0; k < steps; k++)
                for (int i = 0; i < MR; i++)
                    target[k * MR + i] = first[i][shift[k]];
        return;
    }
    for (int64_t k = k0; k < k1;) {
        const int64_t tap = k / icg, c0 = k % icg, c1 = icg - c0 < k1 - k ? icg : c0 + k1 - k;
        const int64_t down = tap / w->kw * w->dh, across = tap % w->kw * w->dw;
        const REAL *from[MR];
        for (int64_t i = 0; i < MR; i++) {
            const int inside = i < count && top[i] + down >= 0 && top[i] + down < w->ih && left[i] + across >= 0 &&
                               left[i] + across < w->iw;
            from[i] = inside ? first[i] + shift[k - k0] : 0;
        }
        if (w->xc == 1)
            NAME(pack_channels)(from, c1 - c0, target);
        else
            for (int64_t i = 0; i < MR; i++)
                for (int64_t c = 0; c < c1 - c0; c++)
                    target[c * MR + i] = from[i] ? from[i][c * w->xc] : 0;
        target += (c1 - c0) * MR;
        k += c1 - c0;
    }
}

/* Rows of the next tile if `left` remain: three and two rather than four and one, which would wait for its
 * multiply-adds. */
static inline int64_t NAME(tile_rows)(int64_t left)
{ return left == MR + 1 ? MR - 1 : left < MR ? left : MR; }

/* Write the sums of `count` positions from p on, ld apart, to channels m0 to m1 - 1 of planes, and activate them. */
static void NAME(place_rows)(const Im2row *a, const REAL *sums, int64_t ld, int64_t p, int64_t count, int64_t m0,
                             int64_t m1, REAL *out, const REAL *bias, double parameter)
{
    const int64_t positions = a->oh * a->ow;
    for (int64_t i = 0, run; i < count; i += run) {
        const int64_t image = (p + i) / positions, at = (p + i) % positions;
        run = positions - at < count - i ? positions - at : count - i;
        REAL *target = out + image * a->out_image + m0 * a->out_plane + at * a->out_position;
        NAME(turn_rows)(sums + i * ld, ld, run, m1 - m0, target, a->out_plane);
        for (int64_t m = m0; m < m1; m++)
            NAME(epilogue)(target + (m - m0) * a->out_plane, run, bias, m, a->activation, parameter);
    }
}

/* The sums of a block of positions with one panel of filters: rows `ld` apart, added to those that are there if
 * `accumulate`. If `planes` is not null, the last of them go there, `plane` apart from filter to filter. Meanwhile the
 * next panel, if there is one, is fetched into L2: the hardware does not see it coming. */
static __attribute__((noinline)) void NAME(multiply_rows)(int64_t rows, int64_t columns, int64_t filters, int64_t steps,
                                                          const REAL *packed, const REAL *right, REAL *sums,
                                                          int64_t ld, int accumulate, REAL *planes, int64_t plane,
                                                          const REAL *next)
{
    const int64_t line = CACHE_LINE / (int64_t)sizeof(REAL);
    int64_t fetched = next ? 0 : steps * NR;
    for (int64_t i = 0, some; i < rows; i += some, packed += steps * MR) {
        some = NAME(tile_rows)(rows - i);
        for (; fetched * rows < (i + some) * steps * NR; fetched += line)
            __builtin_prefetch(next + fetched, 0, 2);
        if (planes)
            NAME(turned_tiles)[some - 1][(columns - 1) / LANES](filters, steps, packed, right, 0,
                                                                accumulate ? sums + i * ld : 0, ld, planes + i, plane);
        else
            NAME(gemm_tile)(some, columns, steps, packed, right, 0, sums + i * ld, ld, accumulate, 0);
    }
}

/* Tile: a block of positions, of all images, for a block of filters of a group. arrays: x, packed weight
 * (pack_columns), bias or null, out, scratch. scalars: the activation's parameter. A weight `in_place` is packed panel
 * by panel into L1, in every tile: for few positions, writing all of it and reading it again would take longer. */
static void NAME(im2row)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                         int64_t worker)
{
    const Im2row *a = (const Im2row *)ints;
    const Window *w = (const Window *)ints;
    const int64_t icg = w->ic / w->g, ocg = w->oc / w->g, K = icg * w->kh * w->kw, kc = a->kc;
    const int64_t panels = (ocg + NR - 1) / NR, width = NAME(ceil_div)(ocg, LANES) * LANES;
    const int64_t positions = w->oh * w->ow, direct = NAME(im2row_direct)(a);
    const int64_t at_once = NAME(im2row_at_once)(a);
    const int64_t ld = direct ? a->out_position : at_once ? NR : a->block_panels * NR;
    const NAME(im2row_parts) own = NAME(im2row_layout)(a, (char *)arrays[4] + worker * NAME(im2row_scratch)(ints));
    for (int64_t k = 0; k < kc; k++)
        own.panel_shift[k] = k * NR;
    for (int64_t tile = begin; tile < end; tile++) {
        const int64_t p0 = tile % a->blocks * a->rows, rest = w->n * positions - p0;
        const int64_t rows = rest < a->rows ? rest : a->rows;
        const int64_t panel0 = tile / a->blocks % a->channel_blocks * a->block_panels;
        const int64_t panel1 = panel0 + a->block_panels < panels ? panel0 + a->block_panels : panels;
        const int64_t g = tile / (a->blocks * a->channel_blocks);
        const int64_t m0 = NAME(panel_first)(panel0, width), past = NAME(panel_first)(panel1, width);
        const int64_t m1 = past < ocg ? past : ocg;
        const REAL *x = (const REAL *)arrays[0] + g * icg * w->xc;
        const REAL *bias = arrays[2] ? (const REAL *)arrays[2] + g * ocg : 0;
        REAL *out = (REAL *)arrays[3] + g * ocg * a->out_plane;
        REAL *sums = direct ? out + p0 * ld + m0 : own.sums;
        const int64_t in_planes = !direct && a->out_position == 1 && p0 / positions == (p0 + rows - 1) / positions;
        for (int64_t k0 = 0; k0 < K; k0 += kc) {
            const int64_t k1 = k0 + kc < K ? k0 + kc : K, steps = k1 - k0;
            for (int64_t k = k0; k < k1; k++) {
                const int64_t tap = k / icg;
                own.shift[k - k0] = k % icg * w->xc + tap / w->kw * w->dh * w->xh + tap % w->kw * w->dw * w->xw;
            }
            for (int64_t i = 0, group = 0, some; i < rows; i += some, group++) {
                some = NAME(tile_rows)(rows - i);
                NAME(pack_rows)(w, x, p0 + i, some, k0, k1, own.shift, own.packed + group * steps * MR);
            }
            const REAL *block = (const REAL *)arrays[1] + (g * K + k0) * panels * NR;
            for (int64_t panel = panel0; panel < panel1; panel++) {
                if (stops(arrays, worker))
                    return;
                const int64_t start = NAME(panel_first)(panel, width);
                const int64_t width_of_panel = NAME(panel_first)(panel + 1, width) - start;
                const int64_t filters = width_of_panel < ocg - start ? width_of_panel : ocg - start;
                const int64_t columns = direct ? filters : width_of_panel; /* sums have room for whole vectors */
                const REAL *right = block + panel * steps * NR;
                if (a->in_place) {
                    const REAL *source = (const REAL *)arrays[1] + (g * ocg + start) * K + k0;
                    NAME(pack_filters)(source, K, filters, NR, steps, own.panel_shift, own.panel);
                    right = own.panel;
                }
                REAL *target = sums + (at_once && !direct ? 0 : start - m0);
                REAL *planes = k1 == K && in_planes ?
                    out + p0 / positions * a->out_image + start * a->out_plane + p0 % positions : 0;
                NAME(multiply_rows)(rows, columns, filters, steps, own.packed, right, target, ld, k0 > 0, planes,
                                    a->out_plane, a->in_place ? 0 : right + steps * NR);
                if (planes)
                    for (int64_t m = 0; m < filters; m++)
                        NAME(epilogue)(planes + m * a->out_plane, rows, bias, start + m, a->activation, scalars[0]);
                else if (k1 == K && !direct)
                    NAME(place_rows)(a, target, ld, p0, rows, start, start + filters, out, bias, scalars[0]);
            }
        }
        for (int64_t i = 0; i < rows && direct && (bias || a->activation); i++) {
            for (int64_t m = 0; m < m1 - m0 && bias; m++)
                sums[i * ld + m] += bias[m0 + m];
            NAME(epilogue)(sums + i * ld, m1 - m0, 0, 0, a->activation, scalars[0]);
        }
    }
}
