"""Plans of correlations: which parts they have, what values may replace, and that both are what runs."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastconv
from fastconv.engine.convolution import separable
from fastconv.engine.correlation import CORRELATION, edges
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
        ("i99 k9 p4", "D", "parts"),
        ("i40 k5 p2 reflect", "f", "whole"),
        ("i700 k5 p2 wrap", "f", "edges"),
        ("id9 ih9 iw9 k3 p1", "f", "taps"),
    ],
)
def test_every_solver_can_be_named(descriptor, dtype, solver):
    """What its parts are computed by is then open, as it is by default."""
    named, auto = (plan(descriptor, dtype=dtype, strategy=strategy) for strategy in (solver, "auto"))
    assert (named.strategy.name, named.parts) == (solver, auto.parts)


def test_a_solver_that_cannot_says_why():
    for descriptor, other, reason in (
        ("i40 k5 p2 wrap", "edges", "recomputes the edges of images of more than 1 MiB"),
        ("i700 k5 p2 wrap", "whole", "continues images of up to 1 MiB as a whole"),
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
    assert below.strategy.name == "edges"
    assert all("separable" in part.plan._solvers() for part in below.parts)
    assert all(part.plan.request == "separable" for part in below.parts)
    with pytest.raises(fastconv.UnsupportedError, match="computes kernels of 3×3"):
        plan("i700 k5 p2 wrap", strategy="winograd6")


def test_a_separable_kernel_is_printed_as_one():
    """As `signal.convolve2d` computes it with a Gaussian, and boundary "symm"."""
    bell = np.exp(-(np.arange(-8.0, 9) ** 2) / 18).astype("f")
    geometry = of_values(FilterGeometry.parse("i512 k17 p8 reflect"), np.outer(bell, bell), 0)
    assert str(geometry) == "ih512 iw512 kh17 kw17 p8 reflect terms1 exact"
    assert "inside: separable on 1 thread" in str(plan(geometry, tolerance=0, num_threads=1))
    unknown = str(plan("i512 k17 p8 reflect", tolerance=0))
    assert "inside: convolution by direct on" in unknown
    assert "if the kernel is an outer product: separable on" in unknown


@given(
    st.tuples(st.integers(1, 60), st.integers(1, 60)),
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.tuples(*[st.integers(0, 12)] * 4),
    st.sampled_from([1, 1 << 12, 1 << 16, 1 << 20]),
    st.booleans(),
)
def test_pieces_are_the_parts_and_cover_the_output(extent, kernel, pads, itemsize, line):
    """Values of absurd sizes make patches of a few values."""
    padding = (pads[:2], pads[2:])
    axes = slice(1, None) if line else slice(None)
    try:
        g = FilterGeometry(extent[axes], kernel[axes], padding[axes], "reflect")
    except fastconv.GeometryError:
        return
    layout, pieces = edges._layout(g, itemsize), edges._pieces(g, itemsize)
    written = np.zeros(g.out_extent, int)
    for piece in pieces:
        written[piece.target] += 1
        assert written[piece.target].shape in layout.patches
    assert written.max(initial=0) <= 1
    if layout.inside is not None:
        assert layout.inside.out_extent == written[layout.target].shape
        written[layout.target] += 1
    assert written.min() >= 1
    counts = [sum(sides.values()) for sides in layout.patches.values()]
    numbers = [piece.part - (layout.inside is not None) for piece in pieces]
    assert counts == [numbers.count(number) for number in range(len(counts))]


@pytest.mark.parametrize(
    "descriptor",
    ["ih3 iw10000000000000000 k3 p1 wrap", "i100000000 k3 p1 reflect", "ih1000000000 iw1000000 k9 p4 nearest"],
)
def test_edges_of_huge_images_take_no_time_to_plan(descriptor):
    assert len(plan(descriptor).parts) <= 20


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
    work = working_type(unknown, image, kernel).name
    assert work == dtype.name or work in listed
    if any(part.label == "instead" for part in listed.values()):
        assert work in listed
