"""What the kernels of pooling are told of planes and of tiles, as integers; known without a compiler."""

from __future__ import annotations

from typing import NamedTuple

# Windows of at most this extent are unrolled.
MAX_UNROLLED = 3


class Planes(NamedTuple):
    """Extents of the input, the output and the window; strides of the input in elements."""

    channels: int
    ih: int
    iw: int
    oh: int
    ow: int
    kh: int
    kw: int
    sh: int
    sw: int
    dh: int
    dw: int
    pt: int
    pl: int
    xn: int
    xc: int
    xh: int
    xw: int


class Tiles(NamedTuple):
    """A tile is `rows` output rows of one plane, of `a_plane` tiles; a worker has `room` values of scratch memory."""

    rows: int
    a_plane: int
    room: int


def unrolled(kh: int, kw: int, dense: bool) -> tuple[int, int]:
    """The extents that are compiled in for a window: 0 stands for "read at run time"."""
    return (kh, kw) if dense and max(kh, kw) <= MAX_UNROLLED else (0, 0)
