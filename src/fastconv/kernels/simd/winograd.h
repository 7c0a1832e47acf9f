/* Winograd's minimal filtering over blocks of output tiles, for kernels of dilation 1 and a stride s of 1 or 2.
 *
 *   Y = Aᵀ [ sum_c (G g_c Gᵀ) ⊙ (Bᵀ d_c B) ] A     d: t × t inputs, Y: m × m outputs, t = (m - 1) s + r
 *
 * Each axis has its own F(m, r); for a kernel extent of one it is F(1, 1), whose transforms do nothing. (Winograd,
 * Arithmetic complexity of computations, 1980; Lavin and Gray, Fast algorithms for convolutional networks, 2015.)
 *
 * A worker computes a block of tiles from the image to the output, with V and S in memory of its own, which stay in its
 * cache: first V of all channels, then S and the outputs of one panel of output channels after another.
 *
 * Filters whose outputs the transforms cannot represent are reported, for the caller to sum directly
 * (winograd_weight.h, winograd_outputs.h).
 */
static int64_t NAME(winograd_scratch)(const int64_t *ints)
{ return NAME(winograd_layout)((const Winograd *)ints, ROWS_IN | SUMS | TILES_BACK, 0).bytes; }

/* Tile: a block of output tiles and panels of channels of one group of one image. arrays: x, U or the filters, bias or
 * null, out, marks (bytes, by image and output channel) of what is to be summed plainly, Points of down and across,
 * scratch. scalars: the activation's parameter. */
static void NAME(winograd)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                           int64_t worker)
{
    const Winograd *a = (const Winograd *)ints;
    const int64_t blocks = a->down * a->across, channel_blocks = a->channel_blocks;
    const int64_t groups = a->groups, icg = a->icg, ocg = a->ocg, oc = groups * ocg, oh = a->oh, ow = a->ow;
    const NAME(extents) x = NAME(extents_of)(a);
    const int64_t taps = TAPS_OF(a->t_down, a->m_down, a->stride) * TAPS_OF(a->t_across, a->m_across, a->stride);
    const NAME(points) points[2] = {NAME(rounded)(arrays[5]), NAME(rounded)((const Points *)arrays[5] + 1)};
    const NAME(winograd_parts) own = NAME(winograd_layout)(
        a, ROWS_IN | SUMS | TILES_BACK, (char *)arrays[6] + worker * NAME(winograd_scratch)(ints));
    NAME(fill_shift)(a->kc, own.shift);
    for (int64_t tile = begin; tile < end; tile++) {
        const NAME(tile_block) b = NAME(block_of)(a, tile % blocks);
        const int64_t panel0 = tile / blocks % channel_blocks * a->block_panels;
        const int64_t panel1 = panel0 + a->block_panels < x.panels ? panel0 + a->block_panels : x.panels;
        const int64_t g = tile / (blocks * channel_blocks) % groups, n = tile / (blocks * channel_blocks) / groups;
        const REAL *image = (const REAL *)arrays[0] + n * a->xn + g * icg * a->xc;
        const int64_t y0 = b.row0 * a->m_down, x0 = b.col0 * a->m_across;
        const int64_t y1 = clip((b.row0 + b.rows) * a->m_down, 0, oh);
        const int64_t x1 = clip((b.col0 + b.cols) * a->m_across, 0, ow);
        for (int64_t k0 = 0; k0 < icg; k0 += a->kc) {
            const int64_t steps = icg - k0 < a->kc ? icg - k0 : a->kc;
            if (stops(arrays, worker))
                return;
            for (int64_t c = 0; c < steps; c += a->strip_channels)
                NAME(block_in)(points, a, &x, &b, image, k0, c,
                               steps - c < a->strip_channels ? steps - c : a->strip_channels, own.line, own.strip,
                               own.V);
        }
        for (int64_t panel = panel0; panel < panel1; panel++) {
            if (stops(arrays, worker))
                return;
            const NAME(weight_panel) p = NAME(panel_of)(a, &x, panel);
            const int64_t c = g * ocg + p.first;
            REAL *out = (REAL *)arrays[3] + (n * oc + c) * oh * ow;
            const REAL *U =
                (const REAL *)arrays[1] + g * x.group_u + x.points * NAME(panel_start)(panel, x.width, icg);
            if (a->transforms_weight) {
                NAME(weight_in_of)[a->axis][a->combined](arrays[5], (const REAL *)arrays[1] + c * icg * taps,
                                                         p.channels, icg, p.columns, own.panel_u,
                                                         (uint8_t *)arrays[4] + n * oc + c);
                U = own.panel_u;
            }
            for (int64_t e = 0; e < x.points; e++) {
                /* Prefetch the lines of the output, so that they are in the cache when they are written. */
                for (int64_t l = e * p.channels / x.points; l < (e + 1) * p.channels / x.points; l++)
                    for (int64_t y = y0; y < y1; y++)
                        for (int64_t at = x0; at < x1; at += LINE)
                            __builtin_prefetch(out + (l * oh + y) * ow + at, 1);
                NAME(point_sums)(a, &x, b.rows * b.cols, p.columns, e, own.V, U, own.shift, own.S);
            }
            NAME(panel_out)(points, a, &b, own.S, x.point_s, arrays[2] ? (const REAL *)arrays[2] + c : 0,
                            scalars[0], p.channels, own.buffer, out, (uint8_t *)arrays[4] + n * oc + c);
        }
    }
}
