"""What tiling allows: counted as threads would take tiles, without threads. No test asserts a time."""

import numpy as np
import pytest
from benchmarks import scaling
from benchmarks.scaling import Layer, Region
from hypothesis import given
from hypothesis import strategies as st

import fastconv
from fastconv.engine.geometry import ConvGeometry
from fastconv.kernels import threads as team


@given(tiles=st.integers(1, 300), threads=st.integers(1, 128), grain=st.integers(1, 20))
def test_allowed_is_what_threads_in_turn_achieve(tiles, threads, grain):
    loads, left = [0] * threads, tiles
    while left:
        taken = min(grain, left)
        loads[loads.index(min(loads))] += taken
        left -= taken
    allowed = Region(1.0, tiles, threads, grain).allowed
    assert 1 <= allowed <= threads
    # Whoever takes the last, smaller chunk may finish sooner than this counts.
    assert tiles / max(loads) >= allowed >= tiles / (max(loads) + grain - 1)


def test_no_tiles_allow_nothing():
    assert Region(1.0, 0, 8, 1).allowed == 1


def test_layers_add_up_what_is_serial():
    regions = (Region(3.0, 3, 8, 1), Region(4.0, 16, 8, 1))
    assert Layer(None, regions, 1.0).allowed == pytest.approx(8 / (1 + 3 / 3 + 4 / 8))


def test_networks_weight_layers_by_their_time():
    assert scaling.allowed_by_network([(2, 1.0, 4.0), (1, 2.0, 1.0)]) == pytest.approx(4 / (0.5 + 2))


@pytest.mark.parametrize("threads", [1, 8, 64])
@pytest.mark.parametrize(
    "descriptor",
    ["ic8 oc16 i12 k3 p1", "g8 ic8 oc8 i12 k3 p1", "ic8 oc16 i12 k1", "ic2 oc3 id4 ih5 iw5 kd3 kh3 kw3 p1"],
)
def test_regions_are_listed_and_run(descriptor, threads):
    geometry, run_tiles = ConvGeometry.parse(descriptor), team.run_tiles
    layer = scaling.planned_layer(geometry, threads)
    assert team.run_tiles is run_tiles
    assert layer.regions
    assert all(region.threads <= threads for region in layer.regions)
    assert 1 <= layer.allowed <= threads
    plan, call = scaling.planned_call(geometry, threads)
    with scaling.listed_regions() as regions:
        call()
    assert [r[1:] for r in regions] == [r[1:] for r in layer.regions]
    assert plan is layer.plan


def test_listed_calls_compute_the_same():
    geometry = ConvGeometry.parse("ic8 oc16 i12 k3 p1")
    x, weight = scaling.Problem("conv", geometry).arrays()
    with scaling.listed_regions():
        _, call = scaling.planned_call(geometry, 16)
        call()
    out = call.args[3]
    np.testing.assert_array_equal(out, fastconv.prepare_conv2d(weight, padding=1)(x))


def test_many_tiles_keep_four_threads_busy():
    layer = scaling.planned_layer(ConvGeometry.parse("g512 ic512 oc512 i28 k3 p1"), 4)
    assert max(region.allowed for region in layer.regions) > 3


@pytest.mark.parametrize("arguments", [["no_network"], ["vgg16", "--threads", "0"]])
def test_arguments_are_checked(arguments, capsys):
    with pytest.raises(SystemExit):
        scaling.main(arguments)
    assert "expected" in capsys.readouterr().err
