"""What a user's type checker sees. `make lint` has mypy check this file, and the tests confirm what it was told."""

from typing import TYPE_CHECKING, assert_type

import numpy as np

import fastconv
from fastconv.engine.plan import Plan

X = np.arange(16.0, dtype=np.float32).reshape(1, 1, 4, 4)
WEIGHT = np.ones((1, 1, 3, 3), np.float32)


def is_pair(pooled: object) -> bool:
    return isinstance(pooled, tuple) and [type(array) for array in pooled] == [np.ndarray, np.ndarray]


if TYPE_CHECKING:  # running these would measure, or compile a kernel each
    assert_type(fastconv.compare_conv2d(X, WEIGHT).measurements[0].seconds, float | None)
    assert_type(fastconv.max_pool1d(X[0], 2, return_indices=True), tuple[np.ndarray, np.ndarray])
    assert_type(fastconv.max_pool3d(X, 2, return_indices=True), tuple[np.ndarray, np.ndarray])
    assert_type(fastconv.adaptive_max_pool1d(X[0], 3, return_indices=True), tuple[np.ndarray, np.ndarray])
    assert_type(fastconv.adaptive_max_pool2d(X, 3, return_indices=True), tuple[np.ndarray, np.ndarray])
    assert_type(fastconv.fractional_max_pool2d(X, 2, 2, return_indices=True), tuple[np.ndarray, np.ndarray])


def test_return_indices_says_how_many_arrays_are_returned() -> None:
    assert type(assert_type(fastconv.max_pool2d(X, 2), np.ndarray)) is np.ndarray
    assert is_pair(assert_type(fastconv.max_pool2d(X, 2, return_indices=True), tuple[np.ndarray, np.ndarray]))
    for return_indices in (False, True):
        pooled = fastconv.max_pool2d(X, 2, return_indices=return_indices)
        assert_type(pooled, np.ndarray | tuple[np.ndarray, np.ndarray])
        assert is_pair(pooled) == return_indices


def test_functions_take_what_numpy_takes() -> None:
    assert_type(fastconv.signal.convolve2d([[1, 2], [3, 4]], [[1]]), np.ndarray)
    assert_type(fastconv.ndimage.gaussian_filter(X[0, 0], sigma=(1, 2.5)), np.ndarray)
    assert_type(fastconv.nn.softmax([1.0, 2.0], 0), np.ndarray)
    assert_type(fastconv.conv2d(X, WEIGHT, None, (1, 2), ((1, 1), (0, 2)), activation=("leaky_relu", 0.1)), np.ndarray)
    assert_type(fastconv.grad.conv2d_input(X.shape, WEIGHT, X[..., 1:-1, 1:-1]), np.ndarray)


def test_prepared_layers_and_plans_have_types_to_build_on() -> None:
    layer = fastconv.prepare_conv2d(WEIGHT, padding="same", activation="relu")
    assert_type(layer, fastconv.PreparedConv)
    assert_type(layer(X), np.ndarray)
    plan = fastconv.plan("ic1 oc1 i4 k3", dtype="float32")
    assert_type(plan, Plan)
    assert_type(plan.seconds, float)
