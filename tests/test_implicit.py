"""Blocks of the implicit product, made so small that every problem has several in each direction."""

import numpy as np
import pytest

from cases import CASES, DTYPES, integers
from fastconv.engine.convolution import implicit
from fastconv.engine.convolution.base import DEFAULT_MAX_WORKSPACE
from fastconv.engine.convolution.reference import convolve
from fastconv.engine.epilogue import Epilogue
from fastconv.engine.geometry import ConvGeometry
from fastconv.kernels import slots

RELU = 1


def forget():
    implicit._launch.cache_clear()
    implicit._packing.cache_clear()


@pytest.fixture
def blocks(monkeypatch):
    """Sets the size of a block; what was remembered of other sizes is forgotten."""

    def choose(steps, positions, fits_l1):
        monkeypatch.setattr(implicit, "_steps", lambda geometry, itemsize: min(steps, geometry.reduction))
        monkeypatch.setattr(implicit, "_block_positions", lambda channels, nr, itemsize: positions)
        monkeypatch.setattr(implicit, "_fits_l1", lambda values, itemsize: fits_l1)
        monkeypatch.setattr(implicit, "_BLOCK_CHANNELS", slots.MR)
        forget()

    yield choose
    forget()


PROBLEMS = {name: geometry.as_2d() for name, geometry in CASES.items()} | {
    f"{channels}_channels": ConvGeometry.parse(f"n1 g2 ic6 oc{2 * channels} ih6 iw7 k3 p1")
    for channels in (slots.MR - 1, slots.MR, slots.MR + 1, 3 * slots.MR + 2)
}
del PROBLEMS["kernel_past_image"]  # its reduction of 15625 steps has blocks anyway


@pytest.mark.per_isa
@pytest.mark.parametrize("name", PROBLEMS)
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(
    ("steps", "positions", "fits_l1"),
    [(1, 1, False), (4, 9, True), (7, 40, False), (9, 30, True), (1000, 2, False), (1000, 50, False)],
)
def test_blocks_do_not_matter(blocks, name, dtype, steps, positions, fits_l1):
    blocks(steps, positions, fits_l1)
    geometry = PROBLEMS[name]
    x, weight = integers(geometry, dtype)
    epilogue = Epilogue(np.arange(geometry.oc, dtype=dtype) - 2, RELU)
    expected = convolve(geometry, x, weight, epilogue)
    strategy = implicit.Implicit()
    prepared = strategy.prepare(geometry, weight, 2)
    for threads in (1, 2):
        out = np.full(geometry.out_shape, np.nan, dtype)
        strategy.run(geometry, x, prepared, out, epilogue, threads, DEFAULT_MAX_WORKSPACE)
        np.testing.assert_array_equal(out, expected)
