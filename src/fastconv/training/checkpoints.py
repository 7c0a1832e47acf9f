"""Checkpoints: what was learnt so far, in a ``.npz`` file that any NumPy reads.

Files are not trusted. They are read without pickle, and the values of an array only once its name, shape and type are
known to be those that are expected: a file cannot make a program allocate more than its own network takes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from fastconv.training.archives import opened
from fastconv.training.optimisers import Optimiser
from fastconv.training.reverse import Trainable

_STEPS = np.dtype(np.int64)


def save(path: str | os.PathLike[str], trainable: Trainable, optimiser: Optimiser | None = None) -> None:
    """Write parameters, statistics, the numbers of steps and what `optimiser` keeps of gradients.

    A file of this name is replaced once all is written.

    Parameters
    ----------
    path : path
        Used as it is; ``.npz`` is usual.
    trainable : Trainable
    optimiser : Optimiser, optional

    Examples
    --------
    >>> import fastconv, os, tempfile
    >>> trainable = fastconv.training.Trainable(fastconv.networks.build("lenet5"))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "lenet5.npz")
    ...     fastconv.training.save(path, trainable)
    ...     fastconv.training.load(path, trainable)
    """
    arrays: dict[str, Any] = dict(_arrays(trainable, optimiser)) | _steps(trainable, optimiser)
    unfinished = f"{os.fspath(path)}.unfinished"
    try:
        with open(unfinished, "wb") as file:
            np.savez(file, **arrays)
        os.replace(unfinished, path)
    finally:
        if os.path.exists(unfinished):
            os.remove(unfinished)


def load(path: str | os.PathLike[str], trainable: Trainable, optimiser: Optimiser | None = None) -> None:
    """Read what `save` wrote into arrays of the same names, shapes and types. Training goes on as if it never stopped.

    Parameters
    ----------
    path : path
    trainable : Trainable
        Of the same network.
    optimiser : Optimiser, optional
        Of the same kind. Without one, what the file holds of an optimiser is left alone.

    Raises
    ------
    OSError
        The file cannot be read.
    ValueError
        It is not a checkpoint of this network and optimiser, which then stay as they are.
    """
    expected, counts = dict(_arrays(trainable, optimiser)), _steps(trainable, optimiser)
    with opened(path) as read:
        found = {name: read(name, partial(_differs, array)) for name, array in (expected | counts).items()}
    if any(found[name] < 0 for name in counts):
        raise ValueError(f"{os.fspath(path)}: expected numbers of steps of at least 0")
    for name, array in expected.items():
        array[...] = found[name]
    trainable.steps = int(found["steps"])
    if optimiser is not None:
        optimiser.steps = int(found["optimiser/steps"])


def _arrays(trainable: Trainable, optimiser: Optimiser | None) -> Iterator[tuple[str, np.ndarray]]:
    """All arrays that training changes, by the names that they have in a file."""
    groups: dict[str, Any] = {"parameters": trainable.parameters, "statistics": trainable.statistics}
    for average, arrays in ({} if optimiser is None else optimiser.state).items():
        groups[f"optimiser/{average}"] = arrays
    for group, arrays in groups.items():
        for name, array in arrays.items():
            yield f"{group}/{name}", array


def _steps(trainable: Trainable, optimiser: Optimiser | None) -> dict[str, np.ndarray]:
    counts = {"steps": np.array(trainable.steps, _STEPS)}
    if optimiser is not None:
        counts["optimiser/steps"] = np.array(optimiser.steps, _STEPS)
    return counts


def _differs(like: np.ndarray, shape: tuple[int, ...], dtype: np.dtype) -> str | None:
    return None if shape == like.shape and dtype == like.dtype else f"expected {like.shape} and {like.dtype}"
