"""Fast, inspectable convolution and pooling for NumPy arrays.

The map of the house:

``signal``      convolve, convolve2d, fftconvolve …: scipy.signal's names and semantics
``ndimage``     correlate, gaussian_filter, maximum_filter …: scipy.ndimage's names and semantics
``correlation`` what both share; ``continuation``: what lies past the edges of an array
``nn``, ``layer_grad``   relu, softmax, batch_norm …: the other layers of a classical network, and their derivatives
``functional``  conv1d … conv3d, conv_transpose1d …, pooling: torch.nn.functional's names
``grad``        conv2d_input, conv2d_weight …: torch.nn.grad's names; pooling backward
``prepared``    prepare_conv2d: weights packed once, called many times
``lowering``    im2col, col2im, toeplitz_matrix: the lowerings themselves, as matrices
``compare``     every strategy on one problem: time, workspace, error, why refused
``receptive``, ``networks``   what a unit sees of the image, what a stack of layers costs; classical networks
``timing``      times that can be compared
``chart``       comparisons as a picture
``photograph``  real data for them
``cli``         ``fastconv compare | plan | calibrate | info``
``geometry``    all shape arithmetic; descriptors
``volume``      convolutions and pooling of three axes as planar ones
``adjoint``     transposed convolution, and the gradients of a convolution
``pool_plan``   how pooling of planes runs
``epilogue``    bias and activation
``arrays``      which arrays are accepted, and how kernels get to read them
``planner``, ``plan``   which strategy, and why
``rates``       how fast this machine is; ``calibration`` measures it
``strategies``  one file for each way to compute a convolution
``kernels``     compiled and Numba kernels: arrays, pointers and integers
``threads``     the only module that opens parallel regions
``replay``      calls that repeat others, played from recordings; ``conversion``, ``patches``: copies by kernels

Read a call as four hops: ``conv2d(x, w)`` → `ConvGeometry` → `Plan` → ``strategy.run`` → kernel over tiles.
"""

from fastconv import grad, layer_grad, ndimage, networks, nn, receptive, signal
from fastconv.compare import Comparison, compare_conv2d
from fastconv.errors import GeometryError, UnsupportedError
from fastconv.functional import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
    fractional_max_pool2d,
    global_avg_pool2d,
    global_max_pool2d,
    lp_pool1d,
    lp_pool2d,
    max_pool1d,
    max_pool2d,
    max_pool3d,
    max_unpool2d,
    plan_conv2d,
    register,
    strategies,
    unregister,
    warmup,
)
from fastconv.lowering import col2im, im2col, toeplitz_matrix
from fastconv.prepared import PreparedConv, prepare_conv2d
from fastconv.threads import get_num_threads, num_threads, set_num_threads

__version__ = "0.1.0"

__all__ = [
    "Comparison",
    "GeometryError",
    "PreparedConv",
    "UnsupportedError",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "col2im",
    "compare_conv2d",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "fractional_max_pool2d",
    "get_num_threads",
    "global_avg_pool2d",
    "global_max_pool2d",
    "grad",
    "im2col",
    "layer_grad",
    "lp_pool1d",
    "lp_pool2d",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "max_unpool2d",
    "ndimage",
    "networks",
    "nn",
    "num_threads",
    "plan_conv2d",
    "prepare_conv2d",
    "receptive",
    "register",
    "set_num_threads",
    "signal",
    "strategies",
    "toeplitz_matrix",
    "unregister",
    "warmup",
]
