/* Correlation by the convolution theorem, in overlap-save tiles: two tiles of an image are one complex plane.
 *
 *   z = a + i b:   back(forward(z) · conj H) = (a correlated with h) + i (b correlated with h),   as h is real
 *
 * so real images need no transform of their own, and the order of frequencies does not matter: forward transforms
 * decimate in frequency and leave them in digit-reversed order, from which backward transforms, decimating in time,
 * take them. (Gentleman and Sande, Fast Fourier transforms for fun and profit, 1966; Cooley and Tukey, 1965; Stockham,
 * High-speed convolution and correlation, 1966.)
 *
 * The vectors of a pass hold neighbouring lines, one per lane. Down the columns, the plane has them in that form. Along
 * the rows, LANES rows at a time are transposed into a buffer in L1, transformed, multiplied by the filter's spectrum
 * and summed over the channels, transformed back, and transposed into the plane:
 *
 *   plane[row][column]                       the real parts; imaginary parts are `gap` values further on
 *   spectrum[rows / LANES][column][2][LANES] of filters, and of channels that several filters share
 *
 * A signal, or an image whose kernel has one row, is cut into lines: the plane holds one, row after row, and between
 * the two directions entry (k, n) is multiplied by exp(-2πi k n / points), which makes one transform of the two
 * (Bailey, FFTs in external or hierarchical memory, 1990).
 *
 * Values far from 1 would overflow or underflow on the way even if no output does. Filters are scaled by powers of two
 * beforehand (engine/convolution/fft.py). A pair of tiles is only scaled after its outputs have turned out too small or not
 * finite, since checking every pixel first would cost every image what few need.
 */
#define FFT_ARGUMENTS(X)                                                                         \
    WINDOW_FIELDS(X)                                                                             \
    X(out_image)     /* values from one image of the output to the next */                       \
    X(down_points)   /* rows of a plane */                                                       \
    X(down_passes)   /* passes of a column's transform */                                        \
    X(across_points) /* columns of a plane */                                                    \
    X(across_passes) /* passes of a row's transform */                                           \
    X(lines)         /* whether the rows of a plane follow each other in one row of the image */ \
    X(rows)          /* dense outputs of a tile, down */                                         \
    X(cols)          /* dense outputs of a tile, across */                                       \
    X(tiles_down)    /* tiles of an image down */                                                \
    X(tiles_across)  /* tiles of an image across */                                              \
    X(pitch)         /* values from one row of a plane to the next */                            \
    X(gap)           /* values from the real parts of a plane to the imaginary ones */           \
    X(plane)         /* values of a plane */                                                     \
    X(activation)    /* code of the activation */
ARGUMENTS(Fft, FFT_ARGUMENTS);

/* The passes of a transform: their radices, whose product is the number of points. */
typedef struct {
    int64_t points, passes;
    const int64_t *radix;
} Radices;

/* Values of neighbouring lines: the real parts of a point, the imaginary parts after `gap` values, the next point after
 * `step`. */
typedef struct {
    REAL *at;
    int64_t step, gap;
} NAME(lines);

