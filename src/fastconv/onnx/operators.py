"""What each ONNX operator becomes: one table, from its name to a function that adds nodes to a network.

The functions follow ONNX's operator specification, versions 7 to 23 (https://onnx.ai/onnx/operators).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, reduce
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper

from fastconv import nn
from fastconv.errors import UnsupportedError
from fastconv.graph import Value
from fastconv.onnx import arrays, layers, quantised
from fastconv.onnx.arrays import by_numpy, of_shape
from fastconv.onnx.quantised import STORED, rounded
from fastconv.onnx.resizing import resize

if TYPE_CHECKING:
    from fastconv.onnx.reading import Node

Operator = Callable[["Node"], Any]

OPERATORS: dict[str, Operator] = {}

TYPES = frozenset(
    getattr(TensorProto, name)
    for name in [
        "UNDEFINED",
        "FLOAT",
        "DOUBLE",
        "INT8",
        "INT16",
        "INT32",
        "INT64",
        "UINT8",
        "UINT16",
        "UINT32",
        "UINT64",
        "BOOL",
    ]
)


def _operator(*names: str) -> Callable[[Operator], Operator]:
    def add(function: Operator) -> Operator:
        OPERATORS.update(dict.fromkeys(names, function))
        return function

    return add


def _simple(function: Callable[..., Any], **attributes: tuple[str, Any]) -> Operator:
    """`function` of all inputs, and of these attributes: the name in ONNX, and the default."""

    def add(node: Node) -> Any:
        options = {name: node.attribute(of, default) for name, (of, default) in attributes.items()}
        return node.call(function, *node.inputs, **options)

    return add


def _window(node: Node, axes: int) -> dict[str, Any]:
    """The attributes of a convolution or a pool, per axis."""
    pads = node.attribute("pads", [0] * 2 * axes)
    return {
        "stride": tuple(node.attribute("strides", [1] * axes)),
        "padding": tuple(zip(pads[:axes], pads[axes:], strict=True)),
        "dilation": tuple(node.attribute("dilations", [1] * axes)),
        "auto_pad": node.attribute("auto_pad", "NOTSET"),
    }


def _spatial_axes(node: Node, at: int = 1) -> int:
    """How many axes the kernel of a convolution has, whose weight is an input."""
    weight, kernel = node.input(at), node.attribute("kernel_shape")
    if isinstance(weight, np.ndarray):
        return max(0, weight.ndim - 2)
    rank = node.ranks[at] if at < len(node.ranks) else None
    if kernel is not None:
        return len(kernel)
    if rank is None:
        raise UnsupportedError(f"{node.kind} {node.name!r}: the weight is computed, and nothing says its shape")
    return max(0, rank - 2)


def _convolution(node: Node, axes: int) -> tuple[Callable[..., Any], dict[str, Any]]:
    """The function that convolves, and its options."""
    window = _window(node, axes)
    auto_pad = window.pop("auto_pad")
    window["groups"] = node.attribute("group", 1)
    if auto_pad == "VALID":
        window["padding"] = 0
    elif auto_pad == "SAME_UPPER" and set(window["stride"]) == {1}:
        window["padding"] = "same"
    elif auto_pad != "NOTSET":
        return layers.conv_same, window | {"upper": auto_pad == "SAME_UPPER"}
    function = {1: nn.conv1d, 2: nn.conv2d, 3: nn.conv3d}.get(axes)
    if function is None:
        raise UnsupportedError(f"{node.kind} {node.name!r}: {axes} spatial axes: expected 1 to 3")
    return function, window


@_operator("Conv")
def _conv(node: Node) -> Any:
    function, window = _convolution(node, _spatial_axes(node))
    return node.call(function, *node.inputs, **window)


@_operator("ConvTranspose")
def _conv_transpose(node: Node) -> Any:
    axes = _spatial_axes(node)
    return node.call(
        layers.conv_transpose,
        *node.inputs,
        groups=node.attribute("group", 1),
        output_padding=tuple(node.attribute("output_padding", [0] * axes)),
        output_shape=node.attribute("output_shape"),
        **_window(node, axes),
    )


@_operator("MaxPool")
def _max_pool(node: Node) -> Any:
    kernel = tuple(node.attribute("kernel_shape"))
    window = _window(node, len(kernel)) | {"kernel_size": kernel, "ceil_mode": bool(node.attribute("ceil_mode", 0))}
    padding, auto_pad = window["padding"], window["auto_pad"]
    plain = auto_pad == "NOTSET" and all(a == b and 2 * a <= k for (a, b), k in zip(padding, kernel, strict=True))
    if plain and node.outputs == 1 and len(kernel) <= 3:
        del window["auto_pad"]
        window["padding"] = tuple(before for before, _ in padding)
        return node.call({1: nn.max_pool1d, 2: nn.max_pool2d, 3: nn.max_pool3d}[len(kernel)], *node.inputs, **window)
    values = node.call(layers.max_pool, *node.inputs, **window)
    if node.outputs == 1:
        return values
    by_columns = bool(node.attribute("storage_order", 0))
    return values, node.call(layers.max_pool_indices, *node.inputs, by_columns=by_columns, **window)


@_operator("AveragePool")
def _average_pool(node: Node) -> Any:
    kernel = tuple(node.attribute("kernel_shape"))
    window = _window(node, len(kernel))
    counts = bool(node.attribute("count_include_pad", 0))
    padding, ceil = window["padding"], bool(node.attribute("ceil_mode", 0))
    plain = window["auto_pad"] == "NOTSET" and set(window["dilation"]) == {1} and not ceil and len(kernel) <= 3
    if plain and all(a == b and 2 * a <= k for (a, b), k in zip(padding, kernel, strict=True)):
        function: Any = {1: nn.avg_pool1d, 2: nn.avg_pool2d, 3: nn.avg_pool3d}[len(kernel)]
        before = tuple(begin for begin, _ in padding)
        return node.call(function, *node.inputs, kernel, window["stride"], before, count_include_pad=counts)
    return node.call(layers.average_pool, *node.inputs, kernel_size=kernel, counts=counts, ceil_mode=ceil, **window)


@_operator("LpPool")
def _lp_pool(node: Node) -> Any:
    kernel = tuple(node.attribute("kernel_shape"))
    ceil = bool(node.attribute("ceil_mode", 0))
    window = _window(node, len(kernel))
    return node.call(
        layers.lp_pool, *node.inputs, p=node.attribute("p", 2), kernel_size=kernel, ceil_mode=ceil, **window
    )


@_operator("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
def _global_pool(node: Node) -> Any:
    if node.kind == "GlobalLpPool":
        return node.call(layers.global_lp_pool, *node.inputs, p=node.attribute("p", 2))
    return node.call(layers.global_pool, *node.inputs, largest=node.kind == "GlobalMaxPool")


@_operator("BatchNormalization")
def _batch_normalization(node: Node) -> Any:
    if node.attribute("training_mode", 0) or node.outputs > 1:
        raise UnsupportedError(f"BatchNormalization {node.name!r}: in training mode; networks are read for inference")
    x, scale, shift, mean, var = node.inputs
    return node.call(nn.batch_norm, x, mean, var, scale, shift, eps=node.attribute("epsilon", 1e-5))


@_operator("InstanceNormalization")
def _instance_normalization(node: Node) -> Any:
    return node.call(layers.instance_norm, *node.inputs, eps=node.attribute("epsilon", 1e-5))


@_operator("GroupNormalization")
def _group_normalization(node: Node) -> Any:
    options = {"groups": node.attribute("num_groups"), "eps": node.attribute("epsilon", 1e-5)}
    return node.call(layers.group_norm, *node.inputs, per_group=node.opset < 21, **options)


@_operator("LayerNormalization")
def _layer_normalization(node: Node) -> Any:
    options = {"axis": node.attribute("axis", -1), "eps": node.attribute("epsilon", 1e-5)}
    normalised = node.call(layers.layer_norm, *node.inputs, **options)
    if node.outputs <= 1:
        return normalised
    x = node.inputs[0]
    mean = node.call(by_numpy(layers.layer_mean), x, axis=options["axis"])
    return normalised, mean, node.call(by_numpy(layers.layer_inverse_deviation), x, **options)


@_operator("LRN")
def _lrn(node: Node) -> Any:
    constants = {name: node.attribute(of, default) for name, of, default in _LRN}
    return node.call(layers.response_norm, *node.inputs, size=node.attribute("size"), **constants)


_LRN = (("alpha", "alpha", 1e-4), ("beta", "beta", 0.75), ("k", "bias", 1.0))


@_operator("Gemm")
def _gemm(node: Node) -> Any:
    a, b, c = (node.input(at) for at in range(3))
    alpha, beta = node.attribute("alpha", 1.0), node.attribute("beta", 1.0)
    left, right = bool(node.attribute("transA", 0)), bool(node.attribute("transB", 0))
    constant = isinstance(b, np.ndarray) and b.dtype.kind == "f" and (c is None or isinstance(c, np.ndarray))
    if isinstance(a, Value) and constant and not left:
        weight = np.ascontiguousarray(b if right else b.T)
        if alpha != 1:
            weight = weight * b.dtype.type(alpha)
        if c is None:
            return node.call(nn.linear, a, weight)
        if c.size in (1, len(weight)) and (c.ndim < 2 or c.shape[-2] == 1):
            bias = np.broadcast_to(c.reshape(-1) * c.dtype.type(beta), (len(weight),))
            return node.call(nn.linear, a, weight, np.ascontiguousarray(bias))
    return node.call(layers.gemm, a, b, c, alpha=alpha, beta=beta, left=left, right=right)


@_operator("MatMul")
def _matmul(node: Node) -> Any:
    a, b = node.inputs
    if isinstance(a, Value) and isinstance(b, np.ndarray) and b.ndim == 2 and b.dtype.kind == "f":
        return node.call(nn.linear, a, np.ascontiguousarray(b.T))
    return node.call(by_numpy(np.matmul), a, b)


@_operator("Add")
def _add(node: Node) -> Any:
    return node.call(nn.add if node.is_float else layers.add, *node.inputs)


@_operator("Sum")
def _sum(node: Node) -> Any:
    return (
        reduce(partial(node.call, nn.add if node.is_float else layers.add), node.inputs)
        if len(node.inputs) > 1
        else node.call(layers.same, node.inputs[0])
    )


@_operator("Max", "Min", "Mean")
def _folded(node: Node) -> Any:
    function = {"Max": np.maximum, "Min": np.minimum, "Mean": np.add}[node.kind]
    folded = reduce(partial(node.call, by_numpy(function)), node.inputs)
    if len(node.inputs) == 1:
        return node.call(layers.same, folded)
    return node.call(by_numpy(layers.divided), folded, len(node.inputs)) if node.kind == "Mean" else folded


@_operator("Concat")
def _concat(node: Node) -> Any:
    return node.call(nn.cat if node.is_float else layers.cat, list(node.inputs), dim=node.attribute("axis"))


@_operator("Relu")
def _relu(node: Node) -> Any:
    return node.call(nn.relu if node.is_float else layers.relu, *node.inputs)


@_operator("Clip")
def _clip(node: Node) -> Any:
    least, most = (node.input(1), node.input(2)) if node.opset >= 11 else map(node.attribute, ("min", "max"))
    if node.is_float and not isinstance(least, Value | None) and not isinstance(most, Value) and least == 0:
        if most is None:
            return node.call(nn.relu, node.inputs[0])
        if most == 6:
            return node.call(nn.relu6, node.inputs[0])
    return node.call(by_numpy(layers.clip), node.inputs[0], least, most)


@_operator("Softmax", "LogSoftmax", "Hardmax")
def _softmax(node: Node) -> Any:
    function = {"Softmax": nn.softmax, "LogSoftmax": nn.log_softmax, "Hardmax": by_numpy(layers.hardmax)}[node.kind]
    if node.opset >= 13:
        return node.call(function, node.inputs[0], node.attribute("axis", -1))
    return node.call(layers.of_rows, node.inputs[0], layer=function, axis=node.attribute("axis", 1))


@_operator("Dropout")
def _dropout(node: Node) -> Any:
    x = node.inputs[0]
    if node.input(2) is not None and (isinstance(node.input(2), Value) or node.input(2)):
        raise UnsupportedError(f"Dropout {node.name!r}: in training mode; networks are read for inference")
    if node.outputs > 1:
        return node.call(layers.same, x), node.call(by_numpy(np.ones_like), x, dtype=bool)
    return node.call(nn.dropout, x, training=False) if isinstance(x, Value) else x


@_operator("Gelu")
def _gelu(node: Node) -> Any:
    return node.call(nn.gelu, *node.inputs, approximate=node.attribute("approximate", "none"))


@_operator("PRelu")
def _prelu(node: Node) -> Any:
    return node.call(by_numpy(layers.prelu), *node.inputs, per_channel=node.opset < 7)


# Of moving and making arrays.


@_operator("Reshape")
def _reshape(node: Node) -> Any:
    return node.call(arrays.reshape, *node.inputs, allowzero=bool(node.attribute("allowzero", 0)))


@_operator("Squeeze", "Unsqueeze")
def _squeeze(node: Node) -> Any:
    axes = node.attribute("axes") if node.opset < 13 else node.input(1)
    return node.call(arrays.squeeze if node.kind == "Squeeze" else arrays.unsqueeze, node.inputs[0], axes)


@_operator("Slice")
def _slice(node: Node) -> Any:
    if node.opset < 10:
        given = [node.attribute(name) for name in ("starts", "ends", "axes")]
        return node.call(arrays.slices, node.inputs[0], *given)
    return node.call(arrays.slices, *node.inputs)


@_operator("Split")
def _split(node: Node) -> Any:
    sizes = node.attribute("split") if node.opset < 13 else node.input(1)
    count, axis = len(node.results), node.attribute("axis", 0)
    return tuple(node.call(arrays.split, node.inputs[0], sizes, count, axis, at) for at in range(count))


@_operator("Constant")
def _constant(node: Node) -> Any:
    for name in ("value", "value_float", "value_int", "value_floats", "value_ints"):
        value = node.attribute(name)
        if value is not None:
            dtype = np.float32 if "float" in name else np.int64
            return value if isinstance(value, np.ndarray) else np.array(value, dtype)
    raise UnsupportedError(f"Constant {node.name!r}: of a kind that is not supported")


@_operator("ConstantOfShape")
def _constant_of_shape(node: Node) -> Any:
    return node.call(by_numpy(arrays.filled), node.inputs[0], node.attribute("value"))


@_operator("Cast", "CastLike")
def _cast(node: Node) -> Any:
    number = node.attribute("to", node.type)
    if number in STORED:
        return node.call(by_numpy(rounded), node.inputs[0], number, bool(node.attribute("saturate", 1)))
    if number in TYPES and number:
        return node.call(by_numpy(layers.cast), node.inputs[0], helper.tensor_dtype_to_np_dtype(number))
    if number:
        raise UnsupportedError(f"{node.kind} {node.name!r}: to type number {number}")
    return node.call(by_numpy(layers.cast_like), *node.inputs)


@_operator("Pad")
def _pad(node: Node) -> Any:
    mode = node.attribute("mode", "constant")
    if node.opset < 11:
        return node.call(
            by_numpy(arrays.pad), node.inputs[0], node.attribute("pads"), node.attribute("value", 0.0), mode=mode
        )
    return node.call(by_numpy(arrays.pad), *node.inputs, mode=mode)


@_operator(
    *(f"Reduce{name}" for name in ("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSum", "LogSumExp"))
)
def _reduce(node: Node) -> Any:
    by_input = node.opset >= (13 if node.kind == "ReduceSum" else 18)
    axes = node.input(1) if by_input else node.attribute("axes")
    options = {"keepdims": bool(node.attribute("keepdims", 1)), "noop": bool(node.attribute("noop_with_empty_axes", 0))}
    return node.call(by_numpy(arrays.reduced), node.inputs[0], axes, *layers.REDUCTIONS[node.kind], **options)


@_operator("Trilu")
def _trilu(node: Node) -> Any:
    return node.call(by_numpy(arrays.triangle), node.inputs[0], node.input(1), bool(node.attribute("upper", 1)))


@_operator("RMSNormalization")
def _rms_normalization(node: Node) -> Any:
    axis, eps = node.attribute("axis", -1), node.attribute("epsilon", 1e-5)
    return node.call(by_numpy(layers.rms_norm), *node.inputs, axis, eps)


@_operator("Resize", "Upsample")
def _resize(node: Node) -> Any:
    scales, sizes = node.input(2 if node.opset >= 11 else 1), node.input(3)
    if node.kind == "Upsample" and node.opset < 9:
        scales = node.attribute("scales")
    before_11 = node.opset < 11
    return node.call(
        by_numpy(resize),
        node.inputs[0],
        scales,
        sizes,
        mode=node.attribute("mode", "nearest"),
        coordinates="asymmetric" if before_11 else node.attribute("coordinate_transformation_mode", "half_pixel"),
        nearest_mode="floor" if before_11 else node.attribute("nearest_mode", "round_prefer_floor"),
        cubic_coeff_a=node.attribute("cubic_coeff_a", -0.75),
        exclude_outside=bool(node.attribute("exclude_outside", 0)),
        antialias=bool(node.attribute("antialias", 0)),
        axes=node.attribute("axes"),
        policy=node.attribute("keep_aspect_ratio_policy", "stretch"),
    )


@_operator("ArgMax", "ArgMin")
def _arg(node: Node) -> Any:
    options = {
        name: node.attribute(name, default)
        for name, default in (("axis", 0), ("keepdims", 1), ("select_last_index", 0))
    }
    return node.call(by_numpy(layers.arg), *node.inputs, largest=node.kind == "ArgMax", **options)


_BY_NUMPY: dict[str, Callable[..., Any]] = {
    "Sub": np.subtract, "Mul": np.multiply, "Div": layers.divided, "Pow": layers.power, "Neg": np.negative,
    "Abs": np.abs, "Sqrt": np.sqrt, "Exp": np.exp, "Log": np.log, "Ceil": np.ceil, "Floor": np.floor,
    "Round": np.round, "Sign": np.sign, "Reciprocal": layers.reciprocal, "Sin": np.sin, "Cos": np.cos, "Tan": np.tan,
    "Asin": np.arcsin, "Acos": np.arccos, "Atan": np.arctan, "Sinh": np.sinh, "Cosh": np.cosh, "Asinh": np.arcsinh,
    "Acosh": np.arccosh, "Atanh": np.arctanh, "Erf": layers.erf, "Equal": np.equal, "Greater": np.greater,
    "Less": np.less, "GreaterOrEqual": np.greater_equal, "LessOrEqual": np.less_equal, "And": np.logical_and,
    "Or": np.logical_or, "Xor": np.logical_xor, "BitwiseAnd": np.bitwise_and, "BitwiseOr": np.bitwise_or,
    "BitwiseXor": np.bitwise_xor, "BitwiseNot": np.invert, "Det": np.linalg.det, "Not": np.logical_not,
    "Where": np.where, "IsNaN": np.isnan, "Softsign": layers.softsign, "Softplus": layers.softplus,
    "Mish": layers.mish, "Expand": arrays.expand, "Tile": arrays.tile, "Range": arrays.arange,
}  # fmt: skip

OPERATORS |= {name: _simple(by_numpy(function)) for name, function in _BY_NUMPY.items()}
OPERATORS |= {
    "LeakyRelu": _simple(nn.leaky_relu, negative_slope=("alpha", 0.01)),
    "Elu": _simple(nn.elu, alpha=("alpha", 1.0)),
    "Sigmoid": _simple(nn.sigmoid),
    "Tanh": _simple(nn.tanh),
    "HardSwish": _simple(nn.hardswish),
    "HardSigmoid": _simple(by_numpy(layers.hard_sigmoid), alpha=("alpha", 0.2), beta=("beta", 0.5)),
    "Selu": _simple(by_numpy(layers.selu), alpha=("alpha", 1.6732632423543772), gamma=("gamma", 1.0507009873554805)),
    "Celu": _simple(by_numpy(layers.celu), alpha=("alpha", 1.0)),
    "ThresholdedRelu": _simple(by_numpy(layers.thresholded_relu), alpha=("alpha", 1.0)),
    "Shrink": _simple(by_numpy(layers.shrink), lambd=("lambd", 0.5), bias=("bias", 0.0)),
    "Identity": _simple(layers.same),
    "Flatten": _simple(arrays.flatten, axis=("axis", 1)),
    "Transpose": _simple(by_numpy(arrays.transpose), axes=("perm", None)),
    "Shape": _simple(of_shape(arrays.shape), start=("start", 0), end=("end", None)),
    "Size": _simple(of_shape(arrays.size)),
    "Gather": _simple(by_numpy(arrays.gather), axis=("axis", 0)),
    "DepthToSpace": _simple(by_numpy(arrays.depth_to_space), block=("blocksize", None), mode=("mode", "DCR")),
    "SpaceToDepth": _simple(by_numpy(arrays.space_to_depth), block=("blocksize", None), mode=("mode", "DCR")),
    "Mod": _simple(by_numpy(layers.remainder), fmod=("fmod", 0)),
    "Swish": _simple(by_numpy(layers.swish), alpha=("alpha", 1.0)),
    "IsInf": _simple(by_numpy(layers.is_infinite), negative=("detect_negative", 1), positive=("detect_positive", 1)),
    "CumSum": _simple(by_numpy(arrays.cumulated), exclusive=("exclusive", 0), reverse=("reverse", 0)),
    "CumProd": _simple(by_numpy(arrays.multiplied_up), exclusive=("exclusive", 0), reverse=("reverse", 0)),
    "GatherElements": _simple(by_numpy(arrays.gather_elements), axis=("axis", 0)),
    "GatherND": _simple(by_numpy(arrays.gather_nd), batch_axes=("batch_dims", 0)),
    "ScatterElements": _simple(by_numpy(arrays.scatter_elements), axis=("axis", 0), reduction=("reduction", "none")),
    "ScatterND": _simple(by_numpy(arrays.scatter_nd), reduction=("reduction", "none")),
    "Compress": _simple(by_numpy(arrays.compressed), axis=("axis", None)),
    "OneHot": _simple(by_numpy(arrays.one_hot), axis=("axis", -1)),
    "NonZero": _simple(by_numpy(arrays.places)),
    "CenterCropPad": _simple(by_numpy(arrays.centred), axes=("axes", None)),
    "BitShift": _simple(by_numpy(arrays.shifted), direction=("direction", "LEFT")),
    "MeanVarianceNormalization": _simple(by_numpy(layers.standardised), axes=("axes", (0, 2, 3))),
    "LpNormalization": _simple(by_numpy(layers.lp_normalised), axis=("axis", -1), p=("p", 2)),
}


@_operator("TopK")
def _top_k(node: Node) -> Any:
    k = node.attribute("k") if node.opset < 10 else node.input(1)
    options = {"axis": node.attribute("axis", -1), "largest": bool(node.attribute("largest", 1))}
    found = node.call(by_numpy(arrays.top_places), node.inputs[0], k, **options)
    return node.call(by_numpy(arrays.gather_elements), node.inputs[0], found, options["axis"]), found


@_operator("Einsum")
def _einsum(node: Node) -> Any:
    return node.call(by_numpy(np.einsum), node.attribute("equation"), *node.inputs)


# Of integers that stand for reals.


@_operator("QuantizeLinear")
def _quantize(node: Node) -> Any:
    x, scale, zero = (node.input(at) for at in range(3))
    number = node.attribute("output_dtype", 0) or node.type or TensorProto.UINT8
    options = {"axis": node.attribute("axis", 1), "block": node.attribute("block_size", 0)}
    saturate = bool(node.attribute("saturate", 1))
    return node.call(by_numpy(quantised.quantised), x, scale, zero, number=number, saturate=saturate, **options)


@_operator("DequantizeLinear")
def _dequantize(node: Node) -> Any:
    options = {"axis": node.attribute("axis", 1), "block": node.attribute("block_size", 0)}
    return node.call(by_numpy(quantised.dequantised), *node.inputs, **options)


@_operator("DynamicQuantizeLinear")
def _dynamic_quantize(node: Node) -> Any:
    (x,) = node.inputs
    scale = node.call(by_numpy(quantised.range_scale), x)
    zero = node.call(by_numpy(quantised.range_zero), x, scale)
    options = {"number": TensorProto.UINT8, "axis": 0, "block": 0, "saturate": True}
    return node.call(by_numpy(quantised.quantised), x, scale, zero, **options), scale, zero


@_operator("ConvInteger")
def _conv_integer(node: Node) -> Any:
    x, weight, zero, weight_zero = (node.input(at) for at in range(4))
    function, window = _convolution(node, _spatial_axes(node))
    return node.call(by_numpy(quantised.convolved), x, weight, zero, weight_zero, layer=function, **window)


@_operator("QLinearConv")
def _quantised_conv(node: Node) -> Any:
    x, x_scale, x_zero, weight, weight_scale, weight_zero, scale, zero, bias = (node.input(at) for at in range(9))
    function, window = _convolution(node, _spatial_axes(node, 3))
    sums = node.call(by_numpy(quantised.convolved), x, weight, x_zero, weight_zero, layer=function, **window)
    return node.call(
        by_numpy(quantised.requantised), sums, bias, x_scale, weight_scale, scale, zero, number=_stored(node), axis=1
    )


@_operator("MatMulInteger")
def _matmul_integer(node: Node) -> Any:
    return node.call(by_numpy(quantised.multiplied), *(node.input(at) for at in range(4)))


@_operator("QLinearMatMul")
def _quantised_matmul(node: Node) -> Any:
    a, a_scale, a_zero, b, b_scale, b_zero, scale, zero = (node.input(at) for at in range(8))
    sums = node.call(by_numpy(quantised.multiplied), a, b, a_zero, b_zero)
    scales = node.call(by_numpy(quantised.of_rows), a_scale), b_scale
    return node.call(by_numpy(quantised.requantised), sums, None, *scales, scale, zero, number=_stored(node), axis=-1)


def _stored(node: Node) -> int:
    """The number of the type of a quantised result: that of its zero point."""
    return node.type or TensorProto.UINT8
