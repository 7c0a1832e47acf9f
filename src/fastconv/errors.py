"""fastconv's own exceptions.

Each message names the argument at fault, its value, and what would be right.
"""


class GeometryError(ValueError):
    """Shapes, strides, padding or another shape argument do not describe a valid convolution or pooling."""


class UnsupportedError(NotImplementedError):
    """A strategy requested by name cannot compute the problem; the message says why."""