/* The discrete Fourier transform of `radix` points in registers, with exp(-2πi jk / radix). */
static inline __attribute__((always_inline)) void NAME(dft)(const int radix, VECTOR *re, VECTOR *im)
{
    if (radix == 3) {
        const REAL sine = (REAL)0.86602540378443864676;
        const VECTOR sum_re = re[1] + re[2], sum_im = im[1] + im[2];
        const VECTOR mid_re = re[0] - sum_re * (REAL)0.5, mid_im = im[0] - sum_im * (REAL)0.5;
        const VECTOR side_re = re[1] - re[2], side_im = im[1] - im[2];
        re[0] += sum_re, im[0] += sum_im;
        re[1] = mid_re + side_im * sine, im[1] = mid_im - side_re * sine;
        re[2] = mid_re - side_im * sine, im[2] = mid_im + side_re * sine;
    } else if (radix == 4) {
        const VECTOR even_re = re[0] + re[2], even_im = im[0] + im[2], odd_re = re[1] + re[3], odd_im = im[1] + im[3];
        const VECTOR low_re = re[0] - re[2], low_im = im[0] - im[2], high_re = re[1] - re[3], high_im = im[1] - im[3];
        re[0] = even_re + odd_re, im[0] = even_im + odd_im;
        re[1] = low_re + high_im, im[1] = low_im - high_re;
        re[2] = even_re - odd_re, im[2] = even_im - odd_im;
        re[3] = low_re - high_im, im[3] = low_im + high_re;
    } else if (radix == 5) {
        const REAL cos1 = (REAL)0.30901699437494742410, cos2 = (REAL)-0.80901699437494742410;
        const REAL sin1 = (REAL)0.95105651629515357212, sin2 = (REAL)0.58778525229247312917;
        const VECTOR s1_re = re[1] + re[4], s1_im = im[1] + im[4], s2_re = re[2] + re[3], s2_im = im[2] + im[3];
        const VECTOR d1_re = re[1] - re[4], d1_im = im[1] - im[4], d2_re = re[2] - re[3], d2_im = im[2] - im[3];
        const VECTOR m1_re = re[0] + s1_re * cos1 + s2_re * cos2, m1_im = im[0] + s1_im * cos1 + s2_im * cos2;
        const VECTOR m2_re = re[0] + s1_re * cos2 + s2_re * cos1, m2_im = im[0] + s1_im * cos2 + s2_im * cos1;
        const VECTOR n1_re = d1_re * sin1 + d2_re * sin2, n1_im = d1_im * sin1 + d2_im * sin2;
        const VECTOR n2_re = d1_re * sin2 - d2_re * sin1, n2_im = d1_im * sin2 - d2_im * sin1;
        re[0] += s1_re + s2_re, im[0] += s1_im + s2_im;
        re[1] = m1_re + n1_im, im[1] = m1_im - n1_re;
        re[2] = m2_re + n2_im, im[2] = m2_im - n2_re;
        re[3] = m2_re - n2_im, im[3] = m2_im + n2_re;
        re[4] = m1_re - n1_im, im[4] = m1_im + n1_re;
    } else {
        const REAL half = (REAL)0.70710678118654752440;
        VECTOR even_re[4] = {re[0], re[2], re[4], re[6]}, even_im[4] = {im[0], im[2], im[4], im[6]};
        VECTOR odd_re[4] = {re[1], re[3], re[5], re[7]}, odd_im[4] = {im[1], im[3], im[5], im[7]};
        NAME(dft)(4, even_re, even_im);
        NAME(dft)(4, odd_re, odd_im);
        const VECTOR one_re = odd_re[1] + odd_im[1], one_im = odd_im[1] - odd_re[1];
        const VECTOR three_re = odd_im[3] - odd_re[3], three_im = odd_im[3] + odd_re[3];
        re[0] = even_re[0] + odd_re[0], im[0] = even_im[0] + odd_im[0];
        re[4] = even_re[0] - odd_re[0], im[4] = even_im[0] - odd_im[0];
        re[1] = even_re[1] + one_re * half, im[1] = even_im[1] + one_im * half;
        re[5] = even_re[1] - one_re * half, im[5] = even_im[1] - one_im * half;
        re[2] = even_re[2] + odd_im[2], im[2] = even_im[2] - odd_re[2];
        re[6] = even_re[2] - odd_im[2], im[6] = even_im[2] + odd_re[2];
        re[3] = even_re[3] + three_re * half, im[3] = even_im[3] - three_im * half;
        re[7] = even_re[3] - three_re * half, im[7] = even_im[3] + three_im * half;
    }
}

/* One pass over `blocks` blocks of radix · m points each, which splits every block into `radix` blocks of m; with
 * `back`, its inverse. `twiddles` are the powers of the root of unity, (radix - 1) complex numbers for each of the
 * m. */
