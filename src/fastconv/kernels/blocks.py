"""The blocks of direct convolution: what kernels/direct.py compiles, and strategies/direct.py plans by.

Known without a compiler and without asking which instruction set is in use.
"""

import numpy as np

# Weights of a column of the kernel that a sweep holds in registers, and the rows and vectors across that its blocks
# may have: the largest, these weights and a line fill 16 registers. Low blocks write whole cache lines, and are the
# faster the more taps a column has; high ones fit narrow planes.
TAPS = 5
BLOCKS = ((3, 4), (5, 2), (10, 1), (7, 1), (4, 1))

# The same for complex numbers, whose sums and weights take two registers each.
COMPLEX_TAPS = 2
COMPLEX_BLOCKS = ((4, 1),)

# Those of integers: filters of images have kernels of their own, and the rest is not worth more time of a compiler.
INTEGER_BLOCKS = ((10, 1), (4, 1))

# Codes of the activations (fastconv/epilogue.py) that every sweep applies; the others follow it.
RELU, LEAKY_RELU = 1, 2


def item_dtype(dtype: np.dtype) -> np.dtype:
    """The type of an item: the parts of complex numbers; integers wrap around alike, signed or not."""
    if dtype.kind == "c":
        return np.dtype(f"f{dtype.itemsize // 2}")
    return np.dtype(f"i{dtype.itemsize}") if dtype.kind == "u" else dtype
