"""What tiling allows: counted as threads would take tiles, without threads. No test asserts a time."""

import numpy as np
import pytest
from benchmarks import scaling
from benchmarks.scaling import Costs, Layer, Region
from hypothesis import given
from hypothesis import strategies as st

import fastconv
from fastconv.engine.geometry import ConvGeometry
from fastconv.kernels import threads as team


@given(tiles=st.integers(1, 300), threads=st.integers(1, 128), grain=st.integers(1, 20))
def test_counts_allow_what_threads_in_turn_achieve(tiles, threads, grain):
    loads, left = [0] * threads, tiles
    while left:
        taken = min(grain, left)
        loads[loads.index(min(loads))] += taken
        left -= taken
    allowed = Region((1.0,), tiles, threads, grain).allowed
    assert 1 <= allowed <= threads
    # Whoever takes the last, smaller chunk may finish sooner than this counts.
    assert tiles / max(loads) >= allowed >= tiles / (max(loads) + grain - 1)


def test_no_tiles_allow_nothing():
    region = Region((), 0, 8, 1)
    assert (region.allowed, region.seconds, region.span(Costs(1.0, 1.0))) == (1, 0, 0)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=60), st.integers(1, 70))
def test_a_span_is_that_of_the_thread_that_ends_last(chunks, threads):
    span = Region(tuple(map(float, chunks)), len(chunks), threads, 1).span(Costs(0.0, 0.0))
    assert max(max(chunks), sum(chunks) / threads) <= span <= sum(chunks) / threads + max(chunks)


def test_threads_are_woken_two_by_each():
    costs = Costs(wake=1.0, hand_out=10.0)
    # The caller is there at once, the second and third after 1, the next four after 2; and leaving takes as long.
    for threads, levels in ((1, 0), (2, 1), (3, 1), (4, 2), (7, 2), (8, 3)):
        assert Region((100.0,) * threads, threads, threads, 1).span(costs) == 110 + 2 * levels


def test_layers_add_up_what_is_serial():
    regions = (Region((1.0,) * 3, 3, 8, 1), Region((0.25,) * 16, 16, 8, 1))
    layer = Layer(None, regions, 1.0)
    assert layer.seconds == 8
    assert layer.allowed == pytest.approx(8 / (1 + 3 / 3 + 4 / 8))
    assert layer.span(Costs(0.0, 0.0)) == 1 + 1 + 0.5


def test_the_least_of_each_chunk_counts():
    calls = [
        Layer(None, (Region(chunks, 2, 2, 1),), outside) for chunks, outside in (((1.0, 4.0), 2.0), ((3.0, 2.0), 1.0))
    ]
    assert scaling.least(calls) == Layer(None, (Region((1.0, 2.0), 2, 2, 1),), 1.0)


@pytest.mark.parametrize(
    "descriptor",
    ["ic8 oc16 i12 k3 p1", "g8 ic8 oc8 i12 k3 p1", "ic8 oc16 i12 k1", "ic2 oc3 id4 ih5 iw5 kd3 kh3 kw3 p1"],
)
def test_regions_are_listed_and_run(descriptor):
    geometry, run_tiles = ConvGeometry.parse(descriptor), team.run_tiles
    layers = scaling.planned_layers(geometry, (1, 8, 64))
    assert team.run_tiles is run_tiles
    for threads, layer in layers.items():
        assert layer.regions
        assert all(region.threads <= threads for region in layer.regions)
        assert all(len(region.chunks) == -(-region.tiles // region.grain) for region in layer.regions)
        assert 1 <= layer.allowed <= threads
    plan, call = scaling.planned_call(geometry, 64)
    with scaling.listed() as listing:
        call()
    assert [region[1:] for region in listing.regions] == [region[1:] for region in layers[64].regions]
    assert plan is layers[64].plan


def test_listed_calls_compute_the_same():
    geometry = ConvGeometry.parse("ic8 oc16 i12 k3 p1")
    x, weight = scaling.Problem("conv", geometry).arrays()
    with scaling.listed():
        _, call = scaling.planned_call(geometry, 16)
        call()
    out = call.args[3]
    np.testing.assert_array_equal(out, fastconv.prepare_conv2d(weight, padding=1)(x))


@pytest.mark.parametrize(
    ("descriptor", "threads", "least"),
    [
        ("g512 ic512 oc512 i28 k3 p1", 4, 3),
        ("ic256 oc256 i14 k3 p1", 64, 32),
        ("ic512 oc512 i28 k3 p1", 64, 32),
        ("ic256 oc256 i56 k3 p1", 16, 14),
    ],
)
def test_tiles_keep_threads_busy(descriptor, threads, least):
    plan, call = scaling.planned_call(ConvGeometry.parse(descriptor), threads)
    with scaling.listed() as listing:
        call()
    assert plan.threads == threads
    assert all(region.allowed >= least for region in listing.regions)


@pytest.mark.parametrize("arguments", [["no_network"], ["vgg16", "--threads", "0"]])
def test_arguments_are_checked(arguments, capsys):
    with pytest.raises(SystemExit):
        scaling.main(arguments)
    assert "expected" in capsys.readouterr().err
