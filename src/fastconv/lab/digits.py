"""Pictures of handwritten digits, or others like them, with their classes: what small networks learn from.

scikit-learn's wheel holds 1,797 real digits of 8×8 pixels (Alpaydin and Kaynak, 1998). Larger sets are read from files
of MNIST or Fashion-MNIST, as Keras or their authors publish them. Files are not trusted: extents are checked before
anything is decoded.
"""

from __future__ import annotations

import gzip
import os
import zlib
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fastconv.training.archives import opened

EXTENT = 28
CLASSES = 10

# scikit-learn's digits fill their frames; MNIST's are 20×20 within 28×28.
_INNER = 20

# Ten times as many as MNIST has.
_MOST_IMAGES = 700_000

# The share of images that is held out where no files say which.
_HELD_OUT = 0.2


class Set(NamedTuple):
    """Images (N, 1, 28, 28) of float32 from 0 to 1, and their classes."""

    images: np.ndarray
    labels: np.ndarray


class Digits(NamedTuple):
    title: str
    learnt: Set
    held_out: Set


def load(path: str | None, seed: int) -> Digits:
    """The digits of scikit-learn, or those in `path`: a ``.npz`` file, or a folder with IDX files, gzipped or not.

    Without files of their own, a fifth of the images, drawn by `seed`, is held out.

    Raises
    ------
    ImportError
        scikit-learn is needed but not installed.
    OSError, ValueError
        The file cannot be read, or does not hold images of 28×28 and their classes.
    """
    if path is None:
        return _divided("scikit-learn's digits", _small_digits(), seed)
    name = Path(path).name
    if path.endswith(".npz"):
        with opened(path) as read:
            pairs = [
                (read(f"x_{part}", _refuse_images), read(f"y_{part}", _refuse_labels)) for part in ("train", "test")
            ]
        return Digits(name, *(_checked(path, *pair) for pair in pairs))
    if not os.path.isdir(path):
        raise ValueError(f"{path}: expected a .npz file, or a folder with train-images-idx3-ubyte(.gz) and others")
    learnt, held_out = (_of_idx(Path(path), part) for part in ("train", "t10k"))
    if learnt is None:
        raise ValueError(f"{path}: train-images-idx3-ubyte(.gz) is missing")
    return _divided(name, learnt, seed) if held_out is None else Digits(name, learnt, held_out)


def _small_digits() -> Set:
    """Enlarged to 20×20 by bilinear interpolation, and framed as MNIST's are."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ImportError("the digits come with scikit-learn: pip install 'fastconv[train]'; or name --data") from None
    from scipy import ndimage

    data, labels = load_digits(return_X_y=True)
    small = data.reshape(-1, 8, 8) / 16
    scale = _INNER / small.shape[1]
    inner = ndimage.zoom(small, (1, scale, scale), order=1, mode="nearest", grid_mode=True)
    edge = (EXTENT - _INNER) // 2
    images = np.pad(inner, ((0, 0), (edge, edge), (edge, edge)))[:, np.newaxis]
    return Set(np.ascontiguousarray(images, np.float32), labels.astype(np.int64))


def _divided(title: str, whole: Set, seed: int) -> Digits:
    order = np.random.default_rng(seed).permutation(len(whole.labels))
    count = round(_HELD_OUT * len(order))
    held_out, learnt = (Set(*(array[chosen] for array in whole)) for chosen in (order[:count], order[count:]))
    return Digits(title, learnt, held_out)


def _refuse_images(shape: tuple[int, ...], dtype: np.dtype) -> str | None:
    fits = shape[1:] == (EXTENT, EXTENT) and 1 < shape[0] <= _MOST_IMAGES and dtype == np.uint8
    return None if fits else f"expected (N, {EXTENT}, {EXTENT}) and uint8, N at most {_MOST_IMAGES}"


def _refuse_labels(shape: tuple[int, ...], dtype: np.dtype) -> str | None:
    fits = len(shape) == 1 and shape[0] <= _MOST_IMAGES and dtype.kind in "iu"
    return None if fits else f"expected (N,) and integers, N at most {_MOST_IMAGES}"


def _checked(path: str | os.PathLike[str], images: np.ndarray, labels: np.ndarray) -> Set:
    if len(images) != len(labels):
        raise ValueError(f"{os.fspath(path)}: {len(images)} images and {len(labels)} labels: expected as many")
    if labels.min() < 0 or labels.max() >= CLASSES:
        raise ValueError(
            f"{os.fspath(path)}: labels from {labels.min()} to {labels.max()}: expected 0 to {CLASSES - 1}"
        )
    return Set((images[:, np.newaxis] / np.float32(255)).astype(np.float32), labels.astype(np.int64))


def _of_idx(folder: Path, part: str) -> Set | None:
    """The images and labels of a part of MNIST; None if there are none."""
    images = _idx(folder / f"{part}-images-idx3-ubyte", 3)
    labels = _idx(folder / f"{part}-labels-idx1-ubyte", 1)
    if images is None:
        return None
    if labels is None:
        raise ValueError(f"{folder}: {part}-labels-idx1-ubyte(.gz) is missing")
    return _checked(folder, images, labels)


def _idx(path: Path, ndim: int) -> np.ndarray | None:
    """The bytes of an IDX file of so many axes (LeCun, Cortes and Burges, 1998), or of its gzipped form."""
    zipped = path.with_name(f"{path.name}.gz")
    if not path.exists() and not zipped.exists():
        return None
    path = path if path.exists() else zipped
    try:
        with gzip.open(path) if path.suffix == ".gz" else open(path, "rb") as file:
            header = file.read(4 + 4 * ndim)
            if len(header) != 4 + 4 * ndim or header[:4] != bytes((0, 0, 8, ndim)):
                raise ValueError(f"expected the header of bytes along {ndim} axes, as IDX files have")
            shape = tuple(np.frombuffer(header, ">u4", offset=4).tolist())
            fault = (_refuse_images if ndim == 3 else _refuse_labels)(shape, np.dtype(np.uint8))
            if fault is not None:
                raise ValueError(f"shape {shape}: {fault}")
            values = file.read(prod(shape))
            if len(values) != prod(shape) or file.read(1):
                raise ValueError(f"expected {prod(shape)} values")
    except (EOFError, gzip.BadGzipFile, zlib.error, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None
    return np.frombuffer(values, np.uint8).reshape(shape)
