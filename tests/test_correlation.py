"""Plans of correlations: which parts they have, what values may replace, and that both are what runs."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.ndimage as ndimage
from hypothesis import given
from hypothesis import strategies as st

import fastconv
from fastconv.engine.convolution import separable
from fastconv.engine.correlation import CORRELATION, Past
from fastconv.engine.correlation.integers import working_type
from fastconv.engine.geometry import FilterGeometry


def plan(descriptor, **options):
    return fastconv.plan(descriptor, "correlation", **options)


def of_values(geometry, kernel, tolerance):
    """The geometry with what is known of a kernel's values."""
    factors = separable.find_factors(kernel, 0 if tolerance == 0 else min(kernel.shape) - 1)
    if factors is None:
        return geometry
    return replace(geometry, terms=factors.terms, exact=separable.find_factors(kernel, 0) is not None)


@pytest.mark.parametrize(
    ("descriptor", "dtype", "solver"),
    [
        ("i40 k5 p2", "f", "convolution"),
        ("i400 k9 p4 terms1 exact", "f", "separable"),
        ("i99 k9 p4", "D", "channels"),
        ("i99 k9 p4 reflect", "D", "parts"),
        ("i40 k5 p2 reflect", "f", "convolution"),
        ("id9 ih9 iw9 k3 p1", "f", "taps"),
    ],
)
def test_every_solver_can_be_named(descriptor, dtype, solver):
    """What its parts are computed by is then open, as it is by default."""
    named, auto = (plan(descriptor, dtype=dtype, strategy=strategy) for strategy in (solver, "auto"))
    assert (named.strategy.name, named.parts) == (solver, auto.parts)


def test_a_solver_that_cannot_says_why():
    for descriptor, other, reason in (
        ("i700 k5 p2 wrap", "taps", "computes more than 2 axes, not 2"),
        ("i40 k5 p2", "separable", None),
        ("i40 k5 p2 wrap", "convolution", None),
    ):
        if reason is None:  # it computes the parts, or a strategy of that name does
            assert other in str(plan(descriptor, strategy=other))
            continue
        with pytest.raises(fastconv.UnsupportedError) as failure:
            plan(descriptor, strategy=other)
        assert (
            str(failure.value) == f"strategy={other!r} cannot compute {plan(descriptor).geometry} in float32: {reason}"
        )


def test_a_name_is_passed_on_to_the_parts():
    below = plan("i700 k5 p2 wrap terms1 exact", strategy="separable")
    assert below.strategy.name == "separable"
    above = plan("i700 k5 p2 wrap", strategy="direct")
    assert [(part.plan.strategy.name, part.plan.request) for part in above.parts] == [("direct", "direct")]
    with pytest.raises(fastconv.UnsupportedError, match="computes kernels of 3×3"):
        plan("i700 k5 p2 wrap", strategy="winograd6")


def test_a_separable_kernel_is_printed_as_one():
    """As `signal.convolve2d` computes it with a Gaussian, and boundary "symm"."""
    bell = np.exp(-(np.arange(-8.0, 9) ** 2) / 18).astype("f")
    geometry = of_values(FilterGeometry.parse("i512 k17 p8 reflect"), np.outer(bell, bell), 0)
    assert str(geometry) == "ih512 iw512 kh17 kw17 p8 reflect terms1 exact"
    assert "separable on 1 thread" in str(plan(geometry, tolerance=0, num_threads=1))
    unknown = str(plan("i512 k17 p8 reflect", tolerance=0))
    assert "convolution by direct on" in unknown
    assert "if the kernel is an outer product: separable on" in unknown


