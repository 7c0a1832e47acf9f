"""The exceptions that fastconv raises by itself.

Each names the argument at fault, its value, and what would be right.
"""


class GeometryError(ValueError):
    """Shapes, strides, padding or another shape argument describe no valid convolution or pooling."""


class UnsupportedError(NotImplementedError):
    """A strategy that was asked for by name refuses the problem; the message carries its reason."""
