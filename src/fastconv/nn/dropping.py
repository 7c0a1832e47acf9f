"""Dropout: of values, of whole channels, and at a random rate."""

from __future__ import annotations

import functools
import os
from typing import Any

import numpy as np
import numpy.typing as npt

from fastconv.engine.arrays import named_input
from fastconv.engine.launch import Launch
from fastconv.engine.replay import repeatable, repeated
from fastconv.errors import GeometryError
from fastconv.nn.arguments import checked_choice, checked_real, in_place, launched, operand_and_result, quiet

__all__ = ["dropout", "dropout2d", "random_dropout"]

# Values per tile, a multiple of those that kernels draw at a time; and tiles that outweigh waking a thread.
_TILE_VALUES, _GRAIN = 2048, 4


@functools.cache
def _own_generator(process: int) -> np.random.Generator:
    """The generator of this process, for callers without one: seeding takes longer than dropping a thousand values. A
    forked process has its own."""
    return np.random.default_rng()


def generator(rng: np.random.Generator | int | None) -> np.random.Generator:
    """`rng` itself, a generator with that seed, or the process's own."""
    return _own_generator(os.getpid()) if rng is None else np.random.default_rng(rng)


def drawn_key(rng: np.random.Generator | int | None) -> np.ndarray:
    """Two words of a generator: the key to a stream of its own, of which kernels compute every word by its position."""
    key: np.ndarray = generator(rng).bit_generator.random_raw(2)
    return key


