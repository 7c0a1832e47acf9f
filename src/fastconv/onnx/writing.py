"""From a `fastconv.Network` to an ONNX model: the reverse of ``reading``, for the layers of classical networks."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx.shape_inference
from onnx import helper, numpy_helper

from fastconv import nn
from fastconv.engine.geometry.axes import integers
from fastconv.errors import UnsupportedError
from fastconv.graph import Network, Value
from fastconv.graph.nodes import Node
from fastconv.graph.rewriting import arguments_of

_OPSET = 17

# What a function becomes: an operator, its inputs, and its attributes.
Written = tuple[str, Sequence[Any], Mapping[str, Any]]


def save(
    network: Network, path: str | os.PathLike[str] | None = None, *, shape: Sequence[int | str] | None = None
) -> onnx.ModelProto:
    """`network` as an ONNX model, which any engine evaluates to the same results but for rounding.

    Parameters
    ----------
    network : fastconv.Network
        Of convolutions, pools, products, activations, normalisations, sums and concatenations, of float32.
    path : path, optional
        Where to write the model, too.
    shape : sequence of int or str, optional
        Of the images; names stand for extents that are open.

    Returns
    -------
    onnx.ModelProto

    Raises
    ------
    UnsupportedError
        A node has no operator in ONNX that computes the same.

    Examples
    --------
    >>> import fastconv
    >>> model = save(fastconv.networks.build("lenet5"), shape=("batch", 1, 28, 28))
    >>> [node.op_type for node in model.graph.node[:3]]
    ['Conv', 'Relu', 'MaxPool']
    """
    nodes, tensors = [], []
    for node in network.nodes:
        kind, inputs, attributes = _written(node)
        names = []
        for at, value in enumerate(inputs):
            if isinstance(value, Value):
                names.append(value.name)
                continue
            names.append("" if value is None else f"{node.name}: {at}")
            if value is not None:
                tensors.append(numpy_helper.from_array(np.asarray(value, order="C"), names[-1]))
        while names and not names[-1]:
            names.pop()
        nodes.append(helper.make_node(kind, names, [node.name], name=node.name, **attributes))
    images = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape) for name in network.inputs]
    results = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in network.outputs]
    graph = helper.make_graph(nodes, network.title or "network", images, results, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", _OPSET)], producer_name="fastconv")
    model.ir_version = 8
    if shape is not None:
        model = onnx.shape_inference.infer_shapes(model)  # of what is returned, too
    if path is not None:
        onnx.save(model, os.fspath(path))
    return model


def _written(node: Node) -> Written:
    write = _WRITERS.get(node.function)
    if write is None:
        name = getattr(node.function, "__name__", repr(node.function))
        raise UnsupportedError(f"{node.name}: {name} has no operator in ONNX here")
    return write(arguments_of(node))


def _window(a: Mapping[str, Any], axes: int) -> dict[str, Any]:
    padding = a.get("padding", 0)
    if isinstance(padding, str):
        return {"auto_pad": {"same": "SAME_UPPER", "valid": "VALID"}[padding]}
    if isinstance(padding, Sequence) and any(isinstance(pair, Sequence) for pair in padding):
        before, after = zip(*padding, strict=True)
    else:
        before = after = integers("padding", padding, axes, 0)
    return {"pads": [*before, *after]}


def _convolution(axes: int) -> Callable[[Mapping[str, Any]], Written]:
    def write(a: Mapping[str, Any]) -> Written:
        if a.get("activation") is not None:
            raise UnsupportedError(f"activation={a['activation']!r}: expected a node of its own")
        attributes = _window(a, axes) | {
            "strides": integers("stride", a.get("stride", 1), axes, 1),
            "dilations": integers("dilation", a.get("dilation", 1), axes, 1),
            "group": a.get("groups", 1),
        }
        return "Conv", (a["x"], a["weight"], a.get("bias")), attributes

    return write


def _pool(kind: str, axes: int) -> Callable[[Mapping[str, Any]], Written]:
    def write(a: Mapping[str, Any]) -> Written:
        kernel = integers("kernel_size", a["kernel_size"], axes, 1)
        stride = a.get("stride")
        attributes = _window(a, axes) | {
            "kernel_shape": kernel,
            "strides": kernel if stride is None else integers("stride", stride, axes, 1),
            "ceil_mode": int(a.get("ceil_mode", False)),
        }
        if kind == "AveragePool":
            attributes["count_include_pad"] = int(a.get("count_include_pad", True))
        else:
            attributes["dilations"] = integers("dilation", a.get("dilation", 1), axes, 1)
        return kind, (a["x"],), attributes

    return write


def _linear(a: Mapping[str, Any]) -> Written:
    return "Gemm", (a["x"], a["weight"], a.get("bias")), {"transB": 1}


def _batch_norm(a: Mapping[str, Any]) -> Written:
    mean, var = a["running_mean"], a["running_var"]
    if a.get("training") or mean is None or var is None:
        raise UnsupportedError("batch_norm in training: expected running statistics")
    scale, shift = (a.get(name) for name in ("weight", "bias"))
    scale = np.ones_like(mean) if scale is None else scale
    shift = np.zeros_like(mean) if shift is None else shift
    return "BatchNormalization", (a["x"], scale, shift, mean, var), {"epsilon": a.get("eps", 1e-5)}


def _response_norm(a: Mapping[str, Any]) -> Written:
    size, alpha = a["size"], a.get("alpha", 1e-4)
    if size % 2 == 0:
        raise UnsupportedError(f"size={size}: ONNX takes the channels on the other side")
    if a.get("rule", "mean") == "sum":
        alpha *= size
    constants = {"alpha": alpha, "beta": a.get("beta", 0.75), "bias": a.get("k", 1.0)}
    return "LRN", (a["x"],), {"size": size, **constants}


def _flatten(a: Mapping[str, Any]) -> Written:
    if a.get("start_dim", 0) != 1 or a.get("end_dim", -1) != -1:
        raise UnsupportedError("flatten: expected start_dim=1 and end_dim=-1")
    return "Flatten", (a["x"],), {"axis": 1}


def _dropout(a: Mapping[str, Any]) -> Written:
    if a.get("scale_at", "training") != "training":
        raise UnsupportedError("dropout that scales at test time")
    return "Identity", (a["x"],), {}


def _cat(a: Mapping[str, Any]) -> Written:
    return "Concat", tuple(a["tensors"]), {"axis": a.get("dim", 0)}


def _relu6(a: Mapping[str, Any]) -> Written:
    return "Clip", (a["x"], np.float32(0), np.float32(6)), {}


def _index_select(a: Mapping[str, Any]) -> Written:
    return "Gather", (a["x"], np.asarray(a["index"], np.int64)), {"axis": a["dim"]}


def _plain(kind: str, **attributes: tuple[str, Any]) -> Callable[[Mapping[str, Any]], Written]:
    """An operator of one array, with these attributes: the name of the argument, and its default."""

    def write(a: Mapping[str, Any]) -> Written:
        return kind, (a["x"],), {name: a.get(of, default) for name, (of, default) in attributes.items()}

    return write


def _add(a: Mapping[str, Any]) -> Written:
    if a.get("activation") is not None:
        raise UnsupportedError(f"activation={a['activation']!r}: expected a node of its own")
    return "Add", (a["x"], a["other"]), {}


_WRITERS: dict[Callable[..., Any], Callable[[Mapping[str, Any]], Written]] = {
    nn.conv1d: _convolution(1),
    nn.conv2d: _convolution(2),
    nn.conv3d: _convolution(3),
    nn.max_pool1d: _pool("MaxPool", 1),
    nn.max_pool2d: _pool("MaxPool", 2),
    nn.max_pool3d: _pool("MaxPool", 3),
    nn.avg_pool1d: _pool("AveragePool", 1),
    nn.avg_pool2d: _pool("AveragePool", 2),
    nn.avg_pool3d: _pool("AveragePool", 3),
    nn.global_avg_pool2d: _plain("GlobalAveragePool"),
    nn.global_max_pool2d: _plain("GlobalMaxPool"),
    nn.linear: _linear,
    nn.batch_norm: _batch_norm,
    nn.local_response_norm: _response_norm,
    nn.flatten: _flatten,
    nn.dropout: _dropout,
    nn.dropout2d: _dropout,
    nn.cat: _cat,
    nn.index_select: _index_select,
    nn.add: _add,
    nn.relu: _plain("Relu"),
    nn.relu6: _relu6,
    nn.leaky_relu: _plain("LeakyRelu", alpha=("negative_slope", 0.01)),
    nn.elu: _plain("Elu", alpha=("alpha", 1.0)),
    nn.sigmoid: _plain("Sigmoid"),
    nn.tanh: _plain("Tanh"),
    nn.hardswish: _plain("HardSwish"),
    nn.softmax: _plain("Softmax", axis=("dim", -1)),
    nn.log_softmax: _plain("LogSoftmax", axis=("dim", -1)),
}
