"""Gradients: of convolutions, with the names of ``torch.nn.grad``; of pooling and other layers, with their own names.

``grad.relu(grad_output, x)`` is the gradient of a loss with respect to `x`, given its gradient with respect to
``nn.relu(x)``.
"""

from fastconv.grad.convolution import *
from fastconv.grad.layers import *
from fastconv.grad.pooling import *
