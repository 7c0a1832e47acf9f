from typing import Final, NamedTuple

class arguments(NamedTuple):
    n: int
    g: int
    ic: int
    oc: int
    ih: int
    iw: int
    kh: int
    kw: int
    oh: int
    ow: int
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

class swap_arguments(NamedTuple):
    groups: int
    M: int
    C: int
    taps: int
    phases: int

class place_arguments(NamedTuple):
    phases: int
    height: int
    width: int
    sh: int
    sw: int

SWAPPED_CHANNELS: Final[int]
SWAPPED_FILTERS: Final[int]
IM2COL: dict[str, int]
COL2IM: dict[str, int]
SWAP_FILTERS: dict[str, int]
PLACE: dict[str, int]
TOEPLITZ: dict[str, int]