def launched_with_noise(
    kernel: str,
    x: np.ndarray,
    result: np.ndarray,
    factors: np.ndarray | None,
    key: np.ndarray,
    scalars: tuple[float, float],
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """`result` of a kernel of kernels/simd/noise.h, and what it multiplied each value by, if that is wanted."""
    from fastconv.kernels.slots import arguments

    ints = arguments(kernel)(values=x.size, tile_values=_TILE_VALUES)
    launch = Launch.of(kernel, x.dtype, ints, -(-x.size // _TILE_VALUES), _GRAIN)
    launched(launch, x, result, (factors, key), scalars)
    return repeatable(result if factors is None else (result, factors))


@named_input
def dropout(
    x: npt.ArrayLike,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    scale_at: str = "training",
    rng: np.random.Generator | int | None = None,
    return_mask: bool = False,
    out: np.ndarray | None = None,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """Set each value to zero with probability `p`, and scale so that the expectation stays the same.

    Parameters
    ----------
    x, inplace, out
        As `relu`.
    p : float
        Probability of a zero, from 0 to 1.
    training : bool
        Drop values; if false, only scale, if `scale_at` says so.
    scale_at : {"training", "test"}
        Divide the remaining values by ``1 - p`` in training ("inverted" dropout, as in torch), or multiply by ``1 - p``
        at test time (as in the original paper).
    rng : Generator, int or None
        Random generator or seed; by default one generator per process, seeded by the system. It draws a key, and every
        value has 32 bits that depend on the key and the value's position alone (Threefry): a seed drops the same values
        in both types, on any number of threads.
    return_mask : bool
        Also return the factors, which `fastconv.grad.layers.dropout` needs.

    Returns
    -------
    out : ndarray
        The result; dropped values are 0, even if they were NaN.
    mask : ndarray
        With `return_mask`: the factor of each value of `x`.

    Raises
    ------
    TypeError, GeometryError
        As `relu`.
    ValueError
        `p` is not a probability, or `scale_at` is unknown.

    References
    ----------
    Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, Dropout, JMLR 2014; Salmon, Moraes, Dror and Shaw,
    Parallel random numbers: as easy as 1, 2, 3, 2011.

    Examples
    --------
    >>> out = dropout(np.ones(1000), 0.25, rng=0)
    >>> np.unique(out)
    array([0.        , 1.33333333])
    >>> dropout([1.0, 2.0], 0.25, training=False, scale_at="test")
    array([0.75, 1.5 ])
    """
    p, at_test, out = _checked_rate(p), _at_test(scale_at), in_place(x, inplace, out)
    if not training:
        return _scaled(x, 1 - p if at_test else 1.0, return_mask, out)
    return _repeatedly_dropped(x, p, at_test, drawn_key(rng), return_mask, out=out)


@named_input
@quiet
def dropout2d(
    x: npt.ArrayLike,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    scale_at: str = "training",
    rng: np.random.Generator | int | None = None,
    return_mask: bool = False,
    out: np.ndarray | None = None,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """`dropout` of whole channels: neighbouring values of a map say nearly the same, and a few zeros hide nothing.

    Parameters
    ----------
    x : array_like of float32 or float64, shape (N, C, H, W) or (C, H, W)
    p, training, inplace, scale_at, rng, return_mask, out
        As `dropout`, with a draw per channel.

    Returns
    -------
    out : ndarray
    mask : ndarray, shape (N, C, 1, 1) or (C, 1, 1)
        With `return_mask`: the factor of each channel.

    Raises
    ------
    TypeError, ValueError, GeometryError
        As `dropout`; also if `x` has another number of axes.

    References
    ----------
    Tompson, Goroshin, Jain, LeCun and Bregler, Efficient object localization using convolutional networks, 2015.

    Examples
    --------
    >>> dropout2d(np.ones((1, 4, 1, 2)), 0.5, rng=0)[0, :, 0]
    array([[2., 2.],
           [0., 0.],
           [0., 0.],
           [2., 2.]])
    """
    x, result = operand_and_result(x, in_place(x, inplace, out))
    if x.ndim not in (3, 4):
        raise GeometryError(f"x of shape {x.shape}: expected (N, C, H, W) or (C, H, W)")
    ones = np.ones((*x.shape[:-2], 1, 1), x.dtype)
    mask = np.asarray(dropout(ones, p, training, scale_at=scale_at, rng=rng))
    np.multiply(x, mask, out=result)
    result[mask[..., 0, 0] == 0] = 0  # infinity and NaN are dropped, too
    return (result, mask) if return_mask else result


@named_input
def random_dropout(
    x: npt.ArrayLike,
    p: float = 0.5,
    training: bool = True,
    *,
    scale_at: str = "training",
    rng: np.random.Generator | int | None = None,
    return_mask: bool = False,
    out: np.ndarray | None = None,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """`dropout` with a rate drawn uniformly from ``[0, p)`` in each call, that is, for each layer and pass.

    Parameters
    ----------
    x, training, scale_at, rng, return_mask, out
        As `dropout`; at test time the mean rate ``p / 2`` is used.
    p : float
        Upper bound of the rate, from 0 to 1.

    Returns
    -------
    ndarray, or ndarray and mask
        As `dropout`.

    Raises
    ------
    TypeError, ValueError
        As `dropout`.

    References
    ----------
    Bouthillier, Konda, Vincent and Memisevic, Dropout as data augmentation, 2015.

    Examples
    --------
    >>> random_dropout([1.0, 2.0], 0.5, training=False, scale_at="test")
    array([0.75, 1.5 ])
    """
    p, at_test = _checked_rate(p), _at_test(scale_at)
    if not training:
        return _scaled(x, 1 - p / 2 if at_test else 1.0, return_mask, out)
    rng = generator(rng)
    return _dropped(x, p * rng.random(), at_test, drawn_key(rng), return_mask, out=out)


def _dropped(
    x: npt.ArrayLike,
    rate: float,
    at_test: bool,
    key: np.ndarray,
    return_mask: bool,
    *,
    out: np.ndarray | None,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """`dropout` in training: a value is dropped if its 32 random bits are less than `rate`."""
    x, result = operand_and_result(x, out)
    mask = np.empty(x.shape, x.dtype) if return_mask else None
    factor = 1.0 if at_test or rate == 1 else 1 / (1 - rate)
    return launched_with_noise("drop", x, result, mask, key, (float(round(rate * 2**32)), factor))


# A recording would be in vain where each call has a rate of its own.
_repeatedly_dropped = repeated()(_dropped)


@quiet
def _scaled(
    x: npt.ArrayLike, factor: float, return_mask: bool, out: np.ndarray | None
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """`dropout` at test time."""
    x, result = operand_and_result(x, out)
    np.multiply(x, factor, out=result)
    return (result, np.full(x.shape, factor, x.dtype)) if return_mask else result


def _at_test(scale_at: str) -> bool:
    return checked_choice("scale_at", scale_at, "training", "test")


def _checked_rate(p: Any) -> float:
    if not 0 <= checked_real("p", p) <= 1:
        raise ValueError(f"p={p!r}: expected a probability from 0 to 1")
    return float(p)
