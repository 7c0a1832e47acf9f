"""Winograd's transforms: the identity in exact rationals, the points' accuracy, and invalid input."""

from fractions import Fraction
from itertools import product
from math import prod

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cases import rounded_transforms
from fastconv.kernels.cook_toom import POINTS, decimated, rms_error, transforms

CHOSEN = {size: transforms(*size, points) for size, points in POINTS.items()}
chosen = pytest.mark.parametrize("f", CHOSEN.values(), ids=lambda f: f"F({f.m},{f.r})")


def exact(f):
    """AT, G and BT as object arrays, in which NumPy computes with Fractions."""
    return tuple(np.array(matrix, dtype=object) for matrix in (f.AT, f.G, f.BT))


def assert_correlates(f):
    """Both sides are bilinear, so that all pairs of unit vectors prove the identity."""
    AT, G, BT = exact(f)
    assert AT.shape == (f.m, f.t)
    assert G.shape == (f.t, f.r)
    assert BT.shape == (f.t, f.t)
    for j, k in product(range(f.r), range(f.t)):
        outputs = AT @ (G[:, j] * BT[:, k])
        assert outputs.tolist() == [i + j == k for i in range(f.m)]


@chosen
def test_chosen_points_correlate(f):
    assert_correlates(f)


@given(st.data(), st.integers(1, 5), st.integers(1, 5))
def test_any_distinct_points_correlate(data, m, r):
    n = m + r - 2
    points = data.draw(st.lists(st.fractions(-5, 5, max_denominator=20), min_size=n, max_size=n, unique=True))
    assert_correlates(transforms(m, r, points))


@pytest.mark.parametrize("m", [1, 2, 4, 5])
def test_a_stride_of_two_correlates(m):
    f = decimated(transforms(m, 2, range(m)))
    AT, G, BT = exact(f)
    assert f.t == 2 * m + 1
    for j, k in product(range(3), range(f.t)):
        assert (AT @ (G[:, j] * BT[:, k])).tolist() == [2 * i + j == k for i in range(m)]


@pytest.mark.parametrize(("down", "across"), [((4, 3), (4, 3)), ((2, 3), (3, 5))])
def test_nested_axes_correlate(down, across):
    rng = np.random.default_rng(0)
    f, h = CHOSEN[down], CHOSEN[across]

    def rationals(*shape):
        return np.array([Fraction(int(x), 7) for x in rng.integers(-50, 50, prod(shape))], object).reshape(shape)

    g, d = rationals(f.r, h.r), rationals(f.t, h.t)
    (AT, G, BT), (ATh, Gh, BTh) = exact(f), exact(h)
    outputs = AT @ ((G @ g @ Gh.T) * (BT @ d @ BTh.T)) @ ATh.T
    expected = [[(g * d[i : i + f.r, j : j + h.r]).sum() for j in range(h.m)] for i in range(f.m)]
    assert outputs.tolist() == expected


@chosen
def test_points_of_either_sign_differ_in_signs(f):
    """The kernels sum the terms of one parity once, add them for one row, and subtract them for the other."""
    AT, G, BT = exact(f)
    signs = np.array([(-1) ** k for k in range(f.t)], object)
    pairs = [(p, f.points.index(-a)) for p, a in enumerate(f.points) if a > 0]
    assert len(pairs) == len([a for a in f.points if a]) // 2
    for p, q in pairs:
        assert (AT[:, q] == signs[: f.m] * AT[:, p]).all()
        assert (G[q] == (-1) ** f.t * signs[: f.r] * G[p]).all()
        assert (BT[q] == (-1) ** f.t * signs * BT[p]).all()


@chosen
def test_data_and_output_transforms_are_cheap(f):
    """Monic rows and plain powers: no denominators but those of the points."""
    assert all([x for x in row if x][-1] == 1 for row in f.BT)
    assert set(f.AT[0]) <= {0, 1}


def convolved(f, channels, steps, rng):
    """Outputs of a tile in float32, transformed down and across, and the same in float64."""
    filters, tiles = 16, 64
    AT, G, BT = rounded_transforms(f)
    g = rng.standard_normal((f.r, f.r, filters, channels)).astype(np.float32)
    d = rng.standard_normal((f.t, f.t, channels, tiles)).astype(np.float32)
    U = np.einsum("pa,qb,abkc->pqkc", G, G, g.astype(float), optimize=True).astype(np.float32)

    def nested(matrix, tile):
        for axis in (0, 1):
            tile = np.moveaxis(np.tensordot(matrix.astype(np.float32), tile, (1, axis)), 0, axis)
        return tile

    V = nested(BT, d)
    products = np.zeros((f.t, f.t, filters, tiles), np.float32)
    for block in range(0, channels, steps):
        partial = np.zeros_like(products)
        for c in range(block, min(block + steps, channels)):
            # A fused multiply-add: the float64 product is exact.
            partial = (U[..., c, None].astype(float) * V[..., c, None, :] + partial).astype(np.float32)
        products += partial
    windows = np.lib.stride_tricks.sliding_window_view(d.astype(float), (f.r, f.r), (0, 1))
    plain = np.einsum("abkc,ijcnab->ijkn", g.astype(float), windows, optimize=True)
    return nested(AT, products), plain


@pytest.mark.parametrize(("size", "channels", "steps"), [((2, 3), 16, 32), ((4, 3), 128, 32), ((4, 3), 64, 64)])
def test_expected_error_is_the_measured_error(size, channels, steps):
    f = CHOSEN[size]
    outputs, plain = convolved(f, channels, steps, np.random.default_rng(1))
    errors = (outputs - plain) / (f.r * channels**0.5)
    measured = np.sqrt((errors**2).mean((2, 3))).max() * 2.0**24
    assert measured == pytest.approx(rms_error((f, f), channels, steps), rel=0.15)


def test_chosen_points_are_better_than_the_usual_ones():
    usual = transforms(4, 3, [0, 1, -1, 2, -2])
    assert CHOSEN[4, 3].amplification ** 2 < usual.amplification**2 / 4


@pytest.mark.parametrize(
    ("m", "r", "points", "message"),
    [
        (0, 3, [], "m=0, r=3"),
        (2, 0, [], "m=2, r=0"),
        (2, 3, [0, 1, 1], "points=0, 1, 1: F.2, 3. expects 3 distinct"),
        (2, 3, [0, "1/2", 0.5], "points=0, 1/2, 1/2"),
        (2, 3, [0, 1], "points=0, 1: F.2, 3. expects 3"),
        (2, 3, [], "points=none"),
        (2, 3, iter(int, 1), "points=0, 0, 0, 0"),
        (10**9, 3, [0], "expects 1000000001 distinct"),
        (2, 3, [0, 1, float("inf")], "inf is not a rational"),
        (2, 3, [0, 1, float("nan")], "nan is not a rational"),
        (2, 3, [0, 1, "1/0"], "'1/0' is not a rational"),
        (2, 3, [0, 1, None], "None is not a rational"),
    ],
)
def test_invalid_input_raises_one_clear_error(m, r, points, message):
    with pytest.raises(ValueError, match=message):
        transforms(m, r, points)
