"""The integer arguments of pooling kernels: planes and tiles. Importing them loads no compiler."""

from __future__ import annotations

from typing import NamedTuple

# Number of values in a line of a window between two checks whether to stop; whole vectors.
STRETCH = 1 << 16

# Number of columns in a line of sums of rows, which stays in L1.
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
    """A tile is `rows` output rows of a plane, which has `per_plane` tiles; a worker has `scratch` values to itself."""

    rows: int
    per_plane: int
    scratch: int