static inline __attribute__((always_inline)) void NAME(fft_pass)(const int radix, const int back, const int twiddled,
                                                                 NAME(lines) from, NAME(lines) to, int64_t m,
                                                                 int64_t blocks, const REAL *twiddles)
{
    for (int64_t block = 0; block < blocks; block++) {
        const REAL *source = from.at + block * radix * m * from.step;
        REAL *target = to.at + block * radix * m * to.step;
        const REAL *w = twiddles;
        for (int64_t j = 0; j < m; j++, source += from.step, target += to.step, w += 2 * (radix - 1)) {
            VECTOR re[8], im[8];
            UNROLL
            for (int q = 0; q < radix; q++) {
                re[q] = NAME(load)(source + q * m * from.step);
                im[q] = NAME(load)(source + q * m * from.step + from.gap);
                if (back && twiddled && q > 0) {
                    const VECTOR cosine = NAME(broadcast)(w[2 * q - 2]), sine = NAME(broadcast)(w[2 * q - 1]);
                    const VECTOR turned = re[q] * cosine - im[q] * sine;
                    im[q] = re[q] * sine + im[q] * cosine;
                    re[q] = turned;
                }
            }
            NAME(dft)(radix, re, im);
            UNROLL
            for (int q = 0; q < radix; q++) {
                if (!back && twiddled && q > 0) {
                    const VECTOR cosine = NAME(broadcast)(w[2 * q - 2]), sine = NAME(broadcast)(w[2 * q - 1]);
                    const VECTOR turned = re[q] * cosine - im[q] * sine;
                    im[q] = re[q] * sine + im[q] * cosine;
                    re[q] = turned;
                }
                NAME(store)(target + q * m * to.step, re[q]);
                NAME(store)(target + q * m * to.step + to.gap, im[q]);
            }
        }
    }
}

typedef void NAME(pass)(NAME(lines) from, NAME(lines) to, int64_t m, int64_t blocks, const REAL *twiddles);

#define PASS(radix, back)                                                                                          \
    static void NAME(pass_##radix##_##back)(NAME(lines) from, NAME(lines) to, int64_t m, int64_t blocks,           \
                                            const REAL *twiddles)                                                  \
    {                                                                                                              \
        if (m > 1)                                                                                                 \
            NAME(fft_pass)(radix, back, 1, from, to, m, blocks, twiddles);                                         \
        else                                                                                                       \
            NAME(fft_pass)(radix, back, 0, from, to, 1, blocks, twiddles);                                         \
    }
#define PASSES(radix) PASS(radix, 0) PASS(radix, 1)
PASSES(3) PASSES(4) PASSES(5) PASSES(8)
#undef PASSES
#undef PASS

static NAME(pass) *const NAME(passes)[2][9] = {
    {[3] = NAME(pass_3_0), [4] = NAME(pass_4_0), [5] = NAME(pass_5_0), [8] = NAME(pass_8_0)},
    {[3] = NAME(pass_3_1), [4] = NAME(pass_4_1), [5] = NAME(pass_5_1), [8] = NAME(pass_8_1)},
};

/* The spectrum of each line, in digit-reversed order. Intermediate results are in `buffer`, which may be `from` or
 * `to`. */
static void NAME(forward)(const Radices *radices, const REAL *twiddles, NAME(lines) from, NAME(lines) buffer,
                          NAME(lines) to)
{
    for (int64_t p = 0, blocks = 1, m = radices->points; p < radices->passes; p++) {
        const int64_t radix = radices->radix[p];
        m /= radix;
        NAME(passes)[0][radix](from, p + 1 < radices->passes ? buffer : to, m, blocks, twiddles);
        twiddles += 2 * m * (radix - 1);
        blocks *= radix;
        from = buffer;
    }
}

/* The lines of such spectra, times the number of points: swapping real and imaginary parts changes the sign of every
 * angle. */
