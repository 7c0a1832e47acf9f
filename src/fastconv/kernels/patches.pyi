from typing import NamedTuple

class gather_arguments(NamedTuple):
    cols: int
    source_row: int
    source_col: int
    out_row: int
    first: int
    last: int

class find_arguments(NamedTuple):
    values: int
    span: int

GATHER: dict[int, int]
FIND_NOT_FINITE: dict[str, int]
