"""The loop of training: epochs of shuffled batches, with what becomes of the loss and the accuracy."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fastconv.errors import GeometryError
from fastconv.nn.arguments import checked_integer
from fastconv.training.optimisers import Optimiser
from fastconv.training.reverse import Trainable

Augmentation = Callable[[np.ndarray, np.random.Generator], np.ndarray]
"""From a batch of images to the images that the network is given."""


@dataclass(frozen=True, slots=True)
class Epoch:
    """What became of a network in one pass over the images."""

    number: int
    loss: float
    """The mean of all batches, as they came: dropout and augmentation included."""
    accuracy: float
    """The share of images whose class had the largest score."""
    held_out: float | None
    """The accuracy on images that were held out."""
    seconds: float


def fit(
    trainable: Trainable,
    optimiser: Optimiser,
    images: np.ndarray,
    labels: npt.ArrayLike,
    *,
    epochs: int,
    batch: int = 64,
    first: int = 0,
    augment: Augmentation | None = None,
    held_out: tuple[np.ndarray, npt.ArrayLike] | None = None,
    progress: Callable[[int, int, str], None] | None = None,
) -> Iterator[Epoch]:
    """Train a classifier, and tell of each epoch when it is over.

    The order of the images depends on the seed of `trainable` and the number of the epoch alone: training that
    continues from a checkpoint at the end of an epoch gives the same bits as training that was never interrupted.

    Parameters
    ----------
    trainable : Trainable
        Of a network with one input and one output; its loss takes the labels as targets.
    optimiser : Optimiser
        Of its parameters.
    images : ndarray, shape (N, ...)
    labels : array_like of int, shape (N,)
    epochs, batch : int
        How many passes over the images, and how many of them at a time; the last batch may be smaller.
    first : int
        The number of epochs that were made before.
    augment : callable, optional
        Called with each batch of images and a random generator; returns the images to train on.
    held_out : (ndarray, array_like), optional
        Other images and their labels, on which the network is tried after each epoch.
    progress : callable, optional
        Called after each batch with the number of batches done, that of all, and a line about loss, accuracy and the
        time that is left.

    Yields
    ------
    Epoch

    Raises
    ------
    GeometryError
        There is not one label for each image, or a number is not an int of at least 1; a ``ValueError``.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> network = fastconv.Network()
    >>> network.output(network.call(fastconv.nn.linear, network.input(), np.zeros((2, 1)), np.zeros(2)))
    >>> trainable = fastconv.training.Trainable(network)
    >>> optimiser = fastconv.training.SGD(trainable.parameters, 0.5)
    >>> images, labels = np.array([[-1.0], [1.0]]), [0, 1]
    >>> [epoch.accuracy for epoch in fastconv.training.fit(trainable, optimiser, images, labels, epochs=3)]
    [0.5, 1.0, 1.0]
    """
    labels = np.asarray(labels)
    epochs, batch = checked_integer("epochs", epochs, 1), checked_integer("batch", batch, 1)
    if labels.shape != images.shape[:1] or not labels.size:
        raise GeometryError(f"labels of shape {labels.shape}: expected {images.shape[:1]}, one for each image")
    return _epochs(trainable, optimiser, images, labels, epochs, batch, first, augment, held_out, progress)


def _epochs(
    trainable: Trainable,
    optimiser: Optimiser,
    images: np.ndarray,
    labels: np.ndarray,
    epochs: int,
    batch: int,
    first: int,
    augment: Augmentation | None,
    held_out: tuple[np.ndarray, npt.ArrayLike] | None,
    progress: Callable[[int, int, str], None] | None,
) -> Iterator[Epoch]:
    batches = -(-len(images) // batch)
    begun = time.perf_counter()
    for epoch in range(first, first + epochs):
        generator = np.random.default_rng((trainable.seed, epoch))
        order = generator.permutation(len(images))
        started, loss, right, seen = time.perf_counter(), 0.0, 0, 0
        for start in range(0, len(images), batch):
            chosen = order[start : start + batch]
            given = images[chosen] if augment is None else augment(images[chosen], generator)
            step = trainable.gradients(given, labels[chosen])
            optimiser.update(step.by_parameter)
            seen += len(chosen)
            loss += step.loss * len(chosen)
            right += int((step.outputs[0].argmax(1) == labels[chosen]).sum())
            del step  # the next one takes its memory
            if progress is not None:
                done, total = (epoch - first) * batches + start // batch + 1, epochs * batches
                left = (time.perf_counter() - begun) / done * (total - done)
                line = f"epoch {epoch + 1}, loss {loss / seen:.4f}, accuracy {right / seen:.1%}, {_clock(left)} left"
                progress(done, total, line)
        tried = None if held_out is None else accuracy(trainable, *held_out)
        yield Epoch(epoch + 1, loss / seen, right / seen, tried, time.perf_counter() - started)


def accuracy(trainable: Trainable, images: np.ndarray, labels: npt.ArrayLike) -> float:
    """The share of `images` to whose class the network gives the largest score, in inference.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> network = fastconv.Network()
    >>> network.output(network.call(fastconv.nn.linear, network.input(), np.array([[-1.0], [1.0]])))
    >>> fastconv.training.accuracy(fastconv.training.Trainable(network), np.array([[-3.0], [2.0]]), [0, 0])
    0.5
    """
    scores: Any = trainable.network().prepare()(images)
    return float((scores.argmax(1) == np.asarray(labels)).mean())


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"
