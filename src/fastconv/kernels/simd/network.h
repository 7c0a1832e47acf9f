/* The value of one rank in each window, by a network of comparisons on vectors of neighbouring outputs.
 *
 * A network is a program (engine/selection.py): each instruction reads and writes *slots*, which hold a value for each
 * column of a block of outputs, as well as for the columns to their right that windows reach. Operands may be shifted:
 * what a network knows of neighbouring columns, such as their sorted values, is computed once for all windows that
 * contain them. An instruction processes a whole block: decoding it takes little time beside that, and a few slots fit
 * in L1. Instructions are idempotent, so that the last vector of a block may overlap the one before it. A program may
 * have two results: those of two rows, one below the other, whose windows have most rows in common.
 *
 * Rows are read in place. Columns past the edges are copied from those that they continue once their values are sorted;
 * where these lie in another block, or nothing is sorted by columns, the outputs that see such columns are computed from
 * gathered rows. Included once for each type T of values.
 */
#define AT(code) NETWORK_##code

/* Each is one instruction of most instruction sets; of two zeros of different signs, either may be lost. */
#define LOWER_OF(a, b) ((a) < (b) ? (a) : (b))
#define HIGHER_OF(a, b) ((a) > (b) ? (a) : (b))

/* An instruction for n values of each operand p, the targets first. The loop has no constant extent: GCC would unroll
 * one into scalars before it vectorises, as it knows too little of the pointers. */
