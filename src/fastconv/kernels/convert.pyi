from typing import NamedTuple

class arguments(NamedTuple):
    values: int
    span: int
    kind: int

CONVERT: int
KINDS: dict[tuple[str, str], int]
