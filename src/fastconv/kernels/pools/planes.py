"""What every kernel of pooling is told of planes and of its tiles, as integers."""

from __future__ import annotations

from typing import NamedTuple


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
