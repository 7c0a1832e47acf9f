"""What training knows of each function: which of its arguments are learnt, and how a gradient gets back through it.

A rule runs its function, and returns the result with a *pullback*: a function from the gradient of the loss with
respect to that result to those with respect to the arguments. A pullback holds what it needs of the forward pass and
nothing else, so that memory is free for others as early as possible.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from fastconv import grad, nn
from fastconv.grad.pooling import put_back

Pullback = Callable[[np.ndarray, Collection[str]], Mapping[str, Any]]
"""From a gradient, and the names of arguments, to the gradients with respect to these arguments, by their names."""


@dataclass(frozen=True, slots=True)
class Call:
    """A function with all of its arguments by name; each can be read as an attribute."""

    function: Callable[..., Any]
    arguments: Mapping[str, Any]

    def __getattr__(self, name: str) -> Any:
        return self.arguments[name]

    def __call__(self, **others: Any) -> Any:
        return self.function(**self.arguments, **others)

    def of(self, *names: str) -> dict[str, Any]:
        """The arguments of these names."""
        return {name: self.arguments[name] for name in names}


class Rule(NamedTuple):
    """How a function is differentiated."""

    run: Callable[[Call], tuple[np.ndarray, Pullback]]
    learnt: tuple[str, ...] = ()
    """Arguments that are parameters, unless they are values of the network."""
    statistics: tuple[str, ...] = ()
    """Arguments that the function updates in training."""


PLAIN = {
    "activation": None,
    "out": None,
    "inplace": False,
    "layout": "NCHW",
    "padding_mode": "zeros",
    "return_indices": False,
    "return_mask": False,
    "return_slopes": False,
    "size_average": None,
    "reduce": None,
    "dtype": None,
}
"""Options that no rule follows: each must have this value, where a function has it."""


def _chosen(wanted: Collection[str], **gradients: Callable[[], Any]) -> dict[str, Any]:
    """Those gradients that are wanted; the others are not computed."""
    return {name: compute() for name, compute in gradients.items() if name in wanted}


def _by_bias(gradient: np.ndarray, ndim: int) -> np.ndarray:
    """The gradient with respect to a bias; images without a batch have one axis less than the weight."""
    return grad.conv_bias(gradient if gradient.ndim == ndim else gradient[np.newaxis])


def _convolution(by_input: Callable[..., np.ndarray], by_weight: Callable[..., np.ndarray]) -> Rule:
    def run(call: Call) -> tuple[np.ndarray, Pullback]:
        x, weight, window = call.x, call.weight, call.of("stride", "padding", "dilation", "groups", "num_threads")

        def pullback(gradient: np.ndarray, wanted: Collection[str]) -> Mapping[str, Any]:
            return _chosen(
                wanted,
                x=lambda: by_input(x.shape, weight, gradient, tolerance=call.tolerance, **window),
                weight=lambda: by_weight(x, weight.shape, gradient, **window),
                bias=lambda: _by_bias(gradient, weight.ndim),
            )

        return call(), pullback

    return Rule(run, ("weight", "bias"))


def _transposed(convolve: Callable[..., np.ndarray], by_weight: Callable[..., np.ndarray]) -> Rule:
    """A transposed convolution is the adjoint of a convolution, whose gradients are known."""

    def run(call: Call) -> tuple[np.ndarray, Pullback]:
        x, weight, window = call.x, call.weight, call.of("stride", "padding", "dilation", "groups", "num_threads")

        def pullback(gradient: np.ndarray, wanted: Collection[str]) -> Mapping[str, Any]:
            return _chosen(
                wanted,
                x=lambda: convolve(gradient, weight, tolerance=call.tolerance, **window),
                weight=lambda: by_weight(gradient, weight.shape, x, **window),
                bias=lambda: _by_bias(gradient, weight.ndim),
            )

        return call(), pullback

    return Rule(run, ("weight", "bias"))


def _linear(call: Call) -> tuple[np.ndarray, Pullback]:
    x, weight = call.x, call.weight

    def pullback(gradient: np.ndarray, wanted: Collection[str]) -> Mapping[str, Any]:
        return dict(zip(("x", "weight", "bias"), grad.linear(gradient, x, weight), strict=True))

    return call(), pullback


def _maxima(ndim: int) -> Rule:
    def run(call: Call) -> tuple[np.ndarray, Pullback]:
        shape = call.x.shape
        value, indices = call.function(**dict(call.arguments) | {"return_indices": True})
        return value, lambda gradient, wanted: {"x": put_back(gradient, indices, shape, ndim)}

    return Rule(run)


def _global_maxima(call: Call) -> tuple[np.ndarray, Pullback]:
    shape = call.x.shape
    value, indices = nn.adaptive_max_pool2d(call.x, 1, return_indices=True)
    return value, lambda gradient, wanted: {"x": put_back(gradient, indices, shape)}


def _means(by_input: Callable[..., np.ndarray], *options: str) -> Rule:
    def run(call: Call) -> tuple[np.ndarray, Pullback]:
        shape, given = call.x.shape, call.of(*options)
        return call(), lambda gradient, wanted: {"x": by_input(gradient, shape, **given)}

    return Rule(run)


def _of_x(by_x: Callable[..., np.ndarray], *options: str) -> Rule:
    """A function of `x` alone, whose gradient needs it."""

    def run(call: Call) -> tuple[np.ndarray, Pullback]:
        x, given = call.x, call.of(*options)
        return call(), lambda gradient, wanted: {"x": by_x(gradient, x, **given)}

    return Rule(run)


def _relu(call: Call) -> tuple[np.ndarray, Pullback]:
    value = call()  # positive where x is: x itself is not needed any more
    return value, lambda gradient, wanted: {"x": grad.relu(gradient, value)}


def _prelu(call: Call) -> tuple[np.ndarray, Pullback]:
    x, weight = call.x, call.weight

    def pullback(gradient: np.ndarray, wanted: Collection[str]) -> Mapping[str, Any]:
        return dict(zip(("x", "weight"), grad.prelu(gradient, x, weight), strict=True))

    return call(), pullback


def _rrelu(call: Call) -> tuple[np.ndarray, Pullback]:
    x = call.x
    value, slopes = call.function(**dict(call.arguments) | {"return_slopes": True})
    return value, lambda gradient, wanted: {"x": grad.rrelu(gradient, x, slopes)}


def _dropout(call: Call) -> tuple[np.ndarray, Pullback]:
    value, mask = call.function(**dict(call.arguments) | {"return_mask": True})
    return value, lambda gradient, wanted: {"x": grad.dropout(gradient, mask)}


def _shares(by_x: Callable[..., np.ndarray]) -> Rule:
    """A softmax, or its logarithm."""

    def run(call: Call) -> tuple[np.ndarray, Pullback]:
        x, dim = call.x, call.dim
        if dim is None:
            dim = 0 if x.ndim in (0, 1, 3) else 1
        return call(), lambda gradient, wanted: {"x": by_x(gradient, x, dim)}

    return Rule(run)


def _cross_entropy(call: Call) -> tuple[np.ndarray, Pullback]:
    x, target, weight = call.x, call.target, call.weight
    given = call.of("ignore_index", "reduction", "label_smoothing")
    return call(), lambda gradient, wanted: {"x": grad.cross_entropy(gradient, x, target, weight, **given)}


def _batch_norm(call: Call) -> tuple[np.ndarray, Pullback]:
    x, given = call.x, call.of("weight", "training", "eps")
    statistics = (None, None) if call.training else (call.running_mean, call.running_var)

    def pullback(gradient: np.ndarray, wanted: Collection[str]) -> Mapping[str, Any]:
        return dict(zip(("x", "weight", "bias"), grad.batch_norm(gradient, x, *statistics, **given), strict=True))

    return call(), pullback


def _standardising(
    by_all: Callable[..., tuple[np.ndarray, ...]],
    *options: str,
    learnt: tuple[str, ...] = ("weight", "bias"),
    statistics: tuple[str, ...] = (),
) -> Rule:
    """A normalisation by the statistics of each sample, unless it is given others."""

    def run(call: Call) -> tuple[np.ndarray, Pullback]:
        x, given = call.x, call.of("weight", "eps", *options, *statistics)

        def pullback(gradient: np.ndarray, wanted: Collection[str]) -> Mapping[str, Any]:
            return dict(zip(("x", *learnt), by_all(gradient, x, **given), strict=True))

        return call(), pullback

    return Rule(run, learnt, statistics)


def _add(call: Call) -> tuple[np.ndarray, Pullback]:
    shapes = np.shape(call.x), np.shape(call.other)
    return call(), lambda gradient, wanted: dict(zip(("x", "other"), grad.add(gradient, *shapes), strict=True))


def _cat(call: Call) -> tuple[np.ndarray, Pullback]:
    shapes, dim = [np.shape(tensor) for tensor in call.tensors], call.dim
    return call(), lambda gradient, wanted: {"tensors": grad.cat(gradient, shapes, dim)}


def weighted_sum(values: Sequence[np.ndarray], shares: Sequence[float]) -> np.ndarray:
    """The sum of the losses of several outputs, each times its share."""
    return np.asarray(sum(share * value for share, value in zip(shares, values, strict=True)))


def _weighted_sum(call: Call) -> tuple[np.ndarray, Pullback]:
    shares = call.shares
    return call(), lambda gradient, wanted: {"values": [share * gradient for share in shares]}


def _index_select(call: Call) -> tuple[np.ndarray, Pullback]:
    shape, dim, index = call.x.shape, call.dim, call.index
    return call(), lambda gradient, wanted: {"x": grad.index_select(gradient, shape, dim, index)}


def _flatten(call: Call) -> tuple[np.ndarray, Pullback]:
    shape = call.x.shape
    return call(), lambda gradient, wanted: {"x": gradient.reshape(shape)}


def _average(by_input: Callable[..., np.ndarray], *more: str) -> Rule:
    return _means(by_input, "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad", *more)


RULES: dict[Callable[..., Any], Rule] = {
    nn.conv1d: _convolution(grad.conv1d_input, grad.conv1d_weight),
    nn.conv2d: _convolution(grad.conv2d_input, grad.conv2d_weight),
    nn.conv3d: _convolution(grad.conv3d_input, grad.conv3d_weight),
    nn.conv_transpose1d: _transposed(nn.conv1d, grad.conv1d_weight),
    nn.conv_transpose2d: _transposed(nn.conv2d, grad.conv2d_weight),
    nn.conv_transpose3d: _transposed(nn.conv3d, grad.conv3d_weight),
    nn.linear: Rule(_linear, ("weight", "bias")),
    nn.max_pool1d: _maxima(1),
    nn.max_pool2d: _maxima(2),
    nn.max_pool3d: _maxima(3),
    nn.adaptive_max_pool1d: _maxima(1),
    nn.adaptive_max_pool2d: _maxima(2),
    nn.global_max_pool2d: Rule(_global_maxima),
    nn.avg_pool1d: _average(grad.avg_pool1d),
    nn.avg_pool2d: _average(grad.avg_pool2d, "divisor_override"),
    nn.avg_pool3d: _average(grad.avg_pool3d, "divisor_override"),
    nn.adaptive_avg_pool1d: _means(grad.adaptive_avg_pool1d, "output_size"),
    nn.adaptive_avg_pool2d: _means(grad.adaptive_avg_pool2d, "output_size"),
    nn.global_avg_pool2d: _means(grad.global_avg_pool2d),
    nn.lp_pool2d: _of_x(grad.lp_pool2d, "norm_type", "kernel_size", "stride", "ceil_mode"),
    nn.relu: Rule(_relu),
    nn.relu6: _of_x(grad.relu6),
    nn.leaky_relu: _of_x(grad.leaky_relu, "negative_slope"),
    nn.elu: _of_x(grad.elu, "alpha"),
    nn.sigmoid: _of_x(grad.sigmoid),
    nn.tanh: _of_x(grad.tanh),
    nn.silu: _of_x(grad.silu),
    nn.gelu: _of_x(grad.gelu, "approximate"),
    nn.hardswish: _of_x(grad.hardswish),
    nn.selu: _of_x(grad.selu),
    nn.celu: _of_x(grad.celu, "alpha"),
    nn.mish: _of_x(grad.mish),
    nn.softplus: _of_x(grad.softplus, "beta", "threshold"),
    nn.softsign: _of_x(grad.softsign),
    nn.logsigmoid: _of_x(grad.logsigmoid),
    nn.hardsigmoid: _of_x(grad.hardsigmoid),
    nn.hardtanh: _of_x(grad.hardtanh, "min_val", "max_val"),
    nn.threshold: _of_x(grad.threshold, "threshold", "value"),
    nn.hardshrink: _of_x(grad.hardshrink, "lambd"),
    nn.softshrink: _of_x(grad.softshrink, "lambd"),
    nn.tanhshrink: _of_x(grad.tanhshrink),
    nn.prelu: Rule(_prelu, ("weight",)),
    nn.rrelu: Rule(_rrelu),
    nn.maxout: _of_x(grad.maxout, "pieces", "dim"),
    nn.dropout: Rule(_dropout),
    nn.dropout2d: Rule(_dropout),
    nn.random_dropout: Rule(_dropout),
    nn.batch_norm: Rule(_batch_norm, ("weight", "bias"), ("running_mean", "running_var")),
    nn.layer_norm: _standardising(grad.layer_norm, "normalized_shape"),
    nn.rms_norm: _standardising(grad.rms_norm, "normalized_shape", learnt=("weight",)),
    nn.group_norm: _standardising(grad.group_norm, "num_groups"),
    nn.instance_norm: _standardising(grad.instance_norm, "use_input_stats", statistics=("running_mean", "running_var")),
    nn.local_response_norm: _of_x(grad.local_response_norm, "size", "alpha", "beta", "k", "rule"),
    nn.add: Rule(_add),
    nn.cat: Rule(_cat),
    nn.index_select: Rule(_index_select),
    nn.flatten: Rule(_flatten),
    nn.softmax: _shares(grad.softmax),
    nn.log_softmax: _shares(grad.log_softmax),
    nn.cross_entropy: Rule(_cross_entropy),
    weighted_sum: Rule(_weighted_sum),
}
"""The rule of each function. A rule for a function of your own may be added."""