static void NAME(backward)(const Radices *radices, const REAL *twiddles, NAME(lines) from, NAME(lines) buffer,
                           NAME(lines) to)
{
    const NAME(lines) inner = {buffer.at + buffer.gap, buffer.step, -buffer.gap};
    const NAME(lines) last = {to.at + to.gap, to.step, -to.gap};
    from.at += from.gap, from.gap = -from.gap;
    for (int64_t p = 0, m = radices->points; p < radices->passes; p++) {
        m /= radices->radix[p];
        twiddles += 2 * m * (radices->radix[p] - 1);
    }
    for (int64_t p = radices->passes - 1, m = 1, blocks = radices->points; p >= 0; p--) {
        const int64_t radix = radices->radix[p];
        blocks /= radix;
        twiddles -= 2 * m * (radix - 1);
        NAME(passes)[1][radix](from, p ? inner : last, m, blocks, twiddles);
        m *= radix;
        from = inner;
    }
}

/* The part of one channel that a tile reads, with the zeros around it; its first dense output is at y0 and x0. */
static void NAME(gather_tile)(const Fft *t, const REAL *channel, int64_t y0, int64_t x0, REAL *plane)
{
    const int64_t width = t->across_points;
    for (int64_t r = 0; r < t->down_points; r++, plane += t->pitch) {
        const int64_t y = y0 - t->pt + (t->lines ? 0 : r), x = x0 - t->pl + (t->lines ? r * width : 0);
        const int64_t first = clip(-x, 0, width), last = clip(t->iw - x, first, width);
        if (y < 0 || y >= t->ih || first == last) {
            memset(plane, 0, width * sizeof(REAL));
            continue;
        }
        memset(plane, 0, first * sizeof(REAL));
        NAME(copy_apart)(channel + y * t->xh + (x + first) * t->xw, last - first, t->xw, plane + first);
        memset(plane + last, 0, (width - last) * sizeof(REAL));
    }
}

/* Turn `width` values of each of LANES rows of a plane into lines; with `back`, lines into rows. */
static inline __attribute__((always_inline)) void NAME(turn)(const int back, REAL *rows, int64_t pitch, int64_t width,
                                                             REAL *line)
{
    if (LANES >= 4)
        for (int64_t x = 0; x < width; x += 4)
            for (int64_t r = 0; r < LANES; r += 4)
                if (back)
                    NAME(transpose)(line + x * 2 * LANES + r, 2 * LANES, rows + r * pitch + x, pitch);
                else
                    NAME(transpose)(rows + r * pitch + x, pitch, line + x * 2 * LANES + r, 2 * LANES);
    else
        for (int64_t x = 0; x < width; x++)
            for (int64_t r = 0; r < LANES; r++)
                if (back)
                    rows[r * pitch + x] = line[x * 2 * LANES + r];
                else
                    line[x * 2 * LANES + r] = rows[r * pitch + x];
}

/* Multiply the rows of a plane by the roots of unity between the transforms of a line, or by their conjugates. */
static void NAME(twist)(const Fft *t, const REAL *roots, int64_t row, REAL conjugate, REAL *plane)
{
    const int64_t width = t->across_points, apart = t->down_points * width;
    for (int64_t r = row; r < row + LANES; r++)
        for (int64_t x = 0; x < width; x += LANES) {
            REAL *at = plane + r * t->pitch + x;
            const VECTOR cosine = NAME(load)(roots + r * width + x);
            const VECTOR sine = NAME(load)(roots + apart + r * width + x) * conjugate;
            const VECTOR re = NAME(load)(at), im = NAME(load)(at + t->gap);
            NAME(store)(at, re * cosine - im * sine);
            NAME(store)(at + t->gap, re * sine + im * cosine);
        }
}

/* Shared by the transforms of planes: the twiddles of each axis, and lines in L1. */
typedef struct {
    const Fft *tiling;
    Radices down, across;
    const REAL *down_twiddles, *across_twiddles;
    const REAL *roots; /* between the transforms of a line, or null */
    NAME(lines) buffer, sum;
} NAME(engine);

static NAME(engine) NAME(engine_of)(const Fft *t, const int64_t *radices, const REAL *twiddles, const REAL *roots,
                                    REAL *buffer, REAL *sum)
{
    NAME(engine) e = {
        .tiling = t,
        .down = {t->down_points, t->down_passes, radices},
        .across = {t->across_points, t->across_passes, radices + t->down_passes},
        .down_twiddles = twiddles,
        .across_twiddles = twiddles,
        .roots = roots,
        .buffer = {buffer, 2 * LANES, LANES},
        .sum = {sum, 2 * LANES, LANES},
    };
    for (int64_t p = 0, m = t->down_points; p < t->down_passes; p++) {
        m /= radices[p];
        e.across_twiddles += 2 * m * (radices[p] - 1);
    }
    return e;
}

