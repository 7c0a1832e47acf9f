/* Winograd's transforms along one axis: F(m, r), m outputs of r taps from t products.
 *
 *   y = Aᵀ [ (G g) ⊙ (Bᵀ d) ]          t = (m - 1) s + r for a stride of s
 *
 * The interpolation points are ±p_1 … ±p_q, infinity and, if t is even, 0, so both transforms fall into even and odd
 * parts. With z = 1 if 0 is a point, else 0, Z(x²) = prod_i (x² - p_i²) and Q_j(x²) = Z(x²) / (x² - p_j²), whose
 * leading coefficients are 1:
 *
 *   Bᵀ d:   v_0 = sum_l Z_l d[2l],   v_inf = sum_l Z_l d[2l + z]
 *           v_±j = sum_l Q_jl d[2l + 1 + z]  ±  p_j sum_l Q_jl d[2l + z]
 *   Aᵀ s:   y_i = [i = 0] s_0 + sum_j p_j^i (s_+j + (-1)^i s_-j) + [i = m - 1] s_inf
 *
 * An axis of three taps at a stride of 2 is the sum of two axes of stride 1, whose points follow one another: F(m, 2)
 * of the even inputs with taps 0 and 2, and the odd inputs, as they are, with tap 1 (Huang et al., DWM: a decomposable
 * Winograd method for convolution acceleration, 2020).
 *
 * The weight's transform carries the rest: row p of G is (1, p, … p^(r-1)) divided by the product of p's distances to
 * the other points (cook_toom.py has all of them exactly).
 *
 * An axis of one tap is F(1, 1): t = m = 1, infinity is the only point, and its transforms return what they are given.
 */
/* The coefficients, in the type in which they are applied. */
typedef struct {
    REAL p[MAX_PAIRS], Q[MAX_PAIRS][MAX_PAIRS], Z[MAX_PAIRS + 1], power[MAX_PAIRS][MAX_T];
} NAME(points);

static NAME(points) NAME(rounded)(const Points *exact)
{
    NAME(points) points;
    for (int j = 0; j < MAX_PAIRS; j++) {
        points.p[j] = (REAL)exact->p[j];
        for (int l = 0; l < MAX_PAIRS; l++)
            points.Q[j][l] = (REAL)exact->Q[j][l];
        for (int i = 0; i < MAX_T; i++)
            points.power[j][i] = (REAL)exact->power[j][i];
    }
    for (int l = 0; l <= MAX_PAIRS; l++)
        points.Z[l] = (REAL)exact->Z[l];
    return points;
}

static inline __attribute__((always_inline)) void NAME(interpolate)(
    const int t, const NAME(points) *points, const VECTOR *d, const int step_d, VECTOR *v, const int step_v)
{
    const int z = t % 2 == 0, q = (t - 1) / 2;
    VECTOR infinity = d[(t - 1) * step_d];
    UNROLL
    for (int l = 0; l < q; l++)
        infinity += d[(2 * l + z) * step_d] * points->Z[l];
    v[(t - 1) * step_v] = infinity;
    if (z) {
        VECTOR zero = d[2 * q * step_d];
        UNROLL
        for (int l = 0; l < q; l++)
            zero += d[2 * l * step_d] * points->Z[l];
        v[0] = zero;
    }
    UNROLL
    for (int j = 0; j < q; j++) {
        VECTOR even = d[(2 * q - 1 + z) * step_d], odd = d[(2 * q - 2 + z) * step_d];
        UNROLL
        for (int l = 0; l < q - 1; l++) {
            even += d[(2 * l + 1 + z) * step_d] * points->Q[j][l];
            odd += d[(2 * l + z) * step_d] * points->Q[j][l];
        }
        v[(2 * j + z) * step_v] = even + odd * points->p[j];
        v[(2 * j + 1 + z) * step_v] = even - odd * points->p[j];
    }
}

static inline __attribute__((always_inline)) void NAME(evaluate)(
    const int t, const int m, const NAME(points) *points, const VECTOR *s, const int step_s, VECTOR *y,
    const int step_y)
{
    const int z = t % 2 == 0, q = (t - 1) / 2;
    VECTOR plus[MAX_PAIRS], minus[MAX_PAIRS];
    UNROLL
    for (int j = 0; j < q; j++) {
        plus[j] = s[(2 * j + z) * step_s] + s[(2 * j + 1 + z) * step_s];
        minus[j] = s[(2 * j + z) * step_s] - s[(2 * j + 1 + z) * step_s];
    }
    UNROLL
    for (int i = 0; i < m; i++) {
        const VECTOR *signs = i % 2 ? minus : plus;
        VECTOR sum = i == m - 1 ? s[(t - 1) * step_s] : i == 0 ? signs[0] : signs[0] * points->power[0][i];
        UNROLL
        for (int j = i < m - 1; j < q; j++)
            sum += i == 0 ? signs[j] : signs[j] * points->power[j][i];
        y[i * step_y] = i == 0 && z ? sum + s[0] : sum;
    }
}

/* A stride of two parts the inputs of a tile into two phases. The even ones are seen by taps 0 and 2, as by a kernel of
 * two taps: F(m, 2). The odd ones, each of which tap 1 of one output sees, are not transformed. */
static inline __attribute__((always_inline)) void NAME(transform_in)(
    const int t, const int stride, const NAME(points) *points, const VECTOR *d, const int step_d, VECTOR *v,
    const int step_v)
{
    const int even = (t + stride - 1) / stride;
    NAME(interpolate)(even, points, d, stride * step_d, v, step_v);
    UNROLL
    for (int i = even; i < t; i++)
        v[i * step_v] = d[(2 * (i - even) + 1) * step_d];
}

static inline __attribute__((always_inline)) void NAME(transform_out)(
    const int t, const int m, const int stride, const NAME(points) *points, const VECTOR *s, const int step_s,
    VECTOR *y, const int step_y)
{
    const int even = (t + stride - 1) / stride;
    NAME(evaluate)(even, m, points, s, step_s, y, step_y);
    UNROLL
    for (int i = even; i < t; i++)
        y[(i - even) * step_y] += s[i * step_s];
}

/* The shapes of tiles, X(name, down, m_down, across, m_across, stride): an axis combined with itself, only down, and
 * only across; and the row of a table that has a function of each, whose columns are `combined`. */
#define SHAPES_OF_AXIS(X, t, m, stride)     \
    X(t##_##m##_both, t, m, t, m, stride)   \
    X(t##_##m##_down, t, m, 1, 1, stride)   \
    X(t##_##m##_across, 1, 1, t, m, stride)
#define ROW_OF_AXIS(function, t, m) \
    {NAME(function##_##t##_##m##_both), NAME(function##_##t##_##m##_down), NAME(function##_##t##_##m##_across)}
