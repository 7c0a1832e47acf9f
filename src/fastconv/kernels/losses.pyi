from typing import NamedTuple

class arguments(NamedTuple):
    classes: int
    inner: int
    samples: int
    ignored: int
    each: int
    mean: int

LOSSES: dict[str, int]
