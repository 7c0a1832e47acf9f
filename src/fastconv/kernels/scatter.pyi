from typing import NamedTuple

class arguments(NamedTuple):
    values: int
    positions: int

SCATTER: dict[str, int]
