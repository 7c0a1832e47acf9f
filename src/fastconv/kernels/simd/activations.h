/* Activations on their own, and what scales values channel by channel. */

#define ACTIVATION_ARGUMENTS(X)           \
    X(values)      /* number of values */ \
    X(tile_values) /* values of a tile */ \
    X(activation)  /* code of the activation */
ARGUMENTS(Activation, ACTIVATION_ARGUMENTS);

/* Tile: neighbouring values, fewer in the last one. arrays: input and output, which may be the same. scalars: the
 * activation's parameters. */
static void NAME(activation)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                             int64_t worker)
{
    const Activation *a = (const Activation *)ints;
    const int64_t first = begin * a->tile_values, past = end * a->tile_values;
    const int64_t count = (past < a->values ? past : a->values) - first;
    NAME(activate)((const REAL *)arrays[0] + first, (REAL *)arrays[1] + first, count, 0, a->activation, scalars);
}

/* y = activation(a + b). Tile: as `activation`. arrays: the two terms, and the output, which may be either of them. */
static void NAME(add)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                      int64_t worker)
{
    const Activation *s = (const Activation *)ints;
    for (int64_t tile = begin; tile < end; tile++) {
        const int64_t first = tile * s->tile_values, rest = s->values - first;
        const int64_t count = rest < s->tile_values ? rest : s->tile_values;
        const REAL *a = (const REAL *)arrays[0] + first, *b = (const REAL *)arrays[1] + first;
        REAL *y = (REAL *)arrays[2] + first;
        INDEPENDENT
        for (int64_t i = 0; i < count; i++)
            y[i] = a[i] + b[i];
        if (s->activation)
            NAME(activate)(y, y, count, 0, s->activation, scalars);
    }
}

#define CHANNELS_ARGUMENTS(X)                          \
    X(inner)    /* values of a plane of one channel */ \
    X(channels) /* channels */                         \
    X(part)     /* values of a tile */
ARGUMENTS(Channels, CHANNELS_ARGUMENTS);

/* y = (x - centre) * scale + shift, or without a shift x < 0 ? scale * x : x, with constants per channel. Tile: up to
 * `part` values of a plane of one channel; if planes are single values, all channels or up to `part` of them.
 * arrays: input and output, which may be the same; scale, shift or null, centre. */
static void NAME(channels)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                           int64_t worker)
{
    const Channels *a = (const Channels *)ints;
    const int64_t inner = a->inner, channels = a->channels, part = a->part, size = inner == 1 ? channels : inner;
    const int64_t parts = (size + part - 1) / part;
    const REAL *scale = arrays[2], *shift = arrays[3], *centre = arrays[4];
    for (int64_t tile = begin; tile < end; tile++) {
        const int64_t first = tile % parts * part, line = tile / parts, count = size - first < part ? size - first : part;
        const REAL *x = (const REAL *)arrays[0] + line * size + first;
        REAL *y = (REAL *)arrays[1] + line * size + first;
        if (inner == 1 && shift) {
            const REAL *a = scale + first, *b = shift + first, *middle = centre + first;
            INDEPENDENT
            for (int64_t i = 0; i < count; i++)
                y[i] = (x[i] - middle[i]) * a[i] + b[i];
        } else if (inner == 1) {
            const REAL *a = scale + first;
            INDEPENDENT
            for (int64_t i = 0; i < count; i++)
                y[i] = x[i] < 0 ? a[i] * x[i] : x[i];
        } else if (shift) {
            const int64_t c = line % channels;
            const REAL a = scale[c], b = shift[c], middle = centre[c];
            INDEPENDENT
            for (int64_t i = 0; i < count; i++)
                y[i] = (x[i] - middle) * a + b;
        } else {
            const REAL a = scale[line % channels];
            INDEPENDENT
            for (int64_t i = 0; i < count; i++)
                y[i] = x[i] < 0 ? a * x[i] : x[i];
        }
    }
}
