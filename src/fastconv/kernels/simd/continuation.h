/* Places along an axis. */
static inline int64_t clip(int64_t value, int64_t low, int64_t high)
{
    return value < low ? low : value > high ? high : value;
}

/* Where position `at` of an axis of `extent` samples is read; -1: nowhere. Positions past the edges are looked up in a
 * map, `pad` of them before the axis and then those after it. */
static inline int64_t source_of(int64_t at, int64_t extent, int64_t pad, const int64_t *map)
{
    return at < 0 ? map[pad + at] : at < extent ? at : map[pad + at - extent];
}
