/* The value of one rank in large windows of any shape, from a histogram that slides along rows.
 *
 * The values that a tile sees are sorted: each is replaced by its place among those that differ. From one output to the
 * next, one value leaves and one enters for each run of a row of the window. How many of them lie below a block of
 * places is kept up to date; from there, the block and the place of the rank are not far (Huang, Yang and Tang, A fast
 * two-dimensional median filtering algorithm, 1979). Included once for each type T of values.
 */

/* Unsigned integers in the order of the values, NaN last. */
static inline KEY NAME(key)(T value)
{
    const KEY sign = (KEY)1 << (8 * sizeof(T) - 1), all = sign | (sign - 1);
    const T same = value;
    KEY bits = 0;
    if (FLOATING && same != value)
        return all;
    memcpy(&bits, &value, sizeof(T));
    return FLOATING ? (bits & sign ? ~bits & all : bits | sign) : (T)-1 < (T)1 ? bits ^ sign : bits;
}

typedef struct {
    T *value;               /* what the tile sees, then what lies at each place */
    KEY *key[2];            /* sorted by one byte from one to the other */
    int32_t *order[2];      /* the positions of keys */
    int32_t *place;         /* of each position's value */
    int32_t *count, *block; /* values of the window at each place, and in each block of places */
    int64_t bytes;
} NAME(sliding_parts);

static void NAME(lay_out_sliding)(const Sliding *a, char *memory, NAME(sliding_parts) *parts)
{
    Scratch s = {memory, 0};
    const int64_t seen = (a->row_tile + a->kh - 1) * (a->col_tile + a->kw - 1);
    parts->value = take(&s, 2 * seen * sizeof(T));
    for (int i = 0; i < 2; i++) {
        parts->key[i] = take(&s, seen * sizeof(KEY));
        parts->order[i] = take(&s, seen * sizeof(int32_t));
    }
    parts->place = take(&s, seen * sizeof(int32_t));
    parts->count = take(&s, (seen + PLACES) * sizeof(int32_t));
    parts->block = take(&s, (seen / PLACES + 2) * sizeof(int32_t));
    parts->bytes = s.bytes;
}

static int64_t NAME(sliding_scratch)(const int64_t *ints)
{
    NAME(sliding_parts) parts;
    NAME(lay_out_sliding)((const Sliding *)ints, 0, &parts);
    return parts.bytes;
}

/* Find the place of each of `seen` values and the value at each place. */
static void NAME(sort_tile)(NAME(sliding_parts) *own, int64_t seen)
{
    int now = 0;
    for (int64_t i = 0; i < seen; i++) {
        own->key[0][i] = NAME(key)(own->value[i]);
        own->order[0][i] = i;
    }
    for (int shift = 0; shift < 8 * (int)sizeof(T); shift += 8) {
        int32_t begins[257] = {0};
        const KEY *key = own->key[now];
        for (int64_t i = 0; i < seen; i++)
            begins[(key[i] >> shift & 255) + 1]++;
        if (begins[(key[0] >> shift & 255) + 1] == seen)
            continue;
        for (int i = 0; i < 256; i++)
            begins[i + 1] += begins[i];
        for (int64_t i = 0; i < seen; i++) {
            const int32_t to = begins[key[i] >> shift & 255]++;
            own->key[!now][to] = key[i];
            own->order[!now][to] = own->order[now][i];
        }
        now = !now;
    }
    T *at_place = own->value + seen;
    int32_t place = -1;
    for (int64_t i = 0; i < seen; i++) {
        const int32_t position = own->order[now][i];
        if (!i || own->key[now][i] != own->key[now][i - 1])
            at_place[++place] = own->value[position];
        own->place[position] = place;
    }
}

/* Tile: rows and columns of a plane. arrays: x, out, the value that lies where maps say -1, whole maps of rows and of
 * columns, the runs of the window, each a row, a column and the column after its last, and scratch. */
static void NAME(sliding)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                          int64_t worker)
{
    const Sliding *a = (const Sliding *)ints;
    const int64_t ih = a->ih, iw = a->iw, rank = a->rank, runs = a->runs;
    const int64_t *row_map = arrays[3], *col_map = arrays[4], *run = arrays[5];
    const T fill = *(const T *)arrays[2];
    NAME(sliding_parts) own;
    NAME(lay_out_sliding)(a, (char *)arrays[6] + worker * NAME(sliding_scratch)(ints), &own);
    (void)scalars;
    for (int64_t tile = begin; tile < end; tile++) {
        const int64_t col0 = tile % a->across * a->col_tile, row0 = tile / a->across % a->down * a->row_tile;
        const int64_t n = tile / (a->across * a->down);
        const int64_t rows = ih - row0 < a->row_tile ? ih - row0 : a->row_tile;
        const int64_t cols = iw - col0 < a->col_tile ? iw - col0 : a->col_tile, wide = cols + a->kw - 1;
        const int64_t seen = (rows + a->kh - 1) * wide;
        const T *x = (const T *)arrays[0] + n * ih * iw;
        for (int64_t r = 0; r < rows + a->kh - 1; r++) {
            const int64_t row = row_map[row0 + r];
            for (int64_t t = 0; t < wide; t++) {
                const int64_t col = col_map[col0 + t];
                own.value[r * wide + t] = row < 0 || col < 0 ? fill : x[row * iw + col];
            }
        }
        NAME(sort_tile)(&own, seen);
        const T *at_place = own.value + seen;
        int32_t *const count = own.count, *const block = own.block;
        memset(count, 0, (seen + PLACES) * sizeof(int32_t));
        memset(block, 0, (seen / PLACES + 2) * sizeof(int32_t));
        for (int64_t r = 0; r < rows; r++) {
            if (stops(arrays, worker))
                return;
            T *target = (T *)arrays[1] + (n * ih + row0 + r) * iw + col0;
            const int32_t *const place = own.place + r * wide;
            int64_t here = 0, below = 0; /* a block, and the values of the window in those below */
            for (int64_t i = 0; i < runs; i++)
                for (int64_t t = run[3 * i + 1]; t < run[3 * i + 2]; t++) {
                    const int32_t at = place[run[3 * i] * wide + t];
                    count[at]++, block[at / PLACES]++;
                }
            for (int64_t t = 0;; t++) {
                while (below > rank)
                    below -= block[--here];
                while (below + block[here] <= rank)
                    below += block[here++];
                int64_t at = here * PLACES;
                for (int64_t rest = rank - below; rest >= count[at]; at++)
                    rest -= count[at];
                target[t] = at_place[at];
                if (t == cols - 1) {
                    for (int64_t i = 0; i < runs; i++)
                        for (int64_t u = t + run[3 * i + 1]; u < t + run[3 * i + 2]; u++) {
                            const int32_t old = place[run[3 * i] * wide + u];
                            count[old]--, block[old / PLACES]--;
                        }
                    break;
                }
                for (int64_t i = 0; i < runs; i++) {
                    const int32_t *const line = place + run[3 * i] * wide + t;
                    const int32_t old = line[run[3 * i + 1]], new = line[run[3 * i + 2]];
                    count[old]--, block[old / PLACES]--;
                    count[new]++, block[new / PLACES]++;
                    below += (new / PLACES < here) - (old / PLACES < here);
                }
            }
        }
    }
}