/* Transform the columns that are not all zero, in place. */
static void NAME(columns_forward)(const NAME(engine) *e, REAL *plane, int64_t columns)
{
    for (int64_t x = 0; x < columns; x += LANES) {
        const NAME(lines) column = {plane + x, e->tiling->pitch, e->tiling->gap};
        NAME(forward)(&e->down, e->down_twiddles, column, e->buffer, column);
    }
}

static void NAME(columns_backward)(const NAME(engine) *e, REAL *plane, int64_t columns)
{
    for (int64_t x = 0; x < columns; x += LANES) {
        const NAME(lines) column = {plane + x, e->tiling->pitch, e->tiling->gap};
        NAME(backward)(&e->down, e->down_twiddles, column, e->buffer, column);
    }
}

/* Transform LANES rows of a plane, from `row` on, into spectra. */
static void NAME(rows_forward)(const NAME(engine) *e, REAL *plane, int64_t row, NAME(lines) spectrum)
{
    const Fft *t = e->tiling;
    if (e->roots)
        NAME(twist)(t, e->roots, row, 1, plane);
    NAME(turn)(0, plane + row * t->pitch, t->pitch, t->across_points, e->buffer.at);
    NAME(turn)(0, plane + row * t->pitch + t->gap, t->pitch, t->across_points, e->buffer.at + e->buffer.gap);
    NAME(forward)(&e->across, e->across_twiddles, e->buffer, e->buffer, spectrum);
}

/* Transform a sum of spectra into LANES rows of a plane, of which only `columns` columns are needed. */
static void NAME(rows_backward)(const NAME(engine) *e, REAL *plane, int64_t row, int64_t columns)
{
    const Fft *t = e->tiling;
    NAME(backward)(&e->across, e->across_twiddles, e->sum, e->sum, e->sum);
    NAME(turn)(1, plane + row * t->pitch, t->pitch, columns, e->sum.at);
    NAME(turn)(1, plane + row * t->pitch + t->gap, t->pitch, columns, e->sum.at + e->sum.gap);
    if (e->roots)
        NAME(twist)(t, e->roots, row, -1, plane);
}

/* sum (+)= spectrum · filter, for LANES rows. */
static void NAME(add_product)(NAME(lines) spectrum, const REAL *filter, int64_t points, int add, NAME(lines) sum)
{
    for (int64_t i = 0; i < points; i++, filter += 2 * LANES, spectrum.at += spectrum.step, sum.at += sum.step) {
        const VECTOR re = NAME(load)(spectrum.at), im = NAME(load)(spectrum.at + spectrum.gap);
        const VECTOR f_re = NAME(load)(filter), f_im = NAME(load)(filter + LANES);
        const VECTOR sum_re = add ? NAME(load)(sum.at) : (VECTOR){0};
        const VECTOR sum_im = add ? NAME(load)(sum.at + sum.gap) : (VECTOR){0};
        NAME(store)(sum.at, sum_re + re * f_re - im * f_im);
        NAME(store)(sum.at + sum.gap, sum_im + re * f_im + im * f_re);
    }
}

/* Outputs above which a pair of tiles loses no digits to underflow, and exponents of pixels for which none does. */
#define TINY (sizeof(REAL) == 4 ? 0x1p-60 : 0x1p-500)
#define ORDINARY (sizeof(REAL) == 4 ? 30 : 250)

/* Multiply n values by 2^exponent; the power itself may be out of range where the products are not. */
static void NAME(scale_values)(REAL *values, int64_t n, int64_t exponent)
{
    for (int64_t i = 0; i < n; i++)
        values[i] = (REAL)__builtin_ldexp(values[i], (int)exponent);
}

