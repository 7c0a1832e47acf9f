"""Gradients and volumes, whose solvers leave work to parts: what a plan lists is what runs, whoever is named for it."""

import contextlib
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import fastconv
from cases import DTYPES, geometries
from fastconv.engine import convolution3d, planner
from fastconv.engine.convolution.base import is_pixelwise
from fastconv.engine.convolution3d import CONVOLUTION_3D
from fastconv.engine.epilogue import PLAIN
from fastconv.engine.gradients import INPUT_GRADIENT, WEIGHT_GRADIENT
from fastconv.engine.plan import Part, Plan
from fastconv.kernels.slots import LANES, MR, NR
from fastconv.lab.oracles import ORACLES, deviation, max_error

KINDS = {kind.name: kind for kind in (CONVOLUTION_3D, INPUT_GRADIENT, WEIGHT_GRADIENT)}

# By kind: of one block, of several blocks, with groups, strides, dilations and uneven padding.
DESCRIPTORS = {
    "convolution3d": (
        "n2 ic2 oc3 id4 ih5 iw6 k3 p1",
        "n1 g2 ic4 oc2 id7 ih6 iw9 kd2 kh1 kw3 sd2 sh1 sw2 dd3 dh1 dw2 pf3 pk1 pt0 pb0 pl1 pr2",
        "n2 ic3 oc4 id6 ih5 iw4 kd3 kh1 kw1 sd1 sh1 sw1 pf1 pk1 pt0 pb0 pl0 pr0",  # of which two axes are one
        "n1 ic2 oc3 id9 ih5 iw6 kd2 kh3 kw3 sd3 sh1 sw1 dd2 dh1 dw1 p1",
        "n2 ic9 oc16 id4 i20 k3 p1",  # of which taps in the padding are left out
        "n1 g3 ic9 oc30 id3 i20 k3 d2 p3",
        "n2 ic2 oc3 id7 ih6 iw9 kd3 kh1 kw1 sd1 sh2 sw3 pf1 pk1 pt0 pb0 pl0 pr0",  # of which the stride skips rows
    ),
    "input_gradient": (
        "n2 ic3 oc4 ih19 iw21 k3 s2 p1",
        "n1 g2 ic4 oc6 ih17 iw16 kh5 kw3 sh2 sw3 d2 p2",
        "n1 ic2 oc3 ih9 iw11 k2 s3",  # between windows, inputs that none of them sees
        "n2 ic2 oc3 id5 ih5 iw6 k3 s2 p1",
        "n3 ic3 oc2 id4 ih6 iw2 k2 s2",
    ),
    "weight_gradient": (
        "n2 ic3 oc9 ih19 iw21 k3 s2 p1",
        "n2 ic17 oc130 ih34 iw40 k3 p1",
        "n3 g7 ic7 oc7 i5 k3 p1",
        "n1 g3 ic6 oc15 ih5 iw3000 kh3 kw5 d2 p4",
        "n2 ic2 oc3 id4 ih5 iw6 k3 p1",
        "n3 ic9 oc17 ih31 iw70 k1",
        "n2 ic3 oc4 id6 ih5 iw4 kd3 kh1 kw1 sd2 sh1 sw1 pf1 pk1 pt0 pb0 pl0 pr0",
        "n1 ic3 oc4 id2 ih5 iw4 kd5 kh1 kw3 sd3 sh1 sw1 pf4 pk5 pt0 pb0 pl0 pr0",  # with taps that see padding alone
    ),
}
CASES = [pytest.param(name, text, id=f"{name} {text}") for name, texts in DESCRIPTORS.items() for text in texts]


def planned(name: str, descriptor: str, dtype="float32", **options) -> Plan:
    kind = KINDS[name]
    return planner.plan(kind.parse(descriptor), dtype, kind=kind, **options)


def leaves(plan: Plan) -> list[Plan]:
    """The plans without parts, which a plan comes down to."""
    return [leaf for part in plan.parts for leaf in leaves(part.plan)] if plan.parts else [plan]


def plans_of(name: str, descriptor: str, dtype) -> list[Plan]:
    """The plans by each solver, and by each strategy of its parts, that can compute a problem."""
    found = []
    for strategy in KINDS[name].strategies():
        with contextlib.suppress(fastconv.UnsupportedError):
            found.append(planned(name, descriptor, dtype, strategy=strategy, threads=2))
    return found


