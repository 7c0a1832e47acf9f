"""From a model's graph to a `fastconv.Network`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.shape_inference
from onnx import external_data_helper, numpy_helper

from fastconv.errors import UnsupportedError
from fastconv.graph import Network, Value
from fastconv.graph.nodes import values_in
from fastconv.graph.rewriting import Graph
from fastconv.onnx.arrays import by_numpy
from fastconv.onnx.idioms import simplified
from fastconv.onnx.operators import OPERATORS, TYPES
from fastconv.onnx.quantised import STORED, narrowed, widened

# Versions of ONNX's own operators that the table is written for.
_OPSETS = range(6, 29)

_FLOATS = {
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.DOUBLE,
    *(number for number, wide in STORED.items() if wide.kind == "f"),
}

# Values of a constant that may be the shape of an array.
_FEW_VALUES = 64

# Most bytes of a constant that is computed while a model is read.
_MOST_BYTES = 1 << 31


class Node:
    """One node of a model, as operators see it.

    Attributes
    ----------
    name, kind : str
    inputs : tuple
        Values of the network, constant arrays, or None for what is left out.
    results : tuple of str
        The names of its outputs.
    opset : int
    outputs : int
        How many outputs the model reads.
    type : int
        ONNX's number of the first output's type; 0 if it is not known.
    ranks : tuple
        How many axes each input has; None where that is not known.
    """

    def __init__(
        self,
        proto: onnx.NodeProto,
        inputs: Sequence[Any],
        opset: int,
        outputs: int,
        type: int,
        ranks: Sequence[int | None],
        call: Callable[..., Any],
    ) -> None:
        self.name, self.kind, self.opset, self.outputs = proto.name, proto.op_type, opset, outputs
        self.inputs, self.results = tuple(inputs), tuple(proto.output)
        self.type, self.ranks, self.call = type, tuple(ranks), call
        self._attributes = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in proto.attribute}

    @property
    def is_float(self) -> bool:
        """Whether the first output is known to hold what we compute as floats of 32 or 64 bits."""
        return self.type in _FLOATS

    def input(self, at: int) -> Any:
        return self.inputs[at] if at < len(self.inputs) else None

    def attribute(self, name: str, default: Any = None) -> Any:
        value = self._attributes.get(name, default)
        if isinstance(value, bytes):
            return value.decode()
        if isinstance(value, onnx.TensorProto):
            return _array(value, self.name)
        return value


def load(model: str | os.PathLike[str] | bytes | onnx.ModelProto) -> Network:
    """An ONNX model as a network; `Network.prepare` makes a program of it.

    Weights are constants, what only depends on constants is computed here, formulas of activations become the functions
    that they are, and the batch and the extents of images are open, as far as the model's own shapes allow.

    Parameters
    ----------
    model : path, bytes or ModelProto
        External data is read from the folder of the model only.

    Returns
    -------
    fastconv.Network

    Raises
    ------
    UnsupportedError
        The model has operators, types or versions that are not supported: all of them are listed.
    ValueError
        The model is broken: a node reads what no earlier one gives, or a weight does not have the bytes of its shape.

    Examples
    --------
    >>> from onnx import TensorProto, helper
    >>> images = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("x", "y")]
    >>> graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "rectify", images[:1], images[1:])
    >>> load(helper.make_model(graph))(np.array([-1, 2], np.float32))
    array([0., 2.], dtype=float32)
    """
    proto = _parsed(model)
    graph, opset = proto.graph, _opset(proto)
    _check_operators(graph)
    network, (types, ranks) = Network(graph.name), _inferred(proto)
    known: dict[str, Any] = {"": None}
    for tensor in graph.initializer:
        known[tensor.name] = _array(tensor, tensor.name)
    for image in graph.input:
        if image.name not in known:
            _check_type(image)
            known[image.name] = value = network.input(image.name)
            if (number := image.type.tensor_type.elem_type) in STORED:
                known[image.name] = network.call(by_numpy(widened), value, number)
    read = {name for node in graph.node for name in node.input} | {output.name for output in graph.output}
    for at, node in enumerate(graph.node):
        label = node.name or f"number {at}"
        inputs = []
        for name in node.input:
            if name not in known:
                raise ValueError(
                    f"{node.op_type} {label!r} reads {name!r}, which neither the model's inputs nor earlier nodes give"
                )
            inputs.append(known[name])
        wanted = max((number for number, name in enumerate(node.output, 1) if name in read), default=0)
        call = _caller(network, node.output[0] if node.output else label)
        type_of_first = types.get(node.output[0] if node.output else "", 0)
        axes = [ranks.get(name) for name in node.input]
        seen = Node(node, inputs, opset, wanted, type_of_first, axes, call)
        results = OPERATORS[node.op_type](seen)
        results = results if isinstance(results, tuple) else (results,)
        known.update(zip((name for name in node.output), results, strict=False))
    for output in graph.output:
        if output.name not in known:
            raise ValueError(f"output {output.name!r}: no node of the model gives it")
        value = known[output.name]
        if (number := types.get(output.name, 0)) in STORED:
            value = _caller(network, f"{output.name} as stored")(by_numpy(narrowed), value, number, False)
        network.output(value if isinstance(value, Value) else network.call(np.copy, value, name=output.name))
    simple = simplified(Graph(tuple(network.nodes), tuple(network.outputs)))
    network.nodes, network.outputs = list(simple.nodes), list(simple.outputs)
    return network


def _parsed(model: Any) -> onnx.ModelProto:
    if isinstance(model, onnx.ModelProto):
        return model
    try:
        if isinstance(model, bytes):
            return onnx.load_from_string(model)
        proto = onnx.load(os.fspath(model), load_external_data=False)
    except (OSError, TypeError):
        raise
    except Exception as reason:  # protobuf's own exceptions
        raise ValueError(f"model: expected an ONNX model ({reason})") from None
    external_data_helper.load_external_data_for_model(proto, str(Path(model).resolve().parent))
    return proto


def _opset(proto: onnx.ModelProto) -> int:
    versions = {entry.domain or "ai.onnx": entry.version for entry in proto.opset_import}
    opset = int(versions.get("ai.onnx", 1))
    if opset not in _OPSETS:
        raise UnsupportedError(f"operators of version {opset}: expected {_OPSETS[0]} to {_OPSETS[-1]}")
    return opset


def _check_operators(graph: onnx.GraphProto) -> None:
    unsupported: dict[str, list[str]] = {}
    for at, node in enumerate(graph.node):
        if node.domain not in ("", "ai.onnx") or node.op_type not in OPERATORS:
            kind = f"{node.domain}.{node.op_type}" if node.domain not in ("", "ai.onnx") else node.op_type
            unsupported.setdefault(kind, []).append(node.name or f"number {at}")
    if unsupported:
        listed = "; ".join(f"{kind} ({', '.join(names)})" for kind, names in sorted(unsupported.items()))
        raise UnsupportedError(f"the model has operators that are not supported: {listed}")


def _inferred(proto: onnx.ModelProto) -> tuple[dict[str, int], dict[str, int | None]]:
    """The types of values and how many axes they have, as far as ONNX can infer them."""
    try:
        graph = onnx.shape_inference.infer_shapes(_outline(proto)).graph
    except Exception:  # of models that are broken, which reading them will tell, or larger than protobuf allows
        graph = proto.graph
    values = {value.name: value.type.tensor_type for value in (*graph.input, *graph.value_info, *graph.output)}
    types = {name: of.elem_type for name, of in values.items()}
    return types, {name: len(of.shape.dim) if of.HasField("shape") else None for name, of in values.items()}


def _outline(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model without the values of its weights, of which inference would make three copies."""
    graph, outline = proto.graph, onnx.ModelProto(ir_version=proto.ir_version, opset_import=proto.opset_import)
    outline.functions.extend(proto.functions)
    for field in ("node", "input", "output", "value_info"):
        getattr(outline.graph, field).extend(getattr(graph, field))
    outline.graph.name = graph.name
    inputs = {image.name for image in graph.input}
    for tensor in graph.initializer:
        if prod(tensor.dims) <= _FEW_VALUES:  # which may be a shape
            outline.graph.initializer.append(tensor)
        elif tensor.name not in inputs:
            weight = onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            outline.graph.input.append(weight)
    return outline


