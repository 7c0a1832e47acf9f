"""Where the branches of a network join, and where its maps become vectors."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fastconv.engine.arrays import as_array, as_contiguous, as_operand, common_float, is_target, named_input
from fastconv.engine.epilogue import Activation, parse_activation
from fastconv.engine.launch import Launch
from fastconv.engine.replay import repeatable, repeated, unrepeatable
from fastconv.errors import GeometryError
from fastconv.kernels import threads as team
from fastconv.nn.arguments import checked_axis, result_like

__all__ = ["add", "cat", "flatten", "index_select"]

# As in activations.py.
_TILE_VALUES, _GRAIN = 2048, 8


@repeated()
@named_input
def add(
    x: npt.ArrayLike, other: npt.ArrayLike, *, activation: Activation = None, out: np.ndarray | None = None
) -> np.ndarray:
    """``activation(x + other)``, where a residual block meets its shortcut.

    Parameters
    ----------
    x, other : array_like of float32 or float64
        Of one shape; others are broadcast to one, by NumPy.
    activation : str or (str, float), optional
        As for `fastconv.conv2d`.
    out : ndarray, optional
        Array for the result; may be `x` or `other`.

    Returns
    -------
    ndarray
        The result, in the type to which the arguments promote.

    Raises
    ------
    TypeError
        Another type.
    GeometryError
        The shapes cannot be broadcast to one, or `out` has another shape; a ``ValueError``.
    ValueError
        `activation` is unknown.

    References
    ----------
    He, Zhang, Ren and Sun, Deep residual learning for image recognition, 2016.

    Examples
    --------
    >>> add([1.0, -2.0], [0.5, 0.5], activation="relu")
    array([1.5, 0. ])
    """
    from fastconv.kernels.slots import arguments

    x, other = as_array("x", x), as_array("other", other)
    dtype, (code, parameter) = common_float(x=x, other=other), parse_activation(activation)
    if x.shape != other.shape:
        try:
            x, other = (np.ascontiguousarray(term) for term in np.broadcast_arrays(x, other))
        except ValueError:
            raise GeometryError(f"x of shape {x.shape}, other of shape {other.shape}: expected the same") from None
        unrepeatable()
    result = result_like(x.shape, dtype, out)
    x, other = (as_contiguous(as_operand(term, dtype)) for term in (x, other))
    # In place is fine, as long as every value goes where a term came from.
    apart = [term for term in (x, other) if term is not out]
    target = result if is_target(result, *apart) else np.empty(result.shape, dtype)
    ints = arguments("add")(values=x.size, tile_values=_TILE_VALUES, activation=code)
    launch = Launch.of("add", dtype, ints, -(-x.size // _TILE_VALUES), _GRAIN)
    launch.run((x, other, target), team.get_num_threads(), (parameter,))
    if target is result:
        return repeatable(result)
    unrepeatable()
    result[...] = target
    return result


def cat(tensors: Sequence[npt.ArrayLike], dim: int = 0, *, out: np.ndarray | None = None) -> np.ndarray:
    """`tensors` behind one another along the axis `dim`, where the branches of an Inception module meet.

    Parameters
    ----------
    tensors : sequence of array_like of float32 or float64
        Their shapes agree in all other axes.
    dim : int
    out : ndarray, optional
        Array for the result.

    Returns
    -------
    ndarray
        The result, in the type to which the arguments promote.

    Raises
    ------
    TypeError
        Another type.
    GeometryError
        There are no arrays, their shapes do not fit together, or `out` has another shape; a ``ValueError``.

    References
    ----------
    Szegedy et al., Going deeper with convolutions, 2015.

    Examples
    --------
    >>> cat([[[1.0], [2.0]], [[3.0], [4.0]]], dim=1)
    array([[1., 3.],
           [2., 4.]])
    """
    if len(tensors) == 0:
        raise GeometryError("tensors: expected at least one array")
    arrays = [as_array(f"tensors[{number}]", array) for number, array in enumerate(tensors)]
    dtype = common_float(**{f"tensors[{number}]": array for number, array in enumerate(arrays)})
    first = arrays[0].shape
    axis = checked_axis("dim", dim, len(first))
    for number, array in enumerate(arrays):
        if array.shape[:axis] + array.shape[axis + 1 :] != first[:axis] + first[axis + 1 :]:
            raise GeometryError(
                f"tensors[{number}] of shape {array.shape}: expected {first}, like tensors[0], except along dim={dim}"
            )
    shape = (*first[:axis], sum(array.shape[axis] for array in arrays), *first[axis + 1 :])
    result = result_like(shape, dtype, out)
    unrepeatable()
    if out is not None and not is_target(out, *arrays):
        result[...] = np.concatenate(arrays, axis, dtype=dtype)
        return result
    np.concatenate(arrays, axis, out=result)
    return result


@named_input
def index_select(x: npt.ArrayLike, dim: int, index: npt.ArrayLike, *, out: np.ndarray | None = None) -> np.ndarray:
    """The slices of `x` at these places along an axis, in their order: for example some of its channels.

    Parameters
    ----------
    x : array_like of float32 or float64
    dim : int
    index : array_like of int, shape (M,)
        Places from 0 on, each as often as it is wanted.
    out : ndarray, optional
        Array for the result.

    Returns
    -------
    ndarray
        The result, as `x` but with M slices along `dim`.

    Raises
    ------
    TypeError
        `x` has another type, or `index` holds no integers.
    GeometryError
        `x` has no such axis or no such places, or `out` has another shape; a ``ValueError``.

    Examples
    --------
    >>> index_select([[1.0, 2.0, 3.0]], 1, [2, 0, 2])
    array([[3., 1., 3.]])
    """
    x, index = as_array("x", x), as_array("index", index)
    dtype, axis = common_float(x=x), checked_axis("dim", dim, x.ndim)
    places = checked_places(index, x.shape[axis])
    result = result_like((*x.shape[:axis], len(places), *x.shape[axis + 1 :]), dtype, out)
    result[...] = np.take(x, places, axis)
    return result


def checked_places(index: np.ndarray, extent: int) -> np.ndarray:
    """`index`, if it holds places along an axis of this extent."""
    if index.dtype.kind not in "iu":
        raise TypeError(f"index of dtype {index.dtype}: expected integers")
    wrong = index[(index < 0) | (index >= extent)] if index.ndim == 1 else index[:0]
    if index.ndim != 1 or wrong.size:
        what = f"contains {wrong.flat[0]}" if wrong.size else f"of shape {index.shape}"
        raise GeometryError(f"index {what}: expected places from 0 to {extent - 1}, along one axis")
    return index


@named_input
def flatten(x: npt.ArrayLike, start_dim: int = 0, end_dim: int = -1) -> np.ndarray:
    """`x` with the axes from `start_dim` to `end_dim` in one; a view where its memory allows it.

    Raises
    ------
    GeometryError
        `x` has no such axes, or the last comes before the first; a ``ValueError``.

    Examples
    --------
    >>> import numpy as np
    >>> flatten(np.zeros((2, 3, 4)), 1).shape
    (2, 12)
    """
    x = as_array("x", x)
    if x.ndim == 0:
        return x.reshape(1)
    first, last = checked_axis("start_dim", start_dim, x.ndim), checked_axis("end_dim", end_dim, x.ndim)
    if last < first:
        raise GeometryError(f"end_dim={end_dim!r}: expected an axis that does not come before start_dim={start_dim!r}")
    size = int(np.prod(x.shape[first : last + 1], dtype=np.int64))
    return x.reshape(*x.shape[:first], size, *x.shape[last + 1 :])
