"""Kernels as sums of outer products: what `separable` finds, and what is computed from it."""

from math import sqrt

import numpy as np
import pytest
import scipy.ndimage
import scipy.signal
from hypothesis import given
from hypothesis import strategies as st

import fastconv
from fastconv.engine import planner
from fastconv.engine.convolution.separable import Separable, factorise, find_factors
from fastconv.engine.correlation import Past
from fastconv.engine.geometry import ConvGeometry, FilterGeometry, mode_padding
from fastconv.engine.rounding import running_error


def of_rank(rank, shape, dtype, seed=0):
    rng = np.random.default_rng([seed, rank, *shape])
    return (rng.standard_normal((shape[0], rank)) @ rng.standard_normal((rank, shape[1]))).astype(dtype)


@given(st.integers(1, 12), st.integers(1, 12), st.integers(1, 6), st.sampled_from("fd"), st.integers(0, 99))
def test_factors_multiply_to_the_kernel(kh, kw, rank, dtype, seed):
    kernel = of_rank(rank, (kh, kw), dtype, seed)
    columns, rows = factorise(kernel[None, None])
    assert columns.shape[-1] == rows.shape[-2] <= min(kh, kw, rank)
    limit = 32 * np.finfo(dtype).eps * np.linalg.norm(kernel)
    np.testing.assert_allclose((columns @ rows)[0, 0], kernel, rtol=0, atol=limit)


@pytest.mark.parametrize("dtype", "fd")
@pytest.mark.parametrize("extent", [5, 15, 31, 63])
def test_ranks_of_known_kernels(dtype, extent):
    x = np.linspace(-2, 2, extent)
    gaussian = np.exp(-(x**2))
    r2 = x[:, None] ** 2 + x**2
    known = {
        1: [np.outer(gaussian, gaussian), np.ones((extent, extent)), np.outer(x, gaussian)],
        2: [(r2 - 2) * np.exp(-r2), np.cos(3 * (x[:, None] + x)) * np.exp(-r2)],
    }
    for terms, kernels in known.items():
        for kernel in kernels:
            assert find_factors(kernel.astype(dtype), 4).terms == terms
            if terms > 1:
                assert find_factors(kernel.astype(dtype), terms - 1) is None


def test_what_is_not_separable():
    rng = np.random.default_rng(0)
    assert find_factors(rng.standard_normal((15, 15)), 3) is None
    assert find_factors(np.eye(15), 3) is None
    assert find_factors(np.full((9, 9), np.nan), 3) is None
    almost = np.ones((15, 15))
    almost[7, 7] += 1e-9  # the sample of rows and columns may not see it; the decomposition does
    assert find_factors(almost, 1) is None


@pytest.mark.per_isa
@pytest.mark.parametrize("dtype", "fd")
@pytest.mark.parametrize("mode", ["full", "same", "valid"])
def test_convolve2d_finds_them(dtype, mode):
    image = np.random.default_rng(0).standard_normal((140, 150)).astype(dtype)
    for rank in (1, 2, 3):
        kernel = of_rank(rank, (17, 15), dtype)
        expected = scipy.signal.convolve2d(image.astype("d"), kernel.astype("d"), mode)
        sigma = sqrt(scipy.signal.convolve2d(image**2.0, kernel**2.0, mode).max())
        error = np.abs(fastconv.signal.convolve2d(image, kernel, mode) - expected).max() / sigma
        padding = mode_padding(mode, kernel.shape, True)
        geometry = FilterGeometry(image.shape, kernel.shape, padding).as_convolution()
        expected_error = Separable().error_of_terms(geometry, image.dtype, rank)
        # The kernel has few weights. If the largest come first, partial sums deviate as much as the whole all along,
        # and not half as much on average, which doubles the variance of errors.
        assert error < sqrt(2) * expected_error + running_error(kernel.size, np.dtype("d"))


def test_auto_weighs_them():
    plan = planner.plan(ConvGeometry.parse("ic1 oc1 i1024 k15 p7"), "f")
    assert 1 <= planner.separable_terms(plan) < 15
    assert planner.separable_terms(planner.plan(plan.geometry, "f", tolerance=0.0)) == 0


@pytest.mark.parametrize("boundary", ["zeros", "reflect"])
@pytest.mark.parametrize("rank", [1, 2, 9])
def test_a_plan_for_known_values_says_what_runs(boundary, rank):
    kernel = of_rank(rank, (13, 13), "f")
    known = {1: "terms1 exact", 2: "terms2", 9: ""}[rank]
    plan = fastconv.plan(f"i600 k13 p6 {boundary} {known}", "correlation", tolerance=1e-5, num_threads=1)
    if rank != 2:  # with two terms it depends on the machine
        assert (plan.strategy.name == "separable") == (rank == 1)
    image = np.random.default_rng(0).standard_normal((600, 600)).astype("f")
    out = np.empty_like(image)
    plan.strategy.run(plan, image, kernel, out, Past("constant" if boundary == "zeros" else boundary, 0))
    mode = "constant" if boundary == "zeros" else boundary
    expected = scipy.ndimage.correlate(image.astype("d"), kernel.astype("d"), mode=mode)
    sigma = sqrt(scipy.ndimage.correlate(image.astype("d") ** 2, kernel.astype("d") ** 2, mode=mode).max())
    assert np.abs(out - expected).max() / sigma < plan.error


def test_infinity_does_not_cancel():
    """One pass would give the next infinity and its negative."""
    image = np.zeros((40, 50), np.float32)
    image[20, 20] = np.inf
    kernel = np.ones((1, 1, 5, 5), np.float32)
    kernel[0, 0, 1, 2] = -1
    out = fastconv.conv2d(image[None, None], kernel, padding=2, strategy="separable")
    np.testing.assert_array_equal(out, fastconv.conv2d(image[None, None], kernel, padding=2, strategy="direct"))