def _check_type(image: onnx.ValueInfoProto) -> None:
    of = image.type.WhichOneof("value")
    number = image.type.tensor_type.elem_type
    if of not in (None, "tensor_type") or number not in TYPES | STORED.keys():
        raise UnsupportedError(f"input {image.name!r}, {of} of type number {number}: expected an array of numbers")


def _array(tensor: onnx.TensorProto, name: str) -> np.ndarray:
    """The values of a constant of a model."""
    if any(extent < 0 for extent in tensor.dims):
        raise ValueError(f"{name!r} of shape {tuple(tensor.dims)}: expected no negative extents")
    if tensor.data_type not in TYPES | STORED.keys():
        raise UnsupportedError(f"{name!r}: values of type number {tensor.data_type} are not supported")
    if tensor.HasField("raw_data") and tensor.data_type in TYPES:
        size = prod(tensor.dims) * onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
        if size != len(tensor.raw_data):
            raise ValueError(
                f"{name!r} of shape {tuple(tensor.dims)}: has {len(tensor.raw_data)} bytes instead of {size}"
            )
    try:
        array = np.array(numpy_helper.to_array(tensor))
        return widened(array, tensor.data_type) if tensor.data_type in STORED else array
    except (ValueError, TypeError) as reason:
        raise ValueError(f"{name!r} of shape {tuple(tensor.dims)}: {reason}") from None


def _caller(network: Network, name: str) -> Callable[..., Any]:
    """A function that adds a node to the network, or computes it at once if it reads constants only."""
    names = iter([name])

    def call(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
        if next(values_in((arguments, *options.values())), None) is not None:
            wanted = next(names, None)
            return network.call(function, *arguments, name=None if wanted in network else wanted, **options)
        result = np.asarray(function(*arguments, **options))
        if result.nbytes > _MOST_BYTES:
            raise UnsupportedError(f"{name!r}: a constant of {result.nbytes} bytes, computed by the model")
        return result

    return call
