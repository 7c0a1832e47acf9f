"""Fast, inspectable convolution and pooling for NumPy arrays.

The map of the house:

doors: arguments and rules only
    ``nn``        conv2d, max_pool2d, relu …: torch.nn.functional's names; the convolutions and pools are here, too
    ``grad``      conv2d_input …: torch.nn.grad's names; gradients of the other layers
    ``signal``    convolve, convolve2d, fftconvolve …: scipy.signal's names
    ``ndimage``   correlate, gaussian_filter, maximum_filter …: scipy.ndimage's names
    ``patching``  our functions in the place of SciPy's
    ``networks``, ``receptive``   the classical networks; what a unit sees, and what a stack of layers costs
    ``graph``     networks as graphs of calls, and programs made of them
    ``training``  gradients of networks, and optimisers
``engine``    what is computed (``geometry``), how it is chosen (``planner``), and how it runs; knows no public function
``kernels``   arrays, pointers and integers: C kernels in ``simd``, Numba's in ``jit``, and the threads that run both
``lab``       plans, comparisons, lowerings as matrices, calibration; ``cli`` is its command line

Read a call as four hops: ``conv2d(x, w)`` → `ConvGeometry` → `Plan` → ``strategy.run`` → kernel over tiles.
"""

import importlib
from typing import TYPE_CHECKING

from fastconv import grad, ndimage, nn, receptive, signal
from fastconv.errors import GeometryError, UnsupportedError
from fastconv.graph import Network, Program
from fastconv.kernels.threads import get_num_threads, num_threads, set_num_threads
from fastconv.lab.compare import compare, compare_conv2d
from fastconv.lab.comparison import Comparison
from fastconv.lab.lowering import col2im, im2col, toeplitz_matrix
from fastconv.lab.planning import plan, plan_conv2d, strategies, warmup
from fastconv.lab.registration import register, unregister
from fastconv.nn.adaptive import *
from fastconv.nn.convolution import *
from fastconv.nn.pooling import *
from fastconv.nn.prepared import *
from fastconv.nn.transposed import *
from fastconv.nn.unpooling import *
from fastconv.patching import Patch, patch

__version__ = "0.1.0"

__all__ = [
    "Comparison",
    "GeometryError",
    "Network",
    "Patch",
    "PreparedConv",
    "Program",
    "UnsupportedError",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "col2im",
    "compare",
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
    "patch",
    "plan",
    "plan_conv2d",
    "prepare_conv2d",
    "receptive",
    "register",
    "set_num_threads",
    "signal",
    "strategies",
    "toeplitz_matrix",
    "training",
    "unregister",
    "warmup",
]

if TYPE_CHECKING:
    from fastconv import networks, training
else:

    def __getattr__(name):
        """Import the rooms that few processes enter when they are first asked for: a third of them all."""
        if name in ("networks", "training"):
            return importlib.import_module(f"fastconv.{name}")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__():
        return sorted({*globals(), *__all__})