#define INSTRUCTION(name, ...)                                                                            \
    static __attribute__((noinline)) void NAME(name##_part)(T *const *p, int64_t at, int64_t n)         \
    {                                                                                                     \
        __VA_ARGS__                                                                                       \
    }                                                                                                     \
    static void NAME(name)(T *const *p, int64_t n)                                                        \
    {                                                                                                     \
        enum { lanes = SIMD_BYTES / sizeof(T) };                                                          \
        const int64_t whole = n < lanes ? n : n / lanes * lanes;                                          \
        NAME(name##_part)(p, 0, whole);                                                                   \
        if (whole < n)                                                                                    \
            NAME(name##_part)(p, n - lanes, lanes);                                                       \
    }
#define POINTERS_2 T *p0 = p[0] + at, *p1 = p[1] + at;
#define POINTERS_3 POINTERS_2 T *p2 = p[2] + at;
#define POINTERS_4 POINTERS_3 T *p3 = p[3] + at;
#define POINTERS_6 POINTERS_4 T *p4 = p[4] + at, *p5 = p[5] + at;
#define POINTERS_8 POINTERS_6 T *p6 = p[6] + at, *p7 = p[7] + at;
#define EVERY INDEPENDENT for (int64_t i = 0; i < n; i++)

INSTRUCTION(lower, POINTERS_3 EVERY p0[i] = LOWER_OF(p1[i], p2[i]);)
INSTRUCTION(higher, POINTERS_3 EVERY p0[i] = HIGHER_OF(p1[i], p2[i]);)
INSTRUCTION(exchange, POINTERS_4 EVERY {
    const T a = p2[i], b = p3[i];
    p0[i] = LOWER_OF(a, b);
    p1[i] = HIGHER_OF(a, b);
})
INSTRUCTION(sort, POINTERS_6 EVERY {
    const T a = p3[i], b = p4[i], c = p5[i];
    const T low = LOWER_OF(a, b), high = HIGHER_OF(a, b), rest = LOWER_OF(high, c);
    p0[i] = LOWER_OF(low, rest);
    p1[i] = HIGHER_OF(low, rest);
    p2[i] = HIGHER_OF(high, c);
})
INSTRUCTION(median, POINTERS_4 EVERY {
    const T a = p1[i], b = p2[i], c = p3[i];
    const T low = LOWER_OF(a, b), rest = LOWER_OF(HIGHER_OF(a, b), c);
    p0[i] = HIGHER_OF(low, rest);
})
INSTRUCTION(lowest, POINTERS_4 EVERY {
    const T rest = LOWER_OF(p2[i], p3[i]);
    p0[i] = LOWER_OF(p1[i], rest);
})
INSTRUCTION(highest, POINTERS_4 EVERY {
    const T rest = HIGHER_OF(p2[i], p3[i]);
    p0[i] = HIGHER_OF(p1[i], rest);
})
/* Two sorted pairs into four sorted values. */
INSTRUCTION(merge, POINTERS_8 EVERY {
    const T a = p4[i], b = p5[i], c = p6[i], d = p7[i];
    const T low = HIGHER_OF(a, c), high = LOWER_OF(b, d);
    p0[i] = LOWER_OF(a, c);
    p1[i] = LOWER_OF(low, high);
    p2[i] = HIGHER_OF(low, high);
    p3[i] = HIGHER_OF(b, d);
})
/* The lowest of what the target holds and of the higher values of two pairs. */
INSTRUCTION(choose, POINTERS_6 (void)p5; EVERY {
    const T one = HIGHER_OF(p1[i], p2[i]), other = HIGHER_OF(p3[i], p4[i]), rest = LOWER_OF(one, other);
    p0[i] = LOWER_OF(p0[i], rest);
})

/* Of 9 and 25 values at once: their sources stay in registers, as far as there are enough. */
#define SOURCE(j) const T *const q##j = p[1 + j] + at;
#define VALUE(j) T v##j = q##j[i];
#define EXCHANGED(a, b)                                         \
    {                                                           \
        const T low = LOWER_OF(v##a, v##b);                     \
        v##b = HIGHER_OF(v##a, v##b);                           \
        v##a = low;                                             \
    }
INSTRUCTION(median_of_9, T *const p0 = p[0] + at; VALUES_9(SOURCE) EVERY {
    VALUES_9(VALUE)
    MEDIAN_9(EXCHANGED)
    p0[i] = v4;
})
INSTRUCTION(median_of_25, T *const p0 = p[0] + at; VALUES_25(SOURCE) EVERY {
    VALUES_25(VALUE)
    MEDIAN_25(EXCHANGED)
    p0[i] = v12;
})

typedef struct {
    T *slots, *gathered, *fill;
    T *spare; /* the second of two rows where there is only one */
    T **line, **tap;
    int64_t *from, *source, *coordinate;
    int64_t pitch, bytes;
} NAME(network_parts);

static void NAME(lay_out_network)(const Network *a, char *memory, NAME(network_parts) *parts)
{
    Scratch s = {memory, 0};
    const int64_t lanes = SIMD_BYTES / sizeof(T), wide = a->span + a->kw - 1;
    parts->pitch = (wide + lanes - 1) / lanes * lanes;
    parts->slots = take(&s, a->slots * parts->pitch * sizeof(T));
    parts->gathered = take(&s, a->lines * parts->pitch * sizeof(T));
    parts->fill = take(&s, parts->pitch * sizeof(T));
    parts->spare = take(&s, a->rows > 1 ? parts->pitch * sizeof(T) : 0);
    parts->line = take(&s, a->lines * sizeof(T *));
    parts->tap = take(&s, a->taps * sizeof(T *));
    parts->from = take(&s, a->kw * sizeof(int64_t));
    parts->source = take(&s, a->lines * sizeof(int64_t));
    parts->coordinate = take(&s, (a->axes + 1) * sizeof(int64_t));
    parts->bytes = s.bytes;
}

static int64_t NAME(network_scratch)(const int64_t *ints)
{
    NAME(network_parts) parts;
    NAME(lay_out_network)((const Network *)ints, 0, &parts);
    return parts.bytes;
}

/* Run a program for a block of n outputs that sees `wide` columns: if those outside first to last are to be continued,
 * for those inside until then. `from` lists where the columns outside are continued from, or -1. */
static void NAME(run_network)(const int32_t *word, int64_t words, const NAME(network_parts) *own, T *const *targets,
                              int64_t n, int64_t first, int64_t last, int64_t wide)
{
    int64_t at = first, inside = last - first, continued = inside == wide;
    for (const int32_t *end = word + words; word < end; word += 2 + operands[word[0]]) {
        T *p[MOST_OPERANDS];
        for (int j = 0; j < operands[word[0]]; j++) {
            const int32_t operand = word[2 + j];
            p[j] = operand < 0 ? own->tap[~operand]
                 : operand >= NETWORK_TARGET - 1 ? targets[NETWORK_TARGET - operand]
                 : own->slots + (operand >> SHIFT_BITS) * own->pitch + (operand & ((1 << SHIFT_BITS) - 1)) + at;
        }
        const int64_t length = continued ? n + word[1] : inside;
        switch (word[0]) {
        case AT(LOWER): NAME(lower)(p, length); break;
        case AT(HIGHER): NAME(higher)(p, length); break;
        case AT(EXCHANGE): NAME(exchange)(p, length); break;
        case AT(SORT): NAME(sort)(p, length); break;
        case AT(MEDIAN): NAME(median)(p, length); break;
        case AT(LOWEST): NAME(lowest)(p, length); break;
        case AT(HIGHEST): NAME(highest)(p, length); break;
        case AT(MERGE): NAME(merge)(p, length); break;
        case AT(CHOOSE): NAME(choose)(p, length); break;
        case AT(MEDIAN_OF_9): NAME(median_of_9)(p, length); break;
        case AT(MEDIAN_OF_25): NAME(median_of_25)(p, length); break;
        default: { /* continue the columns of a slot */
            T *slot = p[0] - at;
            const int64_t *from = own->from;
            for (int64_t t = edge(0, first, last); t < wide; t = edge(t + 1, first, last), from++)
                slot[t] = *from < 0 ? own->fill[0] : slot[*from];
            if (!continued)
                at = 0, continued = 1;
        }
        }
    }
}

/* Tile: a block of a row, or of two. arrays: x, out, the value that lies where maps say -1, for reals a flag per worker
 * that is set once one is NaN, extents of the axes of rows, their maps one after another, the offsets of lines along them, the line
 * and the column of each tap, the map of columns, the program, and scratch. */
static void NAME(network)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                          int64_t worker)
{
    const Network *a = (const Network *)ints;
    const T *x = arrays[0], fill = *(const T *)arrays[2];
    const int64_t *extent = arrays[4], *maps = arrays[5], *offset = arrays[6], *tap = arrays[7], *col_map = arrays[8];
    const int64_t cols = a->cols, axes = a->axes, lines = a->lines;
    NAME(network_parts) own;
    NAME(lay_out_network)(a, (char *)arrays[10] + worker * NAME(network_scratch)(ints), &own);
    int wrong = 0;
    (void)scalars;
    for (int64_t t = 0; t < own.pitch; t++)
        own.fill[t] = fill;
    for (int64_t tile = begin; tile < end; tile++) {
        if ((tile - begin) % a->pause == 0 && stops(arrays, worker))
            return;
        const int64_t col0 = tile % a->across * a->span;
        const int64_t n = cols - col0 < a->span ? cols - col0 : a->span, wide = n + a->kw - 1;
        const int64_t first = clip(a->pl - col0, 0, wide), last = clip(cols + a->pl - col0, first, wide);
        int64_t rest = tile / a->across, row = 0, apart = 1, below = 0; /* the rows below that there are */
        for (int64_t axis = axes - 1; axis >= 0; axis--) {
            const int64_t rows = axis == axes - 1 ? a->rows : 1, steps = (extent[axis] + rows - 1) / rows;
            own.coordinate[axis] = rest % steps * rows;
            if (rows > 1)
                below = own.coordinate[axis] + 1 < extent[axis];
            row += own.coordinate[axis] * apart;
            rest /= steps, apart *= extent[axis];
        }
        T *const target = (T *)arrays[1] + row * cols + col0;
        T *targets[2] = {target, below ? target + cols : own.spare};
        for (int64_t r = 0; FLOATING && r <= below; r++) {
            const T *const centre = x + (row + r) * cols + col0;
            for (int64_t t = 0; t < n; t++)
                wrong |= centre[t] != centre[t];
        }
        /* Columns outside may be continued afterwards, if those that they continue are seen here. */
        int continues = a->continues, at = 0;
        for (int64_t t = edge(0, first, last); continues && t < wide; t = edge(t + 1, first, last)) {
            const int64_t source = col_map[col0 + t];
            own.from[at++] = source < 0 ? -1 : source + a->pl - col0;
            continues = source < 0 || (source + a->pl - col0 >= first && source + a->pl - col0 < last);
        }
        const T *const place = x + (col0 - a->pl);
        for (int64_t line = 0; line < lines; line++) {
            int64_t source = 0;
            const int64_t *map = maps;
            for (int64_t axis = 0; axis < axes && source >= 0; axis++) {
                const int64_t index = map[own.coordinate[axis] + offset[line * axes + axis]];
                source = index < 0 ? -1 : source * extent[axis] + index;
                map += extent[axis] + a->reach;
            }
            own.source[line] = source;
        }
        if (continues) {
            for (int64_t line = 0; line < lines; line++)
                own.tap[line] = own.source[line] < 0 ? own.fill : (T *)place + own.source[line] * cols + first;
            NAME(run_network)(arrays[9], a->words, &own, targets, n, first, last, wide);
            continue;
        }
        /* The outputs that see columns before the row, those that do not, and those that see columns after it. */
        const int64_t inner = clip(first, 0, n), outer = clip(last - a->kw + 1, inner, n);
        const int64_t bound[] = {0, inner, outer, n};
        for (int part = 0; part < 3; part++) {
            const int64_t begun = bound[part], count = bound[part + 1] - begun, seen = count + a->kw - 1;
            if (!count)
                continue;
            for (int64_t line = 0; line < lines; line++) {
                const int64_t source = own.source[line];
                own.line[line] = source < 0 ? own.fill
                               : part == 1  ? (T *)place + source * cols + begun
                                            : own.gathered + line * own.pitch;
                for (int64_t t = 0; source >= 0 && part != 1 && t < seen; t++) {
                    const int64_t index = col_map[col0 + begun + t];
                    own.line[line][t] = index < 0 ? fill : x[source * cols + index];
                }
            }
            for (int64_t t = 0; t < a->taps; t++)
                own.tap[t] = own.line[tap[2 * t]] + tap[2 * t + 1];
            T *const parts[2] = {targets[0] + begun, targets[1] + begun};
            NAME(run_network)(arrays[9], a->words, &own, parts, count, 0, seen, seen);
        }
    }
    if (wrong)
        ((int64_t *)arrays[3])[worker] = 1;
}

#undef AT
#undef LOWER_OF
#undef HIGHER_OF
#undef INSTRUCTION
#undef POINTERS_2
#undef POINTERS_3
#undef POINTERS_4
#undef POINTERS_6
#undef POINTERS_8
#undef EVERY
#undef SOURCE
#undef VALUE
#undef EXCHANGED
