from typing import NamedTuple

class arguments(NamedTuple):
    groups: int
    icg: int
    ocg: int
    ih: int
    iw: int
    oh: int
    ow: int
    kh: int
    kw: int
    sh: int
    sw: int
    dh: int
    pt: int
    pl: int
    unit: int
    least_rows: int
    least_cols: int
    block_rows: int
    across: int
    stride: int
    every: int
    flat: int
    runs: int
    long_runs: int
    run: int
    spread: int
    row_tile: int
    row_tiles: int
    strip_rows: int
    strip_cols: int
    in_place: int
    first_inside: int
    last_inside: int
    image_lines: int
    strip_lines: int
    row_lines: int
    tap_lines: int
    segment: int
    line_step: int
    by_tap: int
    planes: int
    step: int
    reach: int
    plane_pitch: int
    xn: int
    xc: int
    xh: int
    xw: int
    activation: int

KINDS: tuple[str, ...]
FILTERS: dict[str, int]
ROLLING: dict[str, int]
COMPUTE: dict[int, int]
LANES: dict[str, int]
RUN: dict[str, int]
WIDE_ROWS: int
WIDE_3_ROWS: int

def strip_lines(rows: int, kh: int, row_lines: int, tap_lines: int, by_tap: bool) -> int: ...
def line_pitch(cols: int, every: int, reach: int, planes: int, plane_pitch: int, unit: int, size: int) -> int: ...
def pitch_of(width: int, size: int) -> int: ...
def scratch(tiles: arguments, size: int) -> int: ...
