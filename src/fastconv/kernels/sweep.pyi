from fastconv.kernels.slots import Slot

LANES: dict[int, int]
RUN: dict[str, int]
WIDE_ROWS: int
WIDE_3_ROWS: int
KERNELS: dict[str, Slot]

def strip_lines(rows: int, kh: int, row_lines: int, tap_lines: int, by_tap: bool) -> int: ...
def line_pitch(cols: int, every: int, reach: int, planes: int, plane_pitch: int, unit: int, size: int) -> int: ...
def pitch_of(width: int, size: int) -> int: ...
