"""Dropout, at a fixed and at a random rate."""

from __future__ import annotations

import functools
import os
from typing import Any

import numpy as np
import numpy.typing as npt

from fastconv.engine.arrays import named_input
from fastconv.nn.arguments import checked_choice, checked_real, in_place, operand_and_result, quiet

__all__ = ["dropout", "random_dropout"]


@functools.cache
def _own_generator(process: int) -> np.random.Generator:
    """What draws where the caller has no generator: to seed one takes longer than to drop a thousand values. A process
    that was forked has another than its parent."""
    return np.random.default_rng()


def generator(rng: np.random.Generator | int | None) -> np.random.Generator:
    """`rng` itself, a generator with that seed, or the process's own."""
    return _own_generator(os.getpid()) if rng is None else np.random.default_rng(rng)


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
        Random generator or seed; by default one generator per process, seeded by the system.
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
    Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov, Dropout, JMLR 2014.

    Examples
    --------
    >>> out = dropout(np.ones(1000), 0.25, rng=0)
    >>> np.unique(out)
    array([0.        , 1.33333333])
    >>> dropout([1.0, 2.0], 0.25, training=False, scale_at="test")
    array([0.75, 1.5 ])
    """
    p = _checked_rate(p)
    return _dropped(x, p, p, training, scale_at, generator(rng), return_mask, in_place(x, inplace, out))


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
    p, rng = _checked_rate(p), generator(rng)
    return _dropped(x, p * rng.random() if training else p, p / 2, training, scale_at, rng, return_mask, out)


@quiet
def _dropped(
    x: npt.ArrayLike,
    rate: float,
    mean_rate: float,
    training: bool,
    scale_at: str,
    rng: np.random.Generator,
    return_mask: bool,
    out: np.ndarray | None,
) -> np.ndarray | tuple[np.ndarray, np.ndarray]:
    """`dropout` at the `rate` drawn for this call, from a distribution with mean `mean_rate`."""
    at_test = checked_choice("scale_at", scale_at, "training", "test")
    x, result = operand_and_result(x, out)
    dropped, factor = None, 1 - mean_rate if at_test and not training else 1.0
    if training:
        dropped = rng.random(x.shape, x.dtype) < rate
        if not at_test and rate < 1:
            factor = 1 / (1 - rate)
    np.multiply(x, factor, out=result)
    if dropped is not None:
        np.copyto(result, 0, where=dropped)  # infinite and NaN values are dropped, too
    if not return_mask:
        return result
    mask = np.full(x.shape, factor, x.dtype)
    if dropped is not None:
        mask[dropped] = 0
    return result, mask


def _checked_rate(p: Any) -> float:
    if not 0 <= checked_real("p", p) <= 1:
        raise ValueError(f"p={p!r}: expected a probability from 0 to 1")
    return float(p)
