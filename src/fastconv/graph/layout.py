"""What a graph does with images of certain shapes: where each result lies in memory, and what is left to call.

Nothing infers shapes: the first call with images of new shapes runs the nodes one by one and looks at what they
return. A result that shares memory with an operand is a view, which later calls make anew. All others whose function
takes `out` get a place in one block of memory, or are written straight into what the program returns. Two things then
need no memory, and one of them no call, either: a concatenation whose operands were written where it wants them, and
the result of an elementwise function, which takes the place of an operand that nobody else reads afterwards.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import numpy as np

from fastconv import nn
from fastconv.graph.nodes import Node, Value
from fastconv.graph.rewriting import ELEMENTWISE, Graph, arguments_of
from fastconv.kernels.lifetimes import Storage, offsets_in_block

# Functions that may store their result over their first argument.
_OVER_THE_FIRST = ELEMENTWISE | {nn.add, nn.prelu, nn.batch_norm}


class Place(NamedTuple):
    """Where a result lies: in the block, or in the new array of a result that is returned."""

    returned: str | None
    offset: int
    shape: tuple[int, ...]
    dtype: np.dtype


@dataclass(frozen=True, slots=True)
class Step:
    """One node of a graph in a program."""

    node: Node
    place: Place | None
    """Where its result lies; None if it is a view, or in memory of the function's own."""
    over: str | None
    """The operand that its result replaces."""
    calls: bool
    """False for a concatenation of what already lies side by side."""
    dropped: tuple[str, ...]
    """Values that no later step reads."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The steps of a graph for images of certain shapes.

    Attributes
    ----------
    steps : tuple of Step
    nbytes : int
        Size of the block of memory.
    returned : dict
        Shape and type of each new array that steps write to.
    shapes : dict
        Shape and type of each value.
    constants : dict
        Values that are the same for all images of these shapes.
    """

    steps: tuple[Step, ...]
    nbytes: int
    returned: Mapping[str, tuple[tuple[int, ...], np.dtype]]
    shapes: Mapping[str, tuple[tuple[int, ...], np.dtype]]
    constants: Mapping[str, np.ndarray]


def traced(graph: Graph, images: Mapping[str, np.ndarray]) -> tuple[dict[str, np.ndarray], Layout]:
    """The values that the graph returns for these images, and the layout for others like them."""
    last = _last_readers(graph)
    arrays: dict[str, np.ndarray] = dict(images)
    owner = {name: name for name in images}
    shapes = {name: (array.shape, array.dtype) for name, array in images.items()}
    storages: dict[str, Storage] = {}
    constants: dict[str, np.ndarray] = {}
    for at, node in enumerate(graph.nodes):
        array = arrays[node.name] = node.called(arrays)
        if not isinstance(array, np.ndarray):
            raise TypeError(f"{node.name} returned {type(array).__name__}: expected an ndarray")
        shapes[node.name] = array.shape, array.dtype
        if node.name not in graph.outputs and _depends_on_shapes(node, constants):
            constants[node.name], owner[node.name] = array.copy(), node.name
            constants[node.name].flags.writeable = False
            continue
        source = next((name for name in node.reads if np.may_share_memory(array, arrays[name])), None)
        owner[node.name] = node.name if source is None else owner[source]
        if source is None and _takes_out(node.function) and array.flags.c_contiguous and array.size:
            storages[node.name] = Storage(array.nbytes, at, last[node.name])
        elif owner[node.name] in storages:
            of = storages[owner[node.name]]
            of.last = max(of.last, last[node.name])
        for name in set(node.reads):
            if last[name] == at:
                del arrays[name]
    return {name: arrays[name] for name in graph.outputs}, _laid_out(graph, owner, shapes, storages, last, constants)


def _last_readers(graph: Graph) -> dict[str, int]:
    """The step after which a value is not needed any more; for what is returned, the end."""
    last = {node.name: at for at, node in enumerate(graph.nodes)}
    for at, node in enumerate(graph.nodes):
        last.update(dict.fromkeys(node.reads, at))
    return last | dict.fromkeys(graph.outputs, len(graph.nodes))


