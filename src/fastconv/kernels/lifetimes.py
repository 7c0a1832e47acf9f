"""Arrays that are not needed at the same time share memory: the results within a network, the scratch of a recording.

Each is a storage with a lifetime: the first and the last step that need its values. Two storages may overlap in
memory if their lifetimes do not. The largest come first, each at the lowest offset where it fits, as in
"greedy by size" of Pisarchyk and Lee, Efficient memory management for deep neural net inference, 2020.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

ALIGNMENT = 64
"""Storages begin on cache lines."""


@dataclass(slots=True)
class Storage:
    """Memory that is needed from step `first` to step `last`, both included."""

    nbytes: int
    first: int
    last: int

    def meets(self, other: Storage) -> bool:
        """Whether there is a step that needs both."""
        return self.first <= other.last and other.first <= self.last


def offsets_in_block(storages: Mapping[str, Storage]) -> tuple[dict[str, int], int]:
    """Where each storage lies in a block of memory, and the size of that block, in bytes."""
    offsets: dict[str, int] = {}
    size = 0
    for name, storage in sorted(storages.items(), key=lambda item: (-item[1].nbytes, item[1].first)):
        taken = sorted((offsets[other], storages[other].nbytes) for other in offsets if storage.meets(storages[other]))
        offset = 0
        for begin, nbytes in taken:
            if offset + storage.nbytes <= begin:
                break
            offset = max(offset, _aligned(begin + nbytes))
        offsets[name] = offset
        size = max(size, offset + storage.nbytes)
    return offsets, size


def _aligned(offset: int) -> int:
    return -(-offset // ALIGNMENT) * ALIGNMENT
