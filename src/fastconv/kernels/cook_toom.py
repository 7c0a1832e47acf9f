"""The transforms of Winograd's convolution, exact: F(m, r) is m outputs of r taps in t = m + r - 1 products.

Equation, for correlation (the filter is not flipped)::

    y = AT [(G g) ⊙ (BT d)]        y_i = sum_j g_j d_{i+j},   0 <= i < m,  0 <= j < r

and for two axes, nested, ``Y = AT [(G g GT) ⊙ (BT d B)] A``. The construction is Toom's and Cook's, transposed
(Winograd, Arithmetic Complexity of Computations, 1980; Lavin and Gray, Fast algorithms for convolutional neural
networks, 2015). Let a_p be t - 1 distinct finite points, M(x) = prod_p (x - a_p) and M_p(x) = M(x) / (x - a_p).
Lagrange interpolation at these points and at infinity says, for every power below t::

    x^k = sum_p a_p^k M_p(x) / M_p(a_p) + [k = t - 1] M(x)

Read d as the linear functional that takes x^k to d_k, put k = i + j, and the equation stands, with

    row of point p     AT[i][p] = a_p^i         G[p][j] = a_p^j / M_p(a_p)     BT[p] = coefficients of M_p
    row of infinity    AT[i][t-1] = [i = m-1]   G[t-1][j] = [j = r-1]          BT[t-1] = coefficients of M

Scaling. A point's column of AT and rows of G and BT may be scaled by any factors whose product is one. Since floating
point rounds relatively, scaling only changes the rounding of the coefficients themselves; but it decides which
matrices are cheap. Here every M_p is monic and AT holds plain powers, so that BT and AT, by which every tile is
multiplied, keep their 0 and ±1. All denominators are in G, which is applied once per filter and can afford double
precision.

A stride of two. Output i of three taps sees d_2i, d_2i+1 and d_2i+2: the even inputs with taps 0 and 2, which is
F(m, 2), and one odd input with tap 1, a product that needs no transform. `decimated` puts the two side by side: 2m + 1
products of as many inputs, where a plain sum takes 3m (Huang et al., DWM: a decomposable Winograd method for
convolution acceleration, 2020).

Accuracy. Only the points matter: see `CookToom.amplification`, and `POINTS` for the choice. Good ones are 0, small
reciprocal pairs ±c, ±1/c, and infinity (Barabasz et al., Error analysis and improving the accuracy of Winograd
convolution for deep neural networks, 2018 and 2020; Alam et al., Winograd convolution for deep neural networks:
efficient point selection, 2022).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from math import prod, sqrt
from operator import index
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass

Matrix = tuple[tuple[Fraction, ...], ...]


def _pairs(*values: str) -> tuple[Fraction, ...]:
    return tuple(sign * Fraction(value) for value in values for sign in (1, -1))


_ZERO = (Fraction(0),)

# Chosen for least amplification among symmetric sets of p / q from 1/4 to 4, with q up to 10 or 16; among sets within a
# few per cent, those with few digits: 0, ±1/2, ±1, ±2 rather than 0, ±5/9, ±1, ±9/5. Asymmetric sets of twenty small
# fractions offered nothing better; the usual 0, ±1, ±2 of F(4, 3) is four times worse. The errors were measured in
# float32 for normal data and two nested axes, in 1e-6 σ of the output, rms / max over 3e4 to 3e6 outputs, with channels
# summed in blocks of 32.
POINTS: dict[tuple[int, int], tuple[Fraction, ...]] = {
    (1, 1): (),  #                                          an axis with one tap and one output: a plain product
    # (m, r)                                                64 channels     512 channels
    (2, 2): _pairs("1"),  #                               0.19 / 1.1      0.21 / 1.2
    (4, 2): _pairs("2/5", "5/4"),  #                      0.35 / 2.6      0.40 / 2.9
    (2, 3): _ZERO + _pairs("1"),  #                         0.20 / 1.5      0.23 / 1.2
    (4, 3): _ZERO + _pairs("2/3", "3/2"),  #                0.57 / 6.4      0.67 / 5.8
    (6, 3): _ZERO + _pairs("1/2", "1", "2"),  #             2.5 / 39        2.9 / 37
    (2, 5): _ZERO + _pairs("2/3", "3/2"),  #                0.64 / 3.1      0.75 / 3.5
    (3, 5): _pairs("5/16", "7/8", "13/8"),  #               1.2 / 7.8       1.4 / 7.7
    (4, 5): _ZERO + _pairs("1/2", "1", "2"),  #             2.3 / 19        2.6 / 19
    (2, 7): _ZERO + _pairs("1/2", "1", "2"),  #             3.0 / 16        3.4 / 15
}


@dataclass(frozen=True)
class CookToom:
    """The matrices of F(m, r): ``y = AT [(G g) ⊙ (BT d)]``. The last row (of AT: column) belongs to infinity.

    With a stride of two, rows of odd inputs follow.

    Attributes
    ----------
    m, r : int
        Outputs and taps.
    points : tuple of Fraction
        The t - 1 finite points, in the order of the rows.
    AT, G, BT : tuple of tuple of Fraction
        m × t, t × r and t × t matrices.
    stride : int
        From one output to the next, in inputs.
    """

    m: int
    r: int
    points: tuple[Fraction, ...]
    AT: Matrix
    G: Matrix
    BT: Matrix
    stride: int = 1

    @property
    def t(self) -> int:
        """The number of products of a tile, and of its inputs: ``(m - 1) * stride + r``."""
        return (self.m - 1) * self.stride + self.r

    @property
    def amplification(self) -> float:
        """By how much the output amplifies the rounding of products, compared with a direct sum; axes multiply.

        For independent normal g and d, the product of point p has the deviation ``‖G[p]‖ ‖BT[p]‖``, rounds in
        proportion to it, and enters output i with the factor ``AT[i][p]``. In the worst output, relative to its
        deviation sqrt(r)::

            amplification² = max_i sum_p (AT[i][p] ‖G[p]‖ ‖BT[p]‖)² / r
        """
        variances = [
            sum(x * x for x in filter_row) * sum(x * x for x in data_row)
            for filter_row, data_row in zip(self.G, self.BT, strict=True)
        ]
        worst = max(sum(a * a * v for a, v in zip(row, variances, strict=True)) for row in self.AT)
        return sqrt(worst / self.r)


def rms_error(axes: Sequence[CookToom], channels: int, steps: int) -> float:
    """Deviation of the error of a tile's worst output for normal data, in unit roundoffs and σ of the output.

    Channels are summed by fused multiply-adds, in blocks of `steps` whose sums are then added up. After c of C products
    a partial sum has c / C of the variance, and its rounding 0.18 u² of that (uniform over half a last place, with
    logarithmically distributed mantissas). This adds up to 0.09 u² C, or 0.09 u² (s + C / s) in blocks of s. The
    transforms add 0.9 u², as measured. Measurements in float32 agree within a tenth for one and two axes, every entry
    of `POINTS`, 1 to 1024 channels and blocks of 16 to 1024. The largest of 1e6 errors is 5 to 8 times the deviation,
    and up to 13 times with fewer than 16 channels.
    """
    running = channels if channels <= steps else steps + channels / steps
    return prod(axis.amplification for axis in axes) * sqrt(0.9 + 0.09 * running)


def _monic(roots: Iterable[Fraction]) -> list[Fraction]:
    """Coefficients of the product of all ``x - root``, from the constant upwards."""
    polynomial = [Fraction(1)]
    for root in roots:
        shifted = [Fraction(0), *polynomial]
        polynomial = [high - root * low for high, low in zip(shifted, [*polynomial, Fraction(0)], strict=True)]
    return polynomial


def _rational(point: Fraction | int | str | float) -> Fraction:
    try:
        return Fraction(point)
    except (TypeError, ValueError, ArithmeticError):
        raise ValueError(f"points: {point!r} is not a rational number") from None


def transforms(m: int, r: int, points: Iterable[Fraction | int | str | float]) -> CookToom:
    """The matrices of F(m, r) from interpolation points.

    Parameters
    ----------
    m, r : int
        Outputs of a tile and taps of the filter, at least 1.
    points : iterable of m + r - 2 numbers
        The finite points, distinct, in any form that `fractions.Fraction` accepts; `POINTS` has good ones. Infinity is
        added.

    Returns
    -------
    CookToom

    Raises
    ------
    ValueError
        `m` or `r` is below 1, or `points` are too few, too many, repeated or not rational.

    References
    ----------
    Winograd, Arithmetic Complexity of Computations, 1980; Lavin and Gray, Fast algorithms for convolutional neural
    networks, 2015.

    Examples
    --------
    Two outputs of three taps in four products instead of six:

    >>> f23 = transforms(2, 3, [0, 1, -1])
    >>> for matrix in (f23.AT, f23.G, f23.BT):
    ...     print([[str(x) for x in row] for row in matrix])
    [['1', '1', '1', '0'], ['0', '1', '-1', '1']]
    [['-1', '0', '0'], ['1/2', '1/2', '1/2'], ['1/2', '-1/2', '1/2'], ['0', '0', '1']]
    [['-1', '0', '1', '0'], ['0', '1', '1', '0'], ['0', '-1', '1', '0'], ['0', '-1', '0', '1']]
    """
    m, r = index(m), index(r)
    if m < 1 or r < 1:
        raise ValueError(f"m={m}, r={r}: expected at least one output and one tap")
    count = m + r - 2
    given = [_rational(point) for point in islice(points, count + 1)]
    if len(given) != count or len(set(given)) != count:
        shown = ", ".join(map(str, given)) or "none"
        raise ValueError(f"points={shown}: F({m}, {r}) expects {count} distinct points in addition to infinity")
    cofactors = [_monic(given[:p] + given[p + 1 :]) for p in range(count)]
    values = [prod(a - b for b in given if b != a) for a in given]
    AT = [[*(a**i for a in given), Fraction(i == m - 1)] for i in range(m)]
    G = [[a**j / value for j in range(r)] for a, value in zip(given, values, strict=True)]
    G.append([Fraction(j == r - 1) for j in range(r)])
    BT = [[*cofactor, Fraction(0)] for cofactor in cofactors]
    BT.append(_monic(given))
    return CookToom(m, r, tuple(given), _frozen(AT), _frozen(G), _frozen(BT))


def _frozen(matrix: Sequence[Sequence[Fraction]]) -> tuple[tuple[Fraction, ...], ...]:
    return tuple(map(tuple, matrix))


def decimated(f: CookToom) -> CookToom:
    """The matrices of m outputs of three taps at a stride of two, from those of F(m, 2).

    Examples
    --------
    >>> f = decimated(transforms(2, 2, [0, 1]))
    >>> f.t, f.stride
    (5, 2)
    >>> [[str(x) for x in row] for row in f.AT]
    [['1', '1', '0', '1', '0'], ['0', '1', '1', '0', '1']]
    """
    m, t = f.m, f.t
    zero, one = Fraction(0), Fraction(1)

    def unit(size: int, at: int) -> list[Fraction]:
        return [one if i == at else zero for i in range(size)]

    AT = [[*row, *unit(m, i)] for i, row in enumerate(f.AT)]
    G = [[first, zero, last] for first, last in f.G] + [unit(3, 1)] * m
    BT = [[row[k // 2] if k % 2 == 0 else zero for k in range(t + m)] for row in f.BT]
    BT += [unit(t + m, 2 * i + 1) for i in range(m)]
    return CookToom(m, 3, f.points, _frozen(AT), _frozen(G), _frozen(BT), stride=2)