@pytest.mark.per_isa
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("name", "descriptor"), CASES)
def test_integers_are_exact_by_every_strategy_that_sums(name, descriptor, dtype):
    kind = KINDS[name]
    g = kind.parse(descriptor)
    rng = np.random.default_rng(0)
    x, weight = (rng.integers(-4, 5, shape).astype(dtype) for shape in kind.shapes(g)[:2])
    expected = ORACLES[name](g, x, weight)
    summing = [plan for plan in plans_of(name, descriptor, dtype) if plan.componentwise]
    for plan in summing:
        out = np.full(expected.shape, np.nan, dtype)
        plan.run_once(x, weight, PLAIN, out)
        np.testing.assert_array_equal(out, expected, str(plan))
    solvers = {plan.strategy.name for plan in summing}
    assert solvers == {s.name for s in kind.solvers if s.refuse(g, np.dtype(dtype)) is None}


@pytest.mark.parametrize("descriptor", ["n2 ic5 oc9 i60 k3 p1", "n1 ic3 oc4 ih200 iw300 k3 p1", "g8 ic8 oc8 i120 k3"])
@pytest.mark.parametrize("solver", ["channels", "positions"])
def test_errors_of_weight_gradients_are_not_overstated(solver, descriptor):
    kind, dtype = WEIGHT_GRADIENT, np.dtype(np.float32)
    plan = planned(kind.name, descriptor, strategy=solver)
    operands = kind.operands(plan.geometry, dtype, np.random.default_rng(0))
    expected = ORACLES[kind.name](plan.geometry, *operands)
    measured = max_error(kind.call(plan, operands)(), expected, deviation(expected))
    assert plan.error / 8 <= measured <= plan.error


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("strategy", ["auto", "implicit", "direct", "winograd2", "fft"])
def test_depths_at_once_have_the_bits_of_each_alone(monkeypatch, strategy, dtype):
    rng = np.random.default_rng(0)
    x, weight = (rng.standard_normal(shape).astype(dtype) for shape in ((2, 3, 6, 9, 8), (4, 3, 3, 3, 3)))
    conv3d = fastconv.conv3d.__wrapped__

    def forget():
        convolution3d._batches.cache_clear()
        planner.forget_plans()

    options = {"stride": (2, 1, 1), "padding": 1, "strategy": strategy, "tolerance": 1.0}
    together = conv3d(x, weight, **options)
    monkeypatch.setattr(convolution3d, "_BATCH_BYTES", 0)
    forget()
    np.testing.assert_array_equal(conv3d(x, weight, **options), together)
    forget()


def test_taps_that_see_padding_alone_are_left_out():
    inner, outer = planned("convolution3d", "n2 ic9 oc16 id4 i20 k3 p1").parts[::-1]
    assert (inner.label, inner.plan.geometry.ic) == ("2 batches of depths that see 3 of 3 planes", 27)
    assert (outer.label, outer.plan.geometry.ic) == ("4 batches of depths that see 2 of 3 planes", 18)
    (depths,) = planned("convolution3d", "n2 ic9 oc16 id40 i20 k3 p1").parts
    assert depths.plan.geometry.ic == 27


