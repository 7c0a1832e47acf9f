/* Continuing an axis past its ends. */
static inline int64_t clip(int64_t value, int64_t low, int64_t high)
{
    return value < low ? low : value > high ? high : value;
}

/* The index at which position `at` of an axis of `extent` samples is read; -1 for the fill value. Positions past the
 * edges are looked up in a map: first the `pad` positions before the axis, then those after it. */
static inline int64_t source_of(int64_t at, int64_t extent, int64_t pad, const int64_t *map)
{
    return at < 0 ? map[pad + at] : at < extent ? at : map[pad + at - extent];
}

/* The first position from t on that is outside `first` to `last`. */
static inline int64_t edge(int64_t t, int64_t first, int64_t last) { return t == first ? last : t; }
