"""Blocks of positions and filters of `im2row`, made so small that most problems have several, in both layouts."""

import numpy as np
import pytest

from cases import CASES, DTYPES, integers
from fastconv.engine.convolution import im2row
from fastconv.engine.convolution.base import DEFAULT_MAX_WORKSPACE
from fastconv.engine.convolution.reference import convolve
from fastconv.engine.epilogue import Epilogue
from fastconv.engine.geometry import ConvGeometry
from fastconv.kernels import slots

RELU = 1

# Windows, and 1×1 kernels whose channels and filters fill steps of four and panels, or do not.
NAMES = ("batch", "stride_2", "groups_stride_dilation", "pointwise_stride")
PROBLEMS = {name: CASES[name].as_2d() for name in NAMES} | {
    f"{channels}_to_{filters}": ConvGeometry.parse(f"n2 ic{channels} oc{filters} ih6 iw7 k1")
    for channels, filters in ((8, 24), (11, 25), (13, 100))
}


def forget():
    im2row._launch.cache_clear()
    im2row._packing.cache_clear()


@pytest.fixture
def blocks(monkeypatch):
    """Sets the size of a block; what was remembered of other sizes is forgotten."""

    def choose(steps, groups):
        monkeypatch.setattr(im2row, "_STEPS", steps)
        monkeypatch.setattr(im2row, "_rows", lambda geometry, itemsize: groups * slots.MR)
        monkeypatch.setattr(im2row, "_BLOCK_FILTERS", 1)
        forget()

    yield choose
    forget()


def channels_last(array):
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


@pytest.mark.per_isa
@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("steps", "groups"), [(1, 1), (5, 3), (8, 100), (1000, 2), (1000, 100)])
def test_blocks_do_not_matter(blocks, name, dtype, steps, groups):
    blocks(steps, groups)
    g = PROBLEMS[name]
    x, weight = integers(g, dtype)
    epilogue = Epilogue(np.arange(g.oc, dtype=dtype) - 2, RELU)
    expected = convolve(g, x, weight, epilogue)
    strategy = im2row.Im2row()
    prepared = strategy.prepare(g, weight, 2)
    for threads in (1, 2, 3):
        for arranged in (np.asarray, channels_last):
            for run, filters in ((strategy.run, prepared), (strategy.run_once, weight)):
                out = arranged(np.full(g.out_shape, np.nan, dtype))
                run(g, arranged(x), filters, out, epilogue, threads, DEFAULT_MAX_WORKSPACE)
                np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize(
    ("descriptor", "steps"),
    [("ic256 oc1 i7 k1", 256), ("ic304 oc1 i7 k1", 152), ("ic64 oc1 i7 k3", 192), ("ic300 oc1 i7 k3", 246)],
)
def test_blocks_of_steps_are_about_equal(descriptor, steps):
    assert im2row._steps(ConvGeometry.parse(f"n1 {descriptor}")) == steps


def test_two_threads_have_equal_shares():
    """They share filters, if these are many: blocks of 49 positions would be of 28 and 21."""
    g = ConvGeometry.parse("n1 ic208 oc1248 i7 k1")
    launch = im2row._launch(g, np.dtype(np.float32), 2)
    panels = -(-g.oc // slots.NR[4])
    assert launch.tiles == launch.arguments.channel_blocks == 2
    assert launch.arguments.block_panels == -(-panels // 2)