/* What is known of a pair's outputs, lane by lane: NaN if one was not finite; bits set if one was not tiny. */
typedef struct {
    VECTOR check;
    NAME(mask) ordinary;
} NAME(outcome);

/* Write a tile's outputs of one channel, times 2^exponent. */
static void NAME(write_tile)(const Fft *t, const REAL *plane, int64_t columns, int64_t y0, int64_t x0,
                             int64_t exponent, const REAL *bias, int64_t m, double parameter, REAL *out,
                             NAME(outcome) *outcome)
{
    const int64_t width = t->across_points;
    for (int64_t r = 0; r < (t->lines ? t->down_points : t->rows); r++, plane += t->pitch) {
        const int64_t y = y0 + (t->lines ? 0 : r), x = x0 + (t->lines ? r * width : 0);
        const int64_t rest = x0 + t->cols - x, cols = rest < width ? rest : width;
        const int64_t first = NAME(ceil_div)(x, t->sw), last = NAME(ceil_div)(x + cols, t->sw);
        const int64_t count = clip(last, first, t->ow) - first;
        REAL *target = out + y / t->sh * t->ow + first;
        if (y % t->sh || y / t->sh >= t->oh || count <= 0)
            continue;
        for (int64_t i = 0; i < columns; i += LANES) {
            const VECTOR values = NAME(load)(plane + i);
            outcome->check += values - values;
            outcome->ordinary |= (values > (REAL)TINY) | (values < (REAL)-TINY);
        }
        NAME(copy_apart)(plane + first * t->sw - x, count, t->sw, target);
        if (exponent)
            NAME(scale_values)(target, count, exponent);
        if (bias || t->activation)
            NAME(epilogue)(target, count, bias, m, t->activation, parameter);
    }
}

/* A pair of tiles of one group of one image: where they begin, and how many of them exist. */
typedef struct {
    const REAL *image;
    int64_t y[2], x[2], count;
} NAME(pair);

/* One channel of both tiles; a second tile past the last is all zeros. */
static void NAME(gather_pair)(const Fft *t, const NAME(pair) *pair, int64_t channel, REAL *plane)
{
    for (int64_t i = 0; i < 2; i++)
        NAME(gather_tile)(t, pair->image + channel * t->xc, i < pair->count ? pair->y[i] : t->ih + t->pt, pair->x[i],
                          plane + i * t->gap);
}

/* The exponent of the largest value that a pair reads; 0 if it is ordinary, zero, or not finite. */
static int64_t NAME(exponent_of)(const Fft *t, const NAME(pair) *pair, REAL *plane)
{
    const int64_t icg = t->ic / t->g;
    REAL largest = 0, check = 0;
    int exponent = 0;
    for (int64_t c = 0; c < icg; c++) {
        NAME(gather_pair)(t, pair, c, plane);
        for (int64_t r = 0; r < 2 * t->down_points; r++) {
            const REAL *row = plane + r % t->down_points * t->pitch + r / t->down_points * t->gap;
            for (int64_t x = 0; x < t->across_points; x++) {
                const REAL size = row[x] < 0 ? -row[x] : row[x];
                check += size - size;
                largest = size > largest ? size : largest;
            }
        }
    }
    if (check == 0)
        (void)__builtin_frexp(largest, &exponent);
    return exponent < -ORDINARY || exponent > ORDINARY ? exponent : 0;
}

/* A pair's outputs, before they are scaled back. */
enum { NAME(NOT_FINITE), NAME(ALL_TINY), NAME(AS_USUAL) };

