"""The lowerings themselves, as matrices: im2col, its adjoint col2im, and the Toeplitz matrix.

The strategies with these names work tile by tile; here the whole matrix is returned, to look at, to test with, or
to feed to another matrix product. Layouts are those of ``torch.nn.functional.unfold`` and ``fold``.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from fastconv.engine.arrays import as_array, as_operand, common_float
from fastconv.engine.convolution.base import element_strides, window
from fastconv.engine.convolution.toeplitz import Toeplitz, matrix
from fastconv.engine.geometry import ConvGeometry, Padding, checked_bytes, checked_shape
from fastconv.engine.gradients.columns import add_columns
from fastconv.engine.launch import Launch, workers_for
from fastconv.engine.plan import format_bytes
from fastconv.engine.rates import rates
from fastconv.errors import UnsupportedError
from fastconv.kernels import threads

if TYPE_CHECKING:
    from scipy.sparse import csr_array

# Default limit on the size of a matrix.
MAX_BYTES = 4 << 30


def im2col(
    x: npt.ArrayLike,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] = 1,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
    *,
    max_bytes: int | None = MAX_BYTES,
) -> np.ndarray:
    """Every window of the images as a column: ``conv2d(x, w)`` is ``w.reshape(OC, -1) @ im2col(x, ...)``.

    ``columns[n, (c, i, j), (r, q)] = x[n, c, r*sh - pt + i*dh, q*sw - pl + j*dw]``, zero outside the image: the
    layout of ``torch.nn.functional.unfold``.

    Parameters
    ----------
    x : array_like, shape (N, C, H, W) or (C, H, W), float32 or float64
        Images; any strides.
    kernel_size : int or (int, int)
        Height and width of the window.
    stride : int or (int, int)
        Steps of the window, down and right.
    padding : int, (int, int), ((top, bottom), (left, right)), "same" or "valid"
        Zeros around the image.
    dilation : int or (int, int)
        Distance between taps; 1 is dense.
    max_bytes : int or None
        Limit on the size of the result, which is up to ``KH * KW`` times as large as `x`; ``None`` for no limit.

    Returns
    -------
    ndarray, shape (N, C * KH * KW, OH * OW) or (C * KH * KW, OH * OW)
        One row per channel and tap, one column per window.

    Raises
    ------
    GeometryError
        The shapes and the window do not fit together; a ``ValueError``.
    UnsupportedError
        The result would be larger than `max_bytes`; a ``NotImplementedError``.

    See Also
    --------
    col2im : Its adjoint.

    References
    ----------
    Chellapilla, Puri and Simard, High performance convolutional neural networks for document processing, 2006.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.arange(9, dtype=np.float32).reshape(1, 3, 3)
    >>> fastconv.im2col(x, 2)
    array([[0., 1., 3., 4.],
           [1., 2., 4., 5.],
           [3., 4., 6., 7.],
           [4., 5., 7., 8.]], dtype=float32)
    """
    from fastconv.kernels.slots import arguments

    x = as_array("x", x)
    geometry = ConvGeometry.of_windows(x.shape, kernel_size, stride=stride, padding=padding, dilation=dilation)
    dtype = common_float(x=x)
    _check_bytes("im2col", prod(geometry.columns_shape) * dtype.itemsize, max_bytes)
    columns = np.empty(geometry.columns_shape, dtype)
    images = as_operand(x, dtype).reshape(geometry.x_shape)
    ints = arguments("im2col")(**window(geometry, element_strides(images)))
    launch = Launch.of("im2col", dtype, ints, geometry.n * geometry.ic)
    # Every value of the columns is read here and written there.
    launch.run((images, columns), workers_for(2 * columns.nbytes / rates().memory))
    return columns if x.ndim == 4 else columns[0]


def col2im(
    columns: npt.ArrayLike,
    output_size: int | Sequence[int],
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] = 1,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
    *,
    max_bytes: int | None = MAX_BYTES,
) -> np.ndarray:
    """Add every column back to the pixels from which `im2col` took it.

    This is the adjoint of `im2col`, hence the gradient of a convolution with respect to its input. It is not the
    inverse: a pixel in k windows is summed k times. Layout and meaning are those of ``torch.nn.functional.fold``.

    Parameters
    ----------
    columns : array_like, shape (N, C * KH * KW, L) or (C * KH * KW, L), float32 or float64
        One row per channel and tap, one column per window.
    output_size : int or (int, int)
        Height and width of the images.
    kernel_size, stride, padding, dilation
        As `im2col`.
    max_bytes : int or None
        Limit on the size of the images, which strides and padding can make much larger than `columns`; ``None`` for no
        limit.

    Returns
    -------
    ndarray, shape (N, C, H, W) or (C, H, W)

    Raises
    ------
    GeometryError
        `columns` does not have the shape that `im2col` gives for images of that size; a ``ValueError``.
    UnsupportedError
        The images would be larger than `max_bytes`; a ``NotImplementedError``.

    References
    ----------
    Dumoulin and Visin, A guide to convolution arithmetic for deep learning, 2016, chapter 4.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> x = np.ones((1, 3, 3))
    >>> fastconv.col2im(fastconv.im2col(x, 2), (3, 3), 2)  # how many windows see each pixel
    array([[[1., 2., 1.],
            [2., 4., 2.],
            [1., 2., 1.]]])
    """
    columns = as_array("columns", columns)
    geometry = ConvGeometry.of_columns(
        columns.shape, output_size, kernel_size, stride=stride, padding=padding, dilation=dilation
    )
    dtype = common_float(columns=columns)
    _check_bytes("col2im", prod(geometry.x_shape) * dtype.itemsize, max_bytes)
    images = np.empty(geometry.x_shape, dtype)
    add_columns(geometry, np.ascontiguousarray(as_operand(columns, dtype)), images, threads.get_num_threads())
    return images if columns.ndim == 3 else images[0]


def _check_bytes(name: str, needed: int, max_bytes: int | None) -> None:
    """Raise if a result takes more memory than its caller allows."""
    if max_bytes is not None and needed > checked_bytes("max_bytes", max_bytes):
        raise UnsupportedError(
            f"{name} needs {format_bytes(needed)}, more than max_bytes={max_bytes}: raise the limit, or pass None"
        )


def toeplitz_matrix(
    weight: npt.ArrayLike,
    x_shape: Sequence[int],
    stride: int | Sequence[int] = 1,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    *,
    max_bytes: int | None = MAX_BYTES,
) -> csr_array:
    """A convolution as one sparse matrix: ``T @ x.ravel()`` equals ``conv2d(x, weight, ...).ravel()``.

    At stride 1 the matrix is doubly-blocked Toeplitz: its blocks are Toeplitz matrices, and they are arranged as a
    Toeplitz matrix. Its transpose is the transposed convolution.

    Parameters
    ----------
    weight : array_like, shape (OC, C / groups, KH, KW) or (OC, C / groups, KW), float32 or float64
        Filters of a 2-D or a 1-D convolution.
    x_shape : sequence of int
        Shape of the image, ``(C, H, W)`` or ``(C, W)``. With a leading batch axis, the matrix is that for one image.
    stride, padding, dilation, groups
        As `conv2d`.
    max_bytes : int or None
        Limit on the memory that building the matrix takes; ``None`` for no limit.

    Returns
    -------
    scipy.sparse.csr_array, shape (OC * OH * OW, C * H * W)
        Zero weights are stored, taps in the padding are not: about ``OC * OH * OW * C / groups * KH * KW`` entries,
        each with an index of 4 bytes.

    Raises
    ------
    GeometryError
        The shapes and the window do not fit together; a ``ValueError``.
    UnsupportedError
        The matrix would have more columns or entries than 32-bit indices can count, or take more than `max_bytes`;
        a ``NotImplementedError``.

    References
    ----------
    Gray, Toeplitz and Circulant Matrices: A Review, 2006.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> fastconv.toeplitz_matrix([[[1.0, 2.0]]], (1, 4), padding=1).toarray()
    array([[2., 0., 0., 0.],
           [1., 2., 0., 0.],
           [0., 1., 2., 0.],
           [0., 0., 1., 2.],
           [0., 0., 0., 1.]])
    """
    weight = as_array("weight", weight)
    geometry = ConvGeometry.from_shapes(
        checked_shape("x_shape", x_shape),
        weight.shape,
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    ).as_2d()
    dtype = common_float(weight=weight)
    if (reason := Toeplitz().refuse(geometry, dtype)) is not None:
        raise UnsupportedError(f"toeplitz_matrix cannot hold {geometry}: {reason}")
    _check_bytes("toeplitz_matrix", Toeplitz().workspace_bytes(geometry, dtype, 1, 0), max_bytes)
    return matrix(geometry, as_operand(weight, dtype).reshape(geometry.weight_shape), threads.get_num_threads())
