"""Convolution and pooling with the names, argument order and meaning of ``torch.nn.functional``.

``conv*`` compute a **cross-correlation** (the deep-learning habit): the kernel is not flipped. For the flipped kind
see `fastconv.signal`.

``convolution``  conv1d, conv2d, conv3d; ``transposed`` conv_transpose1d …
``planning``     plan_conv2d, strategies, warmup: how a convolution would be computed
``registration`` register, unregister: strategies of your own
``pooling``      max_pool2d, avg_pool2d, lp_pool2d …, for a given window; ``adaptive`` for a given output size
``unpooling``    max_unpool2d
``arguments``    shared argument checks
"""

from fastconv.functional.adaptive import (
    adaptive_avg_pool1d,
    adaptive_avg_pool2d,
    adaptive_max_pool1d,
    adaptive_max_pool2d,
    fractional_max_pool2d,
    global_avg_pool2d,
    global_max_pool2d,
)
from fastconv.functional.convolution import (
    conv1d,
    conv2d,
    conv3d,
)
from fastconv.functional.planning import (
    plan_conv2d,
    strategies,
    warmup,
)
from fastconv.functional.pooling import (
    avg_pool1d,
    avg_pool2d,
    avg_pool3d,
    lp_pool1d,
    lp_pool2d,
    max_pool1d,
    max_pool2d,
    max_pool3d,
)
from fastconv.functional.registration import (
    register,
    unregister,
)
from fastconv.functional.transposed import (
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
)
from fastconv.functional.unpooling import (
    max_unpool2d,
)

__all__ = [
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "avg_pool1d",
    "avg_pool2d",
    "avg_pool3d",
    "conv1d",
    "conv2d",
    "conv3d",
    "conv_transpose1d",
    "conv_transpose2d",
    "conv_transpose3d",
    "fractional_max_pool2d",
    "global_avg_pool2d",
    "global_max_pool2d",
    "lp_pool1d",
    "lp_pool2d",
    "max_pool1d",
    "max_pool2d",
    "max_pool3d",
    "max_unpool2d",
    "plan_conv2d",
    "register",
    "strategies",
    "unregister",
    "warmup",
]
