"""Rules that make a graph cheaper to run without changing what it computes, but for rounding.

Each rule takes the nodes of a graph and returns others. They apply in the order of `RULES`: dropout disappears, then
batch normalisation goes into the weights before it, activations into the call that they follow, and weights into
prepared convolutions.

References: Jacob et al., Quantization and training of neural networks for efficient integer-arithmetic-only inference,
2018 (batch normalisation); Chetlur et al., cuDNN: efficient primitives for deep learning, 2014 (fused activations).
"""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from fastconv import nn
from fastconv.engine.epilogue import CODES
from fastconv.graph.nodes import Node, Value, values_in
from fastconv.nn.prepared import PreparedConv

_CONVOLUTIONS = frozenset((nn.conv1d, nn.conv2d, nn.conv3d))
_DROPOUTS = frozenset((nn.dropout, nn.dropout2d, nn.random_dropout))
_WEIGHTED = _CONVOLUTIONS | {nn.linear}
_FUSING = _CONVOLUTIONS | {nn.add}

# The names by which convolutions know these functions; and the argument that each has, if any.
_ACTIVATIONS: dict[Callable[..., Any], tuple[str, str]] = {
    nn.relu: ("relu", ""),
    nn.relu6: ("relu6", ""),
    nn.leaky_relu: ("leaky_relu", "negative_slope"),
    nn.elu: ("elu", "alpha"),
    nn.sigmoid: ("sigmoid", ""),
    nn.tanh: ("tanh", ""),
    nn.silu: ("silu", ""),
    nn.hardswish: ("hardswish", ""),
    nn.softsign: ("softsign", ""),
    nn.selu: ("selu", ""),
    nn.celu: ("celu", "alpha"),
    nn.mish: ("mish", ""),
    nn.hardsigmoid: ("hardsigmoid", ""),
    nn.hardshrink: ("hardshrink", "lambd"),
    nn.softshrink: ("softshrink", "lambd"),
    nn.tanhshrink: ("tanhshrink", ""),
    nn.logsigmoid: ("logsigmoid", ""),
}

# Functions of each value alone.
ELEMENTWISE: frozenset[Callable[..., Any]] = frozenset(vars(nn)[name] for name in CODES if name in vars(nn))


@dataclass(frozen=True)
class Graph:
    """Nodes in an order in which they can run, and the names of what is returned."""

    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]

    def readers(self) -> Counter[str]:
        """How often each value is read or returned."""
        return Counter(name for node in self.nodes for name in node.reads) + Counter(self.outputs)

    def without(self, aliases: Mapping[str, str]) -> Graph:
        """Without the nodes in `aliases`, whose values are read under other names."""
        return Graph(
            tuple(
                replace(
                    node,
                    arguments=_renamed(node.arguments, aliases),
                    options={name: _renamed(option, aliases) for name, option in node.options.items()},
                )
                for node in self.nodes
                if node.name not in aliases
            ),
            tuple(aliases.get(name, name) for name in self.outputs),
        )

    def without_unread(self) -> Graph:
        read, kept = set(self.outputs), []
        for node in reversed(self.nodes):
            if node.name in read:
                kept.append(node)
                read.update(node.reads)
        return Graph(tuple(reversed(kept)), self.outputs)


def rewritten(nodes: Sequence[Node], outputs: Sequence[str]) -> Graph:
    """The graph after all rules, without nodes that nothing reads."""
    graph = Graph(tuple(nodes), tuple(outputs))
    for rule in RULES:
        graph = rule(graph)
    return graph


def without_dropout(graph: Graph) -> Graph:
    """Nothing is dropped in inference. A dropout whose scale belongs to test time still multiplies by it."""
    nodes: list[Node] = []
    aliases: dict[str, str] = {}
    for node in graph.nodes:
        if node.function not in _DROPOUTS:
            nodes.append(node)
            continue
        options = arguments_of(node)
        if options.get("scale_at", "training") == "training" and isinstance(options["x"], Value):
            source = options["x"].name
            aliases[node.name] = aliases.get(source, source)
            nodes.append(node)
        else:
            kept: dict[str, Any] = {name: options[name] for name in ("p", "scale_at") if name in options}
            nodes.append(Node(node.name, node.function, (options["x"],), kept | {"training": False}))
    return Graph(tuple(nodes), graph.outputs).without(aliases)


def with_folded_normalisation(graph: Graph) -> Graph:
    """A batch normalisation by running statistics scales and shifts what is linear before it: so may its weights."""

    def folded(before: Node, node: Node) -> Node | None:
        if before.function not in _WEIGHTED or node.function is not nn.batch_norm:
            return None
        layer, norm = arguments_of(before), arguments_of(node)
        mean, var, scale, shift = (norm.get(name) for name in ("running_mean", "running_var", "weight", "bias"))
        constants: tuple[Any, ...] = (layer["weight"], layer.get("bias"), mean, var, scale, shift)
        if norm.get("training") or layer.get("activation") is not None or not all(map(is_constant, constants)):
            return None
        constants += (norm.get("eps", 1e-5),)
        layer["weight"], layer["bias"] = nn.conv_bn_fold(*constants)
        return Node(node.name, before.function, (layer.pop("x"),), layer)

    return joined(graph, folded)


