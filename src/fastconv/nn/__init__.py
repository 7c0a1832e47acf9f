"""The other layers of a classical network, with the names, argument order and meaning of ``torch.nn.functional``.

Arrays are float32 or float64 and keep their type; lists of floats become float64, and integers raise. Results are new
C-contiguous arrays, or `out`, which may be the input itself. Overflow gives no warning: as in torch, values that are
too large become infinite, and undefined ones NaN. Derivatives are in `fastconv.layer_grad`.
"""

from fastconv.nn.activations import elu, gelu, hardswish, leaky_relu, maxout, prelu, relu, rrelu, sigmoid, silu, tanh
from fastconv.nn.dropping import dropout, random_dropout
from fastconv.nn.normalisation import batch_norm, conv_bn_fold, local_response_norm
from fastconv.nn.products import linear
from fastconv.nn.scores import cross_entropy, log_softmax, softmax

__all__ = [
    "batch_norm",
    "conv_bn_fold",
    "cross_entropy",
    "dropout",
    "elu",
    "gelu",
    "hardswish",
    "leaky_relu",
    "linear",
    "local_response_norm",
    "log_softmax",
    "maxout",
    "prelu",
    "random_dropout",
    "relu",
    "rrelu",
    "sigmoid",
    "silu",
    "softmax",
    "tanh",
]
