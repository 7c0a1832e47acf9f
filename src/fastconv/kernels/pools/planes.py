"""The integer arguments of pooling kernels: planes and tiles. Importing them loads no compiler."""

from __future__ import annotations

from typing import NamedTuple

# Values of a line of a window between two questions whether to stop: whole vectors.
STRETCH = 1 << 16

# Columns of a line of sums of rows, in L1.
PIECE = 1 << 10


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


def unrolled(p: Planes) -> tuple[int, int]:
    """The extents that are compiled in for a window: 0 stands for "read at run time".

    Windows of up to 3 × 3 whose strides are both 1 or both 2: each is a kernel of its own for every type.
    """
    is_small = max(p.kh, p.kw) <= 3 and p.sw <= 2 and (p.kh == 1 or p.sh == p.sw)
    return (p.kh, p.kw) if is_small and p.dh == p.dw == 1 else (0, 0)
