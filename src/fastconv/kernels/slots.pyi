from typing import Protocol

import numpy.typing as npt

class Arguments(tuple[int, ...]):
    """A kernel's integers: a named tuple of the fields of its struct."""

    _fields: tuple[str, ...]
    def __getattr__(self, field: str) -> int: ...
    def _replace(self, **fields: int) -> Arguments: ...
    def _asdict(self) -> dict[str, int]: ...

class ArgumentsOf(Protocol):
    """The type of one kernel's `Arguments`."""

    _fields: tuple[str, ...]
    def __call__(self, **fields: int) -> Arguments: ...

class Slot:
    """A kernel: its arguments, and the addresses of its functions by type."""

    arguments: ArgumentsOf
    functions: dict[str, int]
    scratch: dict[str, int]
    packed: dict[str, int]
    def __init__(
        self,
        arguments: ArgumentsOf,
        functions: dict[str, int],
        scratch: dict[str, int] | None = None,
        packed: dict[str, int] | None = None,
    ) -> None: ...

CACHE_LINE: int
VECTOR_BYTES: int
MR: int
LANES: dict[int, int]
NR: dict[int, int]
MOST_SHARING: int
MOST_BYTES: int
BLOCK_TERMS: int
INSTRUCTIONS: dict[str, int]
SHIFT_BITS: int
NETWORK_TARGET: int
AXES: dict[tuple[int, int, int], int]
ABREAST: int
NEIGHBOURS: int

def table() -> dict[str, Slot]: ...
def kernel(name: str, dtype: npt.DTypeLike) -> int: ...
def arguments(name: str) -> ArgumentsOf: ...
def scratch(name: str, dtype: npt.DTypeLike, ints: tuple[int, ...]) -> int: ...
def packed(name: str, dtype: npt.DTypeLike, ints: tuple[int, ...]) -> int: ...
def kernels() -> tuple[tuple[str, str], ...]: ...