def with_fused_activations(graph: Graph) -> Graph:
    """Convolutions and sums apply an activation while the result is in registers or in cache."""

    def fused(before: Node, node: Node) -> Node | None:
        if before.function not in _FUSING or node.function not in _ACTIVATIONS:
            return None
        layer, (name, parameter) = arguments_of(before), _ACTIVATIONS[node.function]
        if layer.get("activation") is not None:
            return None
        given = arguments_of(node).get(parameter)
        layer["activation"] = name if given is None else (name, given)
        return Node(node.name, before.function, (layer.pop("x"),), layer)

    return joined(graph, fused)


def with_prepared_weights(graph: Graph) -> Graph:
    """Convolutions of images by constant weights are prepared."""
    return Graph(tuple(_prepared(node) for node in graph.nodes), graph.outputs)


def with_frozen_constants(graph: Graph) -> Graph:
    """Arrays that do not change are read-only: recordings may keep them."""
    return Graph(
        tuple(
            replace(
                node,
                arguments=tuple(map(_frozen, node.arguments)),
                options={name: _frozen(option) for name, option in node.options.items()},
            )
            for node in graph.nodes
        ),
        graph.outputs,
    )


RULES: tuple[Callable[[Graph], Graph], ...] = (
    Graph.without_unread,
    without_dropout,
    with_folded_normalisation,
    with_fused_activations,
    with_prepared_weights,
    with_frozen_constants,
)


# Functions that compute each image of a batch from that image alone.
_BY_IMAGE = ELEMENTWISE | {
    *(nn.conv2d, nn.max_pool2d, nn.avg_pool2d, nn.global_avg_pool2d, nn.global_max_pool2d),
    *(nn.add, nn.local_response_norm),
}

# Bytes of a weight that is read again for each image; larger ones are read once for all.
_MOST_OF_IMAGE = 16 << 20


def halves(graph: Graph) -> tuple[Graph, str, Graph] | None:
    """The first nodes, which compute image by image, the one value that they pass on, and the other nodes.

    None if there are none, or if they pass on several values.
    """
    count = next((at for at, node in enumerate(graph.nodes) if not _is_by_image(node)), len(graph.nodes))
    head, tail = graph.nodes[:count], graph.nodes[count:]
    wanted = {name for node in tail for name in node.reads} | set(graph.outputs)
    passed = wanted - {node.name for node in tail}
    if not head or len(passed) != 1 or not passed <= {node.name for node in head}:
        return None
    (name,) = passed
    return Graph(head, (name,)), name, Graph(tail, graph.outputs)


def _is_by_image(node: Node) -> bool:
    if isinstance(node.function, PreparedConv):
        return node.function.nbytes <= _MOST_OF_IMAGE
    if node.function is nn.cat:
        return bool(arguments_of(node).get("dim", 0) > 0)
    # A constant operand may have values of its own for each image.
    operands = arguments_of(node).get("other") if node.function is nn.add else None
    return node.function in _BY_IMAGE and not isinstance(operands, np.ndarray)


def arguments_of(node: Node) -> dict[str, Any]:
    """The arguments and options of a node by their names; those that were not given are left out."""
    signature, options = inspect.signature(node.function), dict(node.options)
    if "input" in options and "x" in signature.parameters:  # torch's name
        options["x"] = options.pop("input")
    return dict(signature.bind(*node.arguments, **options).arguments)


def joined(graph: Graph, join: Callable[[Node, Node], Node | None]) -> Graph:
    """The graph in which `join` makes one node of two, the second of which alone reads the first."""
    readers = graph.readers()
    nodes: dict[str, Node] = {}
    for node in graph.nodes:
        before = nodes.get(node.reads[0]) if node.reads else None
        joint = None
        if before is not None and node.reads.count(before.name) == readers[before.name] == 1:
            joint = join(before, node)
        if joint is not None and before is not None:
            del nodes[before.name]
        nodes[node.name] = joint or node
    return Graph(tuple(nodes.values()), graph.outputs)


def _prepared(node: Node) -> Node:
    if node.function is not nn.conv2d:
        return node
    layer = arguments_of(node)
    x, weight, bias = layer.pop("x"), layer.pop("weight"), layer.pop("bias", None)
    if not (is_constant(weight) and is_constant(bias)) or "out" in layer:
        return node
    return Node(node.name, nn.prepare_conv2d(weight, bias, **layer, copy=False), (x,))


def _frozen(argument: Any) -> Any:
    if not isinstance(argument, np.ndarray):
        return argument
    view = argument.view()
    view.flags.writeable = False
    return view


def is_constant(argument: Any) -> bool:
    """Whether there is no value in an argument of a node."""
    return next(values_in(argument), None) is None


def _renamed(argument: Any, aliases: Mapping[str, str]) -> Any:
    if isinstance(argument, Value):
        return Value(aliases.get(argument.name, argument.name))
    if isinstance(argument, tuple | list):
        return type(argument)(_renamed(item, aliases) for item in argument)
    return argument