def _laid_out(
    graph: Graph,
    owner: Mapping[str, str],
    shapes: Mapping[str, tuple[tuple[int, ...], np.dtype]],
    storages: dict[str, Storage],
    last: Mapping[str, int],
    constants: Mapping[str, np.ndarray],
) -> Layout:
    within: dict[str, tuple[str, int]] = {}  # a storage that is part of another, from some byte on
    joined, over = set(), {}
    returned = {owner[name] for name in graph.outputs}
    for node in graph.nodes:
        if node.name not in storages:
            continue
        if node.function is nn.cat and (parts := _parts(node, shapes, storages, within, owner)):
            within.update({part: (node.name, offset) for part, offset in parts.items()})
            joined.add(node.name)
        elif node.function in _OVER_THE_FIRST and node.name not in returned:
            source = _replaceable(node, owner, storages, within)
            if source is not None and shapes[source] == shapes[node.name]:
                within[node.name], over[node.name] = (source, 0), source
    roots: dict[str, Storage] = {}
    for name, storage in storages.items():
        root, _ = _root(name, within)
        whole = roots.setdefault(root, Storage(storages[root].nbytes, storage.first, storage.last))
        whole.first, whole.last = min(whole.first, storage.first), max(whole.last, storage.last)
    new = {_root(name, within)[0] for name in returned if name in storages}
    offsets, nbytes = offsets_in_block({name: storage for name, storage in roots.items() if name not in new})
    places = {}
    for name in storages:
        root, offset = _root(name, within)
        shape, dtype = shapes[name]
        places[name] = (
            Place(root, offset, shape, dtype) if root in new else Place(None, offsets[root] + offset, shape, dtype)
        )
    steps = tuple(
        Step(
            node,
            places.get(node.name),
            over.get(node.name),
            node.name not in joined,
            tuple({name for name in (*node.reads, node.name) if last[name] == at}),
        )
        for at, node in enumerate(graph.nodes)
        if node.name not in constants
    )
    read = {name for step in steps for name in step.node.reads}
    kept = {name: constant for name, constant in constants.items() if name in read}
    return Layout(steps, nbytes, {name: shapes[name] for name in new}, dict(shapes), kept)


def _depends_on_shapes(node: Node, constants: Mapping[str, np.ndarray]) -> bool:
    """Whether the result is the same for all images of the same shapes: `constants` are such values."""
    if getattr(node.function, "reads_shapes_only", False):
        return True
    return bool(node.reads) and all(name in constants for name in node.reads)


def _root(name: str, within: Mapping[str, tuple[str, int]]) -> tuple[str, int]:
    """The storage that `name` is part of in the end, and from which byte on."""
    offset = 0
    while name in within:
        name, more = within[name]
        offset += more
    return name, offset


def _parts(
    node: Node,
    shapes: Mapping[str, tuple[tuple[int, ...], np.dtype]],
    storages: Mapping[str, Storage],
    within: Mapping[str, tuple[str, int]],
    owner: Mapping[str, str],
) -> dict[str, int]:
    """Where the operands of a concatenation begin in its result, in bytes; nothing if it has to copy them.

    It has to unless each is a storage of its own, and lies in one piece.
    """
    options = arguments_of(node)
    shape, dtype = shapes[node.name]
    offset, offsets = 0, {}
    for value in options["tensors"]:
        name = value.name if isinstance(value, Value) else ""
        if name not in storages or owner[name] != name or name in within or name in offsets or shapes[name][1] != dtype:
            return {}
        offsets[name] = offset
        offset += storages[name].nbytes
    return offsets if prod(shape[: options.get("dim", 0) % len(shape)]) == 1 else {}


def _replaceable(
    node: Node, owner: Mapping[str, str], storages: Mapping[str, Storage], within: Mapping[str, tuple[str, int]]
) -> str | None:
    """The first argument of `node`, if nobody reads its memory afterwards."""
    value = node.arguments[0] if node.arguments else None
    if not isinstance(value, Value) or owner[value.name] != value.name or value.name not in storages:
        return None
    name = value.name
    alone = name not in within and all(root != name for root, _ in within.values())
    return name if alone and storages[name].last == storages[node.name].first else None


def _takes_out(function: Callable[..., Any]) -> bool:
    try:
        return "out" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False