/* Compute all outputs of a pair of tiles of group g of an image, from pixels divided by 2^exponent. */
static int NAME(compute_pair)(const NAME(engine) *e, void **arrays, int64_t worker, double parameter,
                              const NAME(pair) *pair, int64_t g, REAL *out, int64_t exponent, REAL *planes)
{
    const Fft *t = e->tiling;
    const int64_t icg = t->ic / t->g, ocg = t->oc / t->g;
    const int64_t height = t->down_points, width = t->across_points, *exponents = arrays[5];
    const int64_t columns = clip(NAME(ceil_div)(t->cols, LANES) * LANES, 0, width);
    NAME(outcome) outcome = {{0}, {0}};
    int ordinary = 0;
    for (int64_t c = 0; c < icg; c++) {
        if (stops(arrays, worker))
            return NAME(AS_USUAL);
        NAME(gather_pair)(t, pair, c, planes + c * t->plane);
        if (exponent)
            NAME(scale_values)(planes + c * t->plane, t->plane, -exponent);
        NAME(columns_forward)(e, planes + c * t->plane, width);
    }
    for (int64_t m = 0; m < ocg; m++) {
        const REAL *filter = (const REAL *)arrays[2] + (g * ocg + m) * icg * height * width * 2;
        /* The last channel may overwrite the spectra. */
        REAL *target = planes + (m + 1 < ocg ? icg * t->plane : 0);
        for (int64_t row = 0; row < height; row += LANES) {
            if ((row == 0 || icg * width > 4096) && stops(arrays, worker))
                return NAME(AS_USUAL);
            for (int64_t c = 0; c < icg; c++) {
                REAL *plane = planes + c * t->plane;
                const NAME(lines) kept = {plane + row * t->pitch, LANES, t->gap};
                const NAME(lines) spectrum = ocg > 1 ? kept : e->buffer;
                if (m == 0)
                    NAME(rows_forward)(e, plane, row, spectrum);
                NAME(add_product)(spectrum, filter + (c * height + row) * width * 2, width, c > 0, e->sum);
            }
            NAME(rows_backward)(e, target, row, columns);
        }
        NAME(columns_backward)(e, target, columns);
        for (int64_t i = 0; i < pair->count; i++)
            NAME(write_tile)(t, target + i * t->gap, columns, pair->y[i], pair->x[i],
                             exponent + exponents[g * ocg + m], arrays[3], g * ocg + m, parameter,
                             out + m * t->oh * t->ow, &outcome);
    }
    for (int64_t l = 0; l < LANES; l++) {
        if (!(outcome.check[l] == 0))
            return NAME(NOT_FINITE);
        ordinary |= outcome.ordinary[l] != 0;
    }
    return ordinary ? NAME(AS_USUAL) : NAME(ALL_TINY);
}

typedef struct {
    REAL *planes;       /* of some channels */
    REAL *buffer, *sum; /* lines in L1 */
    int64_t bytes;
} NAME(fft_parts);

static NAME(fft_parts) NAME(fft_layout)(const Fft *t, int64_t planes, char *memory)
{
    Scratch s = {memory, 0};
    NAME(fft_parts) parts;
    const int64_t most = t->down_points > t->across_points ? t->down_points : t->across_points;
    parts.planes = take(&s, planes * t->plane * sizeof(REAL));
    parts.buffer = take(&s, most * 2 * LANES * sizeof(REAL));
    parts.sum = take(&s, most * 2 * LANES * sizeof(REAL));
    parts.bytes = s.bytes;
    return parts;
}

/* Planes of the channels, and one more if several filters share these. */
static inline int64_t NAME(fft_planes)(const Fft *t) { return t->ic / t->g + (t->oc > t->g); }

static int64_t NAME(fft_scratch)(const int64_t *ints)
{ return NAME(fft_layout)((const Fft *)ints, NAME(fft_planes)((const Fft *)ints), 0).bytes; }

static int64_t NAME(fft_weight_scratch)(const int64_t *ints)
{ return NAME(fft_layout)((const Fft *)ints, 1, 0).bytes; }

/* Tile: a pair of tiles of one group of one image. arrays: x, out, spectra of the filters, bias or null, for each
 * pair whether an output was not finite, the exponents of filters that were divided by 2 to their power, twiddles of
 * down and across, roots between them where planes are lines or null, the radices of down and across, and scratch.
 * scalars: the activation's parameter. */
