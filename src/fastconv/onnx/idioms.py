"""What exporters write as several nodes, read as the one function that it is.

An activation has many spellings: x * clip(x + 3, 0, 6) / 6 and x * hard_sigmoid(x) are both `hardswish`. So formulas
are not compared by their form: one that depends on a single value by elementwise steps is computed at sample points,
and what agrees with a function of `fastconv.nn` at all of them is that function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import cache, partial
from typing import Any

import numpy as np

from fastconv import nn
from fastconv.graph import Value
from fastconv.graph.nodes import Node
from fastconv.graph.rewriting import Graph, arguments_of, is_constant, joined
from fastconv.onnx import layers
from fastconv.onnx.arrays import by_numpy

# Steps of a formula, each a smooth function or made of two or three.
_ELEMENTWISE: frozenset[Callable[..., Any]] = frozenset(
    (
        nn.add,
        nn.relu,
        nn.relu6,
        nn.sigmoid,
        nn.tanh,
        layers.add,
        *(
            by_numpy(function)
            for function in (
                np.subtract,
                np.multiply,
                np.negative,
                np.exp,
                np.sqrt,
                np.maximum,
                np.minimum,
                layers.clip,
                layers.divided,
                layers.erf,
                layers.hard_sigmoid,
                layers.power,
                layers.reciprocal,
                layers.softplus,
            )
        ),
    )
)
_LONGEST = 8  # nodes of a formula: gelu by tanh has as many

_FUNCTIONS: tuple[tuple[Callable[..., Any], dict[str, Any]], ...] = (
    (nn.relu, {}),
    (nn.relu6, {}),
    (nn.sigmoid, {}),
    (nn.silu, {}),
    (nn.hardswish, {}),
    (nn.gelu, {}),
    (nn.gelu, {"approximate": "tanh"}),
)

# Dense where the functions bend, and far enough out that a bound shows; a constant rounded to float32 makes less of a
# difference than the tolerance.
_FAR = np.geomspace(1e-4, 1e6, 101)
_POINTS = np.concatenate([-_FAR[::-1], np.linspace(-10, 10, 201), _FAR])
_TOLERANCE = 1e-6

_WEIGHTED = frozenset((nn.conv1d, nn.conv2d, nn.conv3d, nn.linear))
_DIVIDED = by_numpy(layers.divided)
_LINEAR = frozenset((nn.add, by_numpy(np.multiply), _DIVIDED))


def simplified(graph: Graph) -> Graph:
    """`graph` with fewer nodes, which computes the same but for rounding."""
    for rule in (_without_copies, _with_activations, partial(joined, join=_with_constants)):
        graph = rule(graph)
    return graph.without_unread()


def _without_copies(graph: Graph) -> Graph:
    aliases: dict[str, str] = {}
    for node in graph.nodes:
        if node.function is layers.same and isinstance(node.arguments[0], Value):
            source = node.arguments[0].name
            aliases[node.name] = aliases.get(source, source)
    return graph.without(aliases)


def _with_activations(graph: Graph) -> Graph:
    nodes: dict[str, Node] = {}
    order = {node.name: at for at, node in enumerate(graph.nodes)}
    for node in graph.nodes:
        nodes[node.name] = node
        nodes[node.name] = _as_activation(node, nodes, order) or node
    return Graph(tuple(nodes.values()), graph.outputs)


def _as_activation(node: Node, nodes: Mapping[str, Node], order: Mapping[str, int]) -> Node | None:
    """The activation that `node` is the last step of."""
    for x, steps in _formulas(node, nodes, order):
        if len(steps) == 1 and node.function in {of for of, _ in _FUNCTIONS}:
            continue
        values = {x: _POINTS}
        try:
            for step in steps:
                values[step.name] = np.asarray(step.called(values), np.float64)
        except (TypeError, ValueError):  # of a broken model, which a call will tell
            return None
        for (function, options), expected in zip(_FUNCTIONS, _at_points(), strict=True):
            if values[node.name].shape == expected.shape and np.allclose(
                values[node.name], expected, _TOLERANCE, _TOLERANCE
            ):
                return Node(node.name, function, (Value(x),), options)
    return None


def _formulas(node: Node, nodes: Mapping[str, Node], order: Mapping[str, int]) -> Iterator[tuple[str, list[Node]]]:
    """The ways to see `node` as a function of one value: the value, and the steps from it, shortest first."""
    steps: list[Node] = []
    open_values = [node.name]  # what the steps read and do not compute
    while len(steps) < _LONGEST:
        last = max(open_values, key=lambda name: order.get(name, -1))
        step = nodes.get(last)
        if step is None or not _is_elementwise(step):
            return
        steps.insert(0, step)
        open_values = [name for name in dict.fromkeys((*open_values, *step.reads)) if name != last]
        if not open_values:
            return
        if len(open_values) == 1:
            yield open_values[0], steps


def _is_elementwise(node: Node) -> bool:
    """Whether `node` is a step of a formula, whose constants are single floats."""
    arguments = (*node.arguments, *node.options.values())
    constants = [np.asarray(argument) for argument in arguments if argument is not None and is_constant(argument)]
    return node.function in _ELEMENTWISE and all(
        constant.size == 1 and constant.ndim < 2 and constant.dtype.kind == "f" for constant in constants
    )


@cache
def _at_points() -> tuple[np.ndarray, ...]:
    return tuple(function(_POINTS, **options) for function, options in _FUNCTIONS)


def _with_constants(before: Node, node: Node) -> Node | None:
    """Constants that a layer's result is multiplied by, or that are added to it, may go into its weights."""
    if before.function not in _WEIGHTED or node.function not in _LINEAR or len(node.reads) != 1 or node.options:
        return None
    layer, constants = arguments_of(before), [term for term in node.arguments if isinstance(term, np.ndarray)]
    weight, bias = layer["weight"], layer.get("bias")
    if not (isinstance(weight, np.ndarray) and isinstance(bias, np.ndarray | None)):
        return None
    if len(constants) != 1 or (node.function == _DIVIDED and constants[0] is node.arguments[0]):
        return None
    (constant,), filters = constants, len(weight)
    per_channel, most_axes = (filters, *(1,) * (weight.ndim - 2)), 1 if before.function is nn.linear else weight.ndim
    fits = constant.size == 1 or (constant.size == filters and constant.shape[-len(per_channel) :] == per_channel)
    if constant.dtype != weight.dtype or not fits or constant.ndim > most_axes:
        return None
    constant = np.broadcast_to(constant.reshape(-1), filters)
    if node.function is nn.add:
        layer["bias"] = constant if bias is None else bias + constant
    else:
        with np.errstate(divide="ignore"):
            factor = 1 / constant if node.function == _DIVIDED else constant
        if not np.isfinite(factor).all():
            return None
        layer["weight"] = weight * factor.reshape(filters, *(1,) * (weight.ndim - 1))
        layer["bias"] = None if bias is None else bias * factor
    return Node(node.name, before.function, (layer.pop("x"),), layer)
