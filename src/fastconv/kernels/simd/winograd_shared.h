/* Winograd's blocks for more threads than there are blocks: three launches share V and S of a whole image.
 *
 *   winograd_in     V, by channels and blocks
 *   winograd_sums   S, by panels of output channels, points and blocks
 *   winograd_out    the outputs, by vectors of output channels and blocks
 *
 * Blocks of fewer tiles would read all weights more often, and blocks of fewer panels transform the image again. The
 * sums have the same order as in winograd.h, and so the same bits.
 */
static int64_t NAME(winograd_in_scratch)(const int64_t *ints)
{ return NAME(winograd_layout)((const Winograd *)ints, ROWS_IN, 0).bytes; }
static int64_t NAME(winograd_sums_scratch)(const int64_t *ints)
{ return NAME(winograd_layout)((const Winograd *)ints, SUMS, 0).bytes; }
static int64_t NAME(winograd_out_scratch)(const int64_t *ints)
{ return NAME(winograd_layout)((const Winograd *)ints, TILES_BACK, 0).bytes; }

/* The bytes of a group's V and S of an image. */
static int64_t NAME(winograd_in_packed)(const int64_t *ints)
{
    const Winograd *a = (const Winograd *)ints;
    return a->down * a->across * NAME(extents_of)(a).block_v * sizeof(REAL);
}
static int64_t NAME(winograd_sums_packed)(const int64_t *ints)
{
    const Winograd *a = (const Winograd *)ints;
    const NAME(extents) x = NAME(extents_of)(a);
    return a->down * a->across * x.panels * x.block_s * sizeof(REAL);
}

/* V of one image. Tile: some channels of a block of output tiles of one group. arrays: x, V, Points of down and across,
 * scratch. */
static void NAME(winograd_in)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                              int64_t worker)
{
    const Winograd *a = (const Winograd *)ints;
    const int64_t blocks = a->down * a->across, icg = a->icg;
    const int64_t strips = NAME(ceil_div)(a->kc, a->strip_channels), parts = NAME(ceil_div)(icg, a->kc) * strips;
    const NAME(extents) x = NAME(extents_of)(a);
    const NAME(points) points[2] = {NAME(rounded)(arrays[2]), NAME(rounded)((const Points *)arrays[2] + 1)};
    const NAME(winograd_parts) own =
        NAME(winograd_layout)(a, ROWS_IN, (char *)arrays[3] + worker * NAME(winograd_in_scratch)(ints));
    for (int64_t tile = begin; tile < end && !stops(arrays, worker); tile++) {
        const NAME(tile_block) b = NAME(block_of)(a, tile % blocks);
        const int64_t part = tile / blocks % parts, g = tile / blocks / parts;
        const int64_t k0 = part / strips * a->kc, c = part % strips * a->strip_channels;
        const int64_t steps = icg - k0 < a->kc ? icg - k0 : a->kc;
        if (c < steps)
            NAME(block_in)(points, a, &x, &b,
                           (const REAL *)arrays[0] + g * icg * a->xc, k0, c,
                           steps - c < a->strip_channels ? steps - c : a->strip_channels, own.line, own.strip,
                           (REAL *)arrays[1] + (g * blocks + tile % blocks) * x.block_v);
    }
}

/* S of one image. Tile: some points of a panel and of a block of output tiles of one group; threads that compute
 * neighbouring tiles read the same U. arrays: V, U, S, scratch. */
static void NAME(winograd_sums)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                                int64_t worker)
{
    const Winograd *a = (const Winograd *)ints;
    const NAME(extents) x = NAME(extents_of)(a);
    const int64_t blocks = a->down * a->across, parts = NAME(ceil_div)(x.points, a->block_points);
    const NAME(winograd_parts) own =
        NAME(winograd_layout)(a, SUMS, (char *)arrays[3] + worker * NAME(winograd_sums_scratch)(ints));
    NAME(fill_shift)(a->kc, own.shift);
    for (int64_t tile = begin; tile < end && !stops(arrays, worker); tile++) {
        const NAME(tile_block) b = NAME(block_of)(a, tile % blocks);
        const int64_t part = tile / blocks % parts, panel = tile / (blocks * parts) % x.panels;
        const int64_t g = tile / (blocks * parts) / x.panels, at = g * blocks + tile % blocks;
        const int64_t e0 = part * a->block_points;
        const int64_t e1 = e0 + a->block_points < x.points ? e0 + a->block_points : x.points;
        const NAME(weight_panel) p = NAME(panel_of)(a, &x, panel);
        const REAL *U =
            (const REAL *)arrays[1] + g * x.group_u + x.points * NAME(panel_start)(panel, x.width, a->icg);
        for (int64_t e = e0; e < e1; e++)
            NAME(point_sums)(a, &x, b.rows * b.cols, p.columns, e, (const REAL *)arrays[0] + at * x.block_v, U,
                             own.shift, (REAL *)arrays[2] + (at * x.panels + panel) * x.block_s);
    }
}

/* The output of one image. Tile: a vector of channels and a block of output tiles of one group. arrays: S, bias or
 * null, out, marks (bytes, by output channel), Points of down and across, scratch. scalars: the activation's
 * parameter. */
static void NAME(winograd_out)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                               int64_t worker)
{
    const Winograd *a = (const Winograd *)ints;
    const NAME(extents) x = NAME(extents_of)(a);
    const int64_t blocks = a->down * a->across, vectors = x.width / LANES;
    const NAME(points) points[2] = {NAME(rounded)(arrays[4]), NAME(rounded)((const Points *)arrays[4] + 1)};
    const NAME(winograd_parts) own =
        NAME(winograd_layout)(a, TILES_BACK, (char *)arrays[5] + worker * NAME(winograd_out_scratch)(ints));
    for (int64_t tile = begin; tile < end && !stops(arrays, worker); tile++) {
        const NAME(tile_block) b = NAME(block_of)(a, tile % blocks);
        const int64_t first = tile / blocks % vectors * LANES, g = tile / blocks / vectors;
        const int64_t at = g * blocks + tile % blocks, c = g * a->ocg + first;
        const int64_t panel = first / NR + (first >= NAME(panel_first)(first / NR + 1, x.width));
        const REAL *S = (const REAL *)arrays[0] + (at * x.panels + panel) * x.block_s;
        NAME(panel_out)(points, a, &b,
                        S + first - NAME(panel_first)(panel, x.width), x.point_s,
                        arrays[1] ? (const REAL *)arrays[1] + c : 0, scalars[0],
                        a->ocg - first < LANES ? a->ocg - first : LANES, own.buffer,
                        (REAL *)arrays[2] + c * a->oh * a->ow, (uint8_t *)arrays[3] + c);
    }
}
