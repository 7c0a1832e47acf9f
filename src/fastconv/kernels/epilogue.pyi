from typing import NamedTuple

class arguments(NamedTuple):
    values: int
    channels: int
    activation: int

ROW: dict[str, int]
PLANES: dict[str, int]
