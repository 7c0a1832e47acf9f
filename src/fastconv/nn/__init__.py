"""The layers of a classical network, with the names, argument order and meaning of ``torch.nn.functional``.

Arrays are float32 or float64 and keep their type; lists of floats become float64, and integers raise. Results are new
C-contiguous arrays, or `out`, which may be the input itself. Overflow gives no warning: as in torch, values that are
too large become infinite, and undefined ones NaN. Derivatives are in
`fastconv.grad`. Convolutions and pooling are available as `fastconv.conv2d` and so on, too.
"""

from fastconv.nn.activations import *
from fastconv.nn.adaptive import *
from fastconv.nn.convolution import *
from fastconv.nn.dropping import *
from fastconv.nn.joining import *
from fastconv.nn.normalisation import *
from fastconv.nn.pooling import *
from fastconv.nn.prepared import *
from fastconv.nn.products import *
from fastconv.nn.scores import *
from fastconv.nn.standardising import *
from fastconv.nn.transposed import *
from fastconv.nn.unpooling import *