def test_parts_are_what_runs():
    """The lines about calls name the geometry, strategy and threads of each part, in order."""
    code = """
import numpy as np, fastconv
f = np.float32
fastconv.conv_transpose2d(np.ones((1, 8, 20, 20), f), np.ones((8, 4, 3, 3), f), stride=2, padding=1)
fastconv.conv_transpose2d(np.ones((1, 8, 20, 20), f), np.ones((8, 4, 2, 2), f), stride=2)
fastconv.conv3d(np.ones((1, 8, 4, 20, 20), f), np.ones((6, 8, 3, 3, 3), f), strategy="winograd2")
fastconv.conv_transpose3d(np.ones((1, 2, 3, 4, 5), f), np.ones((2, 3, 3, 3, 3), f), stride=2)
fastconv.grad.conv2d_weight(np.ones((1, 3, 9, 9), f), (4, 3, 3, 3), np.ones((1, 4, 7, 7), f))
fastconv.grad.conv3d_weight(np.ones((1, 3, 4, 9, 9), f), (4, 3, 3, 3, 3), np.ones((1, 4, 2, 7, 7), f))
"""
    environment = os.environ | {"FASTCONV_VERBOSE": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    lines = [re.sub(r"^fastconv: \w+: |; \d+ bytes.*$", "", line) for line in done.stderr.splitlines()]
    threads = fastconv.get_num_threads()

    def noted(plan: Plan, part: Part) -> int:
        return 1 if plan.kind is CONVOLUTION_3D else part.times  # its depths are one loop over a prepared weight

    def ran(plan: Plan) -> str:
        threads = f"{plan.threads} thread{'s' if plan.threads > 1 else ''}"
        own = f"{plan.kind.name} {plan.geometry}, float32, by {plan.strategy.name} on {threads}"
        below = [ran(part.plan) for part in plan.parts for _ in range(noted(plan, part))]
        return "; ".join([own, *below])

    even = planned("input_gradient", "ic4 oc8 i39 k3 s2 p1", threads=threads)
    equal = planned("input_gradient", "ic4 oc8 i40 k2 s2", threads=threads)
    depths = planned("convolution3d", "ic8 oc6 id4 ih20 iw20 k3", threads=threads, strategy="winograd2")
    volume = planned("input_gradient", "ic3 oc2 id7 ih9 iw11 k3 s2", threads=threads)
    weights = planned("weight_gradient", "ic3 oc4 i9 k3", threads=threads)
    slabs = planned("weight_gradient", "ic3 oc4 id4 ih9 iw9 k3", threads=threads)

    assert lines == [ran(plan) for plan in (even, equal, depths, volume, weights, slabs)]
    assert depths.parts[0].plan.strategy.name == "winograd2"


@pytest.mark.parametrize(("name", "descriptor"), CASES)
def test_plans_are_kept_and_equal(name, descriptor):
    first = planned(name, descriptor, threads=2)
    assert planned(name, descriptor, threads=2) is first
    planner.forget_plans()
    again = planned(name, descriptor, threads=2)
    assert again is not first
    assert again == first
    assert again.parts == first.parts
    assert all(planner.plan(p.geometry, "float32", kind=p.kind, threads=2) is p for _, p, *_ in again.parts)


@given(st.data())
@pytest.mark.parametrize("ndim", [2, 3])
def test_every_phase_has_a_part(ndim, data):
    g = data.draw(geometries(ndim))
    plan = planner.plan(g, "float32", kind=INPUT_GRADIENT, strategy="phases")
    phases = [phase.geometry for phase in g.adjoint()]
    filters = Counter()
    for part in plan.parts:
        filters[replace(part.plan.geometry, oc=g.ic)] += part.times * part.plan.geometry.oc
    assert filters == {phase: g.ic * phases.count(phase) for phase in phases}
    assert sum(part.seconds for part in plan.parts) < plan.seconds
    assert plan.componentwise == all(part.plan.componentwise for part in plan.parts)
    assert max([0, *(part.plan.workspace_bytes for part in plan.parts)]) <= plan.workspace_bytes


def test_equal_phases_share_a_part():
    """Those that see the same outputs, as where kernels touch, are one convolution with all of their filters."""
    (part,) = planned("input_gradient", "ic2 oc3 ih8 iw8 k2 s2", strategy="phases").parts
    assert (part.label, part.times, part.plan.geometry.oc) == ("phases 0,0 0,1 1,0 1,1 as one", 1, 8)
    (part,) = planned("input_gradient", "ic2 oc3 ih80 iw80 k40 s40", strategy="phases").parts
    assert (part.label, part.times, part.plan.geometry.oc) == ("1600 phases from 0,0 as one", 1, 3200)
    (part,) = planned("input_gradient", "g2 ic2 oc4 ih8 iw8 k2 s2", strategy="phases").parts
    assert (part.label, part.times, part.plan.geometry.oc) == ("each of phases 0,0 0,1 1,0 1,1", 4, 2)
    by_window = planned("input_gradient", "ic2 oc3 ih8 iw8 k4 s2 p1", strategy="phases").parts
    assert [(part.times, part.plan.geometry.oc) for part in by_window] == [(1, 2)] * 4


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("images", [1, 3])
def test_phases_as_one_are_each_alone(ndim, images):
    """Whole numbers, with a bias per channel, against the sum that defines a transposed convolution."""
    rng = np.random.default_rng(ndim)
    x, weight = (rng.integers(-9, 9, (*shape, *(e,) * ndim)) for shape, e in (((images, 4), 5), ((4, 3), 2)))
    bias = np.arange(3.0)
    got = getattr(fastconv, f"conv_transpose{ndim}d")(x.astype(float), weight.astype(float), bias, stride=2)
    axes = "dhw"[:ndim], "ijk"[:ndim]
    mixed = "".join(a + b for a, b in zip(*axes, strict=True))
    expected = np.einsum(f"nc{axes[0]},cm{axes[1]}->nm{mixed}", x, weight).reshape(images, 3, *(10,) * ndim)
    np.testing.assert_array_equal(got, expected + bias.reshape(-1, *(1,) * ndim))


@pytest.mark.parametrize("images", [2, 7, 10, 23])
def test_large_batches_are_computed_in_parts(images):
    """Of one or several images; or as a whole, where few parts do not divide a batch (23)."""
    extent = 5_000_000 // images
    rng = np.random.default_rng(images)
    x, weight = rng.standard_normal((images, 2, extent // 2)).astype("f"), rng.standard_normal((2, 1, 3)).astype("f")
    whole = fastconv.nn.conv_transpose1d(x, weight, np.ones(1, "f"), stride=2)
    descriptor = f"n{images} ic1 oc2 ih1 iw{whole.shape[2]} kh1 kw3 sh1 sw2"
    (*_, part) = planned("input_gradient", descriptor).parts
    assert part.times == {2: 2, 7: 7, 10: 5, 23: 1}[images]
    for image in range(images):
        alone = fastconv.nn.conv_transpose1d(x[image], weight, np.ones(1, "f"), stride=2)
        np.testing.assert_array_equal(whole[image], alone)


def test_the_choice_of_an_image_is_that_of_a_batch():
    problems = (
        ("input_gradient", "ic24 oc32 i28 k3 s2 p1"),
        ("input_gradient", "ic64 oc64 i64 k3 s2 p1"),
        ("convolution3d", "ic8 oc9 i20 k3 p1 id9"),
    )
    for name, descriptor in problems:
        one, many = (planned(name, f"n{n} {descriptor}") for n in (1, 50))
        assert one.strategy == many.strategy
        assert [part.plan.strategy for part in one.parts] == [part.plan.strategy for part in many.parts]


@given(geometries(2, max_extent=40), st.sampled_from(DTYPES))
@pytest.mark.per_isa
def test_weight_gradients_take_the_fuller_vectors(g, dtype):
    """Which decides over the last bits of results; here in exact arithmetic."""
    lanes, channels, filters = LANES[np.dtype(dtype).itemsize], g.ic // g.g, g.oc // g.g

    def used(values: int, of: int) -> Fraction:
        return Fraction(values, -(-values // of) * of)

    columns = channels * g.kw if g.dw == 1 and g.sw <= g.kw else channels
    packing = 5 * (Fraction(1, channels) + Fraction(1, filters)) / g.taps
    by_channels = used(columns, lanes) * used(filters, MR) / (1 + packing)
    vectors = g.oh * (g.ow // lanes + (3 if g.ow % lanes else 0)) + 16
    by_positions = Fraction(g.positions, lanes * vectors)
    assume(by_positions != by_channels)
    assume(g.g > 1 or not is_pixelwise(g))  # which a third solver computes
    fuller = by_positions > by_channels and channels <= NR[np.dtype(dtype).itemsize]
    chosen = planner.plan(g, dtype, kind=WEIGHT_GRADIENT).strategy.name
    assert chosen == ("positions" if fuller else "channels")


@pytest.mark.parametrize("name", KINDS)
def test_what_has_no_other_way_is_not_refused_for_its_memory(name):
    plan = planned(name, "n256 ic640 oc64 id64 ih640 iw640 kd3 kh3 kw3 sd1 sh2 sw2 p1")
    assert plan.workspace_bytes > plan.max_workspace
    if plan.kind.limits_workspace:
        assert all(leaf.workspace_bytes <= leaf.max_workspace for leaf in leaves(plan))


def test_a_strategy_is_named_for_the_parts():
    x, weight = np.ones((1, 2, 3, 9, 9), np.float32), np.ones((2, 2, 3, 3, 3), np.float32)
    for name in ("depths", "winograd2", "direct", "fft"):
        np.testing.assert_allclose(fastconv.conv3d(x, weight, strategy=name), 54, rtol=1e-5)
    with pytest.raises(
        fastconv.UnsupportedError, match=r"'winograd6' cannot compute n1 ic6 oc2 ih9 iw9 .*: computes stride 1"
    ):
        fastconv.conv3d(x, weight, stride=2, strategy="winograd6")
    with pytest.raises(
        ValueError, match=r"strategy='phases': expected 'auto' or one of flat, sampled, depths, .*, reference"
    ):
        fastconv.conv3d(x, weight, strategy="phases")


@pytest.mark.parametrize(("name", "descriptor"), CASES)
def test_reports_list_every_part(name, descriptor):
    plan = planned(name, descriptor, threads=2)
    report = [line.strip(" │├└─") for line in str(plan).splitlines()]
    waiting = list(plan.parts)
    for part in waiting:
        waiting += part.plan.parts
        if not part.label:  # the whole in other words, which is named with it
            continue
        threads = f"{part.plan.threads} thread{'s' if part.plan.threads > 1 else ''}"
        names, inner = part.plan.strategy.name, part.plan
        while len(inner.parts) == 1 and not inner.parts[0].label:
            inner = inner.parts[0].plan
            names += f" by {inner.strategy.name}"
        begin = f"{part.label}: {names} on {threads}, "
        assert any(line.startswith(begin) and below == str(part.plan.geometry) for line, below in pairwise(report))


def test_reports_of_phases_fit_a_page():
    tree = str(planned("input_gradient", "ic64 oc64 i56 k3 s2 p1", threads=2, strategy="phases")).splitlines()[-8:]
    assert max(map(len, tree)) <= 78