static void NAME(fft)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                      int64_t worker)
{
    const Fft *t = (const Fft *)ints;
    const int64_t tiles = t->tiles_down * t->tiles_across, pairs = (tiles + 1) / 2;
    const int64_t icg = t->ic / t->g, ocg = t->oc / t->g;
    const NAME(fft_parts) own =
        NAME(fft_layout)(t, NAME(fft_planes)(t), (char *)arrays[9] + worker * NAME(fft_scratch)(ints));
    REAL *planes = own.planes;
    const NAME(engine) e = NAME(engine_of)(t, arrays[8], arrays[6], arrays[7], own.buffer, own.sum);
    for (int64_t tile = begin; tile < end; tile++) {
        const int64_t first = tile % pairs * 2, g = tile / pairs % t->g, n = tile / pairs / t->g;
        REAL *out = (REAL *)arrays[1] + n * t->out_image + g * ocg * t->oh * t->ow;
        NAME(pair) pair = {(const REAL *)arrays[0] + n * t->xn + g * icg * t->xc, .count = clip(tiles - first, 0, 2)};
        for (int64_t i = 0; i < 2; i++) {
            pair.y[i] = (first + i) / t->tiles_across * t->rows;
            pair.x[i] = (first + i) % t->tiles_across * t->cols;
        }
        int outcome = NAME(compute_pair)(&e, arrays, worker, scalars[0], &pair, g, out, 0, planes);
        if (outcome != NAME(AS_USUAL)) {
            const int64_t exponent = NAME(exponent_of)(t, &pair, planes);
            if (exponent)
                outcome = NAME(compute_pair)(&e, arrays, worker, scalars[0], &pair, g, out, exponent, planes);
        }
        ((int64_t *)arrays[4])[tile] = outcome == NAME(NOT_FINITE);
    }
}
#undef TINY
#undef ORDINARY

/* The bytes of the spectra of a group's filters. */
static int64_t NAME(fft_packed)(const int64_t *ints)
{
    const Fft *t = (const Fft *)ints;
    return t->oc / t->g * (t->ic / t->g) * t->down_points * t->across_points * 2 * sizeof(REAL);
}

/* Tile: one plane of a filter. arrays: filters, spectra, twiddles, roots or null, radices and scratch, as above.
 * The conjugate, as images are correlated, over the number of points. */
static void NAME(fft_weight)(void **arrays, const int64_t *ints, const double *scalars, int64_t begin, int64_t end,
                             int64_t worker)
{
    const Fft *t = (const Fft *)ints;
    const int64_t height = t->down_points, width = t->across_points;
    const int64_t reach = NAME(ceil_div)((t->kw - 1) * t->dw + 1, LANES) * LANES;
    const REAL scale = 1 / (REAL)(height * width);
    const NAME(fft_parts) own = NAME(fft_layout)(t, 1, (char *)arrays[5] + worker * NAME(fft_weight_scratch)(ints));
    REAL *plane = own.planes;
    const NAME(engine) e = NAME(engine_of)(t, arrays[4], arrays[2], arrays[3], own.buffer, own.sum);
    for (int64_t tile = begin; tile < end; tile++) {
        const REAL *taps = (const REAL *)arrays[0] + tile * t->kh * t->kw;
        REAL *spectrum = (REAL *)arrays[1] + tile * height * width * 2;
        memset(plane, 0, t->plane * sizeof(REAL));
        for (int64_t i = 0; i < t->kh; i++)
            for (int64_t j = 0; j < t->kw; j++) {
                const int64_t x = j * t->dw, line = x / width;
                plane[(i * t->dh + line) * t->pitch + x - line * width] = taps[i * t->kw + j];
            }
        NAME(columns_forward)(&e, plane, clip(reach, 0, width));
        for (int64_t row = 0; row < height; row += LANES, spectrum += 2 * LANES * width) {
            const NAME(lines) target = {spectrum, 2 * LANES, LANES};
            NAME(rows_forward)(&e, plane, row, target);
            for (int64_t i = 0; i < 2 * LANES * width; i += 2 * LANES) {
                NAME(store)(spectrum + i, NAME(load)(spectrum + i) * scale);
                NAME(store)(spectrum + i + LANES, NAME(load)(spectrum + i + LANES) * -scale);
            }
        }
    }
}
