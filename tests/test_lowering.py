"""The lowerings as matrices, against sliding windows, their own adjoint, and the convolution that they stand for."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import fastconv
from cases import CASES, DTYPES, geometries, integers, window
from fastconv import GeometryError, UnsupportedError
from fastconv.engine.geometry import ConvGeometry

PLANES = {name: g for name, g in CASES.items() if g.ndim == 2}


def columns_window(geometry):
    return (geometry.kernel, geometry.stride, geometry.padding, geometry.dilation)


def by_index(geometry, x):
    """im2col by its definition, one entry after another."""
    g = geometry
    padded = np.pad(x, ((0, 0), (0, 0), *g.padding))
    columns = np.zeros((g.n, g.ic, g.kh, g.kw, g.oh, g.ow), x.dtype)
    for i, j, r, q in product(range(g.kh), range(g.kw), range(g.oh), range(g.ow)):
        columns[:, :, i, j, r, q] = padded[:, :, r * g.sh + i * g.dh, q * g.sw + j * g.dw]
    return columns.reshape(g.columns_shape)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", sorted(PLANES.keys() - {"kernel_past_image", "many_row_tiles"}))
def test_im2col_is_its_definition(name, dtype):
    geometry = PLANES[name]
    x, _ = integers(geometry, dtype)
    columns = fastconv.im2col(x, *columns_window(geometry))
    assert columns.dtype == dtype
    np.testing.assert_array_equal(columns, by_index(geometry, x))


@given(geometries())
def test_im2col_and_col2im_are_adjoint(geometry):
    rng = np.random.default_rng(0)
    x = rng.integers(-9, 9, geometry.x_shape).astype(np.float64)
    c = rng.integers(-9, 9, geometry.columns_shape).astype(np.float64)
    back = fastconv.col2im(c, geometry.extent, *columns_window(geometry))
    assert back.shape == x.shape
    assert np.vdot(fastconv.im2col(x, *columns_window(geometry)), c) == np.vdot(x, back)


@given(geometries())
def test_im2col_times_the_filters_is_the_convolution(geometry):
    x, weight = integers(geometry, "float64")
    columns = fastconv.im2col(x, *columns_window(geometry))
    columns = columns.reshape(geometry.n, geometry.g, -1, geometry.positions)
    product_ = weight.reshape(geometry.g, geometry.oc // geometry.g, -1) @ columns
    expected = fastconv.conv2d(x, weight, **window(geometry), strategy="im2col")
    np.testing.assert_array_equal(product_.reshape(geometry.out_shape), expected)


@given(st.one_of(geometries(), geometries(ndim=1)), st.sampled_from(DTYPES))
def test_toeplitz_matrix_is_the_convolution(geometry, dtype):
    x, weight = integers(geometry, dtype)
    matrix = fastconv.toeplitz_matrix(weight, geometry.x_shape, **window(geometry))
    assert matrix.dtype == dtype
    conv = {1: fastconv.conv1d, 2: fastconv.conv2d}[geometry.ndim]
    expected = conv(x, weight, **window(geometry), strategy="im2col")
    for image, result in zip(x, expected, strict=True):
        np.testing.assert_array_equal(matrix @ image.ravel(), result.ravel())


@given(geometries())
def test_toeplitz_transpose_is_col2im_of_the_filters(geometry):
    _, weight = integers(geometry, "float64")
    matrix = fastconv.toeplitz_matrix(weight, geometry.x_shape, **window(geometry))
    out = np.random.default_rng(1).integers(-9, 9, (geometry.g, geometry.oc // geometry.g, geometry.positions))
    columns = np.swapaxes(weight.reshape(geometry.g, geometry.oc // geometry.g, -1), 1, 2) @ out
    columns = columns.reshape(geometry.columns_shape[1:])
    back = fastconv.col2im(columns, geometry.extent, *columns_window(geometry))
    np.testing.assert_array_equal(matrix.T @ out.ravel().astype(float), back.ravel())


def test_toeplitz_is_canonical_and_stores_zero_weights():
    matrix = fastconv.toeplitz_matrix(np.zeros((2, 1, 3, 3), np.float32), (1, 5, 6), padding=1)
    assert matrix.has_canonical_format
    assert matrix.nnz == 2 * (3 * 5 - 2) * (3 * 6 - 2)
    assert matrix.shape == (2 * 30, 30)


def test_toeplitz_has_constant_diagonals():
    weight = np.arange(1.0, 10).reshape(1, 1, 3, 3)
    blocks = fastconv.toeplitz_matrix(weight, (1, 6, 5), padding=1).toarray().reshape(6, 5, 6, 5).swapaxes(1, 2)
    np.testing.assert_array_equal(blocks[1:, 1:], blocks[:-1, :-1])
    np.testing.assert_array_equal(blocks[:, :, 1:, 1:], blocks[:, :, :-1, :-1])


@pytest.mark.parametrize(
    "view", [np.asfortranarray, lambda a: a[:, ::-1, ::-1], lambda a: a.astype(a.dtype.newbyteorder())]
)
def test_strided_operands(view):
    x = view(np.random.default_rng(0).integers(-9, 9, (4, 9, 8)).astype(np.float32))
    columns = fastconv.im2col(x, 3, padding=1)
    np.testing.assert_array_equal(columns, fastconv.im2col(np.array(x, np.float32, order="C"), 3, padding=1))
    c = view(columns.reshape(36, 9, 8)).reshape(36, 72)
    expected = fastconv.col2im(np.array(c, np.float32, order="C"), (9, 8), 3, padding=1)
    np.testing.assert_array_equal(fastconv.col2im(c, (9, 8), 3, padding=1), expected)


def test_unbatched_and_empty_batches():
    x = np.random.default_rng(0).standard_normal((2, 3, 6, 7))
    columns = fastconv.im2col(x, (2, 3))
    np.testing.assert_array_equal(fastconv.im2col(x[1], (2, 3)), columns[1])
    np.testing.assert_array_equal(
        fastconv.col2im(columns[1], (6, 7), (2, 3)), fastconv.col2im(columns, (6, 7), (2, 3))[1]
    )
    assert fastconv.im2col(x[:0], 3).shape == (0, 27, 20)
    assert fastconv.col2im(columns[:0], (6, 7), (2, 3)).shape == (0, 3, 6, 7)


def test_threads_do_not_matter():
    x = np.random.default_rng(0).standard_normal((3, 5, 64, 65), np.float32)
    results = []
    for n in (1, 2, 7):
        with fastconv.num_threads(n):
            columns = fastconv.im2col(x, 3, padding=1)
            results.append(columns.tobytes() + fastconv.col2im(columns, (64, 65), 3, padding=1).tobytes())
    assert len(set(results)) == 1


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        (lambda: fastconv.im2col(np.zeros((5, 5)), 3), "x of shape"),
        (lambda: fastconv.im2col(np.zeros((1, 0, 5, 5)), 3), "0 channels"),
        (lambda: fastconv.im2col(np.zeros((1, 5, 5)), 6), "larger than"),
        (lambda: fastconv.im2col(np.zeros((1, 5, 5)), 0), "kernel_size=0"),
        (lambda: fastconv.im2col(np.zeros((1, 5, 5)), (3, 3, 3)), "kernel_size"),
        (lambda: fastconv.im2col(np.zeros((1, 5, 5)), 3, stride=0), "stride=0"),
        (lambda: fastconv.im2col(np.broadcast_to(np.float32(0), (1, 2**28, 2**28)), 9), "addresses"),
        (lambda: fastconv.col2im(np.zeros(4), 3, 2), "columns of shape"),
        (lambda: fastconv.col2im(np.zeros((5, 4)), 3, 2), "multiple of the 4 taps"),
        (lambda: fastconv.col2im(np.zeros((0, 4)), 3, 2), "got 0"),
        (lambda: fastconv.col2im(np.zeros((4, 5)), 3, 2), r"expected \(4, 4\)"),
        (lambda: fastconv.col2im(np.zeros((4, 4)), 0, 2), "output_size=0"),
        (lambda: fastconv.col2im(np.zeros((4, 4)), (3, 3, 3), 2), "output_size"),
        (lambda: fastconv.toeplitz_matrix(np.zeros((1, 1, 3, 3)), (2, 5, 5)), "groups"),
        (lambda: fastconv.toeplitz_matrix(np.zeros((1, 1, 3, 3)), 5), "x_shape=5"),
        (lambda: fastconv.toeplitz_matrix(np.zeros((1, 1, 3, 3)), (1, 5.0, 5)), "x_shape="),
        (lambda: fastconv.toeplitz_matrix(np.zeros((3, 3)), (5, 5)), "expected a weight"),
    ],
)
def test_bad_arguments(call, fault):
    with pytest.raises(GeometryError, match=fault):
        call()


@pytest.mark.parametrize(
    ("weight_shape", "x_shape", "reason"),
    [
        ((64, 64, 3, 3), (64, 512, 512), "32-bit"),
        ((1, 1, 1, 1), (1, 2**16, 2**16), "32-bit"),
        ((1, 1, 3, 3, 3), (1, 5, 5, 5), "spatial axes"),
    ],
)
def test_toeplitz_refuses_before_it_allocates(weight_shape, x_shape, reason):
    weight = np.broadcast_to(np.float32(1), weight_shape)
    with pytest.raises(UnsupportedError, match=reason):
        fastconv.toeplitz_matrix(weight, x_shape)


@pytest.mark.parametrize("dtype", ["float16", "int64", "longdouble", "complex64", "bool", "object"])
def test_other_types_are_refused(dtype):
    array = np.ones((1, 5, 5), dtype)
    for call in (
        lambda: fastconv.im2col(array, 3),
        lambda: fastconv.col2im(array[:, :4, :4], 3, 2),
        lambda: fastconv.toeplitz_matrix(array[None], (1, 5, 5)),
    ):
        with pytest.raises(TypeError, match="expected float32 or float64"):
            call()


def test_columns_shape_is_that_of_the_geometry():
    assert ConvGeometry.of_windows((2, 3, 9, 8), (3, 2), stride=2).columns_shape == (2, 18, 16)
