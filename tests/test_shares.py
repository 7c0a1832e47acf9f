"""How two threads share blocks of positions and panels of output channels."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastconv.engine.convolution.base import share_blocks, share_panels

extents = st.integers(1, 200)


@given(st.integers(0, 200), extents, st.integers(1, 64), st.integers(1, 16), st.integers(1, 8))
def test_shares_cover_everything(blocks, more, panels, least, threads):
    """There are as many blocks as asked for, or more if there can be; every panel is in a block of channels."""
    shared = share_blocks(blocks, blocks + more, panels, least, threads)
    assert blocks <= shared <= blocks + more
    assert 1 <= share_panels(panels, least, shared, threads) <= panels


@given(extents, st.integers(1, 64), st.integers(1, 16))
def test_two_threads_share_evenly(blocks, panels, least):
    """The busier of two threads has at most an eighth more tiles than its share."""
    shared = share_blocks(blocks, 2 * blocks, panels, least, 2)
    parts = -(-panels // share_panels(panels, least, shared, 2))
    tiles = shared * parts
    assert -(-tiles // 2) * 16 <= tiles * 9


@pytest.mark.parametrize("threads", [1, 2])
def test_one_thread_gets_the_blocks_that_suit_caches(threads):
    assert share_blocks(9, 100, 3, 4, threads) == (9 if threads == 1 else 10)
    assert share_panels(3, 4, 9, 1) == 3