@pytest.mark.parametrize("boundary", ["constant", "nearest", "reflect", "mirror", "wrap"])
@pytest.mark.parametrize("strategy", ["direct", "separable", "fft", "implicit", "winograd2"])
def test_strategies_continue_images(strategy, boundary):
    """Whether they read past the edges by maps, or copies with a border do so for them."""
    image, kernel = np.random.default_rng(0).standard_normal((2, 1, 40, 40)).astype("f")
    kernel, past = np.ascontiguousarray(kernel[0, :3, :3]), Past(boundary, 1)
    below = plan(f"ih19 iw40 k3 p2 {boundary}", strategy=strategy, num_threads=1)
    out = np.empty(below.geometry.out_extent, "f")
    below.strategy.run(below, image[0, :19], kernel, out, past)
    mode = {"constant": "constant", "nearest": "edge", "reflect": "symmetric", "mirror": "reflect", "wrap": "wrap"}
    padded = np.pad(image[0, :19], 2, mode[boundary], **({"constant_values": 1} if boundary == "constant" else {}))
    expected = ndimage.correlate(padded.astype("d"), kernel.astype("d"))[1:-1, 1:-1]
    np.testing.assert_allclose(out, expected, atol=2e-5)


@pytest.mark.parametrize(
    "descriptor",
    ["i0 k1 p1", "i4 k0", "i4 k3 terms4", "iw9 kw3 terms1 exact", "i4 k3 exact", "i9 k3 s2", "i9 k3 p1 odd", "i3 k4"],
)
def test_what_is_no_filter(descriptor):
    with pytest.raises(fastconv.GeometryError, match=r"descriptor|k="):
        plan(descriptor)


def test_more_axes_than_descriptors_name_are_printed():
    g = FilterGeometry((4, 5, 6, 7), (3, 3, 3, 3), ((1, 1),) * 4, "wrap")
    assert str(g) == "4×5×6×7 by 3×3×3×3 padding ((1, 1), (1, 1), (1, 1), (1, 1)) wrap"
    with pytest.raises(fastconv.GeometryError, match="descriptor"):
        plan(g)


@given(st.integers(1, 8), st.integers(20, 300), st.integers(5, 15), st.sampled_from([0.0, None]))
def test_what_values_may_replace_is_what_runs(rank, extent, taps, tolerance):
    """The factors that a call finds are those of the plan for known values, and reports of other plans list it."""
    rng = np.random.default_rng([rank, extent, taps])
    kernel = (rng.standard_normal((taps, rank)) @ rng.standard_normal((rank, taps))).astype("f")
    geometry = FilterGeometry((extent, extent), kernel.shape, ((0, 0), (0, 0)))
    unknown = plan(geometry, tolerance=tolerance, num_threads=1)
    known = plan(of_values(geometry, kernel, tolerance), tolerance=tolerance, num_threads=1)
    listed = [part.plan for part in CORRELATION.alternatives(unknown)]
    assert all(found.strategy.name == "separable" for found in listed)
    if known.strategy.name == "separable":
        assert known.geometry.terms <= max(found.geometry.terms for found in listed)
    calls, run = [], separable.Separable.run
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(separable.Separable, "run", lambda *args: calls.append(args) or run(*args))
        CORRELATION.call(unknown, (np.ones((extent, extent), "f"), kernel))()
    assert bool(calls) == (known.strategy.name == "separable")


@given(
    st.sampled_from("bBhHiIlL"), st.integers(1, 20), st.integers(1, 20), st.booleans(), st.sampled_from([1, 100, 10**7])
)
def test_types_of_sums_are_listed(char, kh, kw, outer, largest):
    dtype, rng = np.dtype(char), np.random.default_rng([kh, kw])
    kernel = rng.integers(0, min(largest, np.iinfo(dtype).max), (kh, kw), dtype, endpoint=True)
    if outer:
        kernel[:] = np.multiply.outer(kernel[:, 0] % 11, kernel[0] % 11)
    image = rng.integers(0, min(largest, np.iinfo(dtype).max), (40, 30), dtype, endpoint=True)
    unknown = plan(FilterGeometry(image.shape, kernel.shape, ((kh, kh), (kw, kw))), dtype=dtype)
    listed = {part.plan.dtype: part for part in CORRELATION.alternatives(unknown)}
    work = working_type(unknown, image, kernel, Past("constant", 0)).name
    assert work == dtype.name or work in listed
    if any(part.label == "instead" for part in listed.values()):
        assert work in listed
