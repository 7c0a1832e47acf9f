"""What a network says of an image in several views, and what several networks say together.

References: Krizhevsky, Sutskever and Hinton, ImageNet classification with deep convolutional neural networks, 2012 (ten
crops); Simonyan and Zisserman, Very deep convolutional networks for large-scale image recognition, 2015, sections 3.2
and 4 (dense evaluation, several scales, grids of crops, networks averaged after the softmax).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from fastconv.engine.arrays import as_array
from fastconv.engine.geometry import output_extent, spread_starts
from fastconv.engine.geometry.axes import integers, times
from fastconv.errors import GeometryError


def mirrored(images: npt.ArrayLike) -> np.ndarray:
    """Each image, and its mirror image: two views.

    Parameters
    ----------
    images : array_like, shape (N, C, H, W)

    Returns
    -------
    ndarray, shape (N, 2, C, H, W)

    Raises
    ------
    GeometryError
        `images` has another number of axes; a ``ValueError``.

    Examples
    --------
    >>> mirrored(np.arange(3.0).reshape(1, 1, 1, 3)).ravel()
    array([0., 1., 2., 2., 1., 0.])
    """
    images = _checked_images(images)
    return np.stack([images, images[..., ::-1]], 1)


def crops(images: npt.ArrayLike, size: int | Sequence[int], *, grid: int | Sequence[int] | None = None) -> np.ndarray:
    """Parts of each image at several places, and their mirror images.

    Parameters
    ----------
    images : array_like, shape (N, C, H, W)
    size : int or (int, int)
        Height and width of the parts.
    grid : int or (int, int), optional
        So many places down and across, which spread evenly over the image: 5 makes VGG's 50 crops. By default there are
        five places, the corners and the middle, which makes AlexNet's ten crops.

    Returns
    -------
    ndarray, shape (N, K, C, height, width)
        From top left to bottom right, the middle last, then all of them mirrored.

    Raises
    ------
    GeometryError
        `images` has another number of axes, `size` does not fit into them, a number is not positive, or `grid` has more
        places than there are; a ``ValueError``.

    Examples
    --------
    >>> images = np.arange(16.0).reshape(1, 1, 4, 4)
    >>> crops(images, 2).shape, crops(images, 2, grid=3).shape
    ((1, 10, 1, 2, 2), (1, 18, 1, 2, 2))
    >>> crops(images, 2)[0, :5, 0, 0, 0]  # where the five places begin
    array([ 0.,  2.,  8., 10.,  5.])
    """
    images = _checked_images(images)
    height, width = integers("size", size, 2, 1)
    grids = ((2, 2), (1, 1)) if grid is None else (_checked_grid(grid, images.shape[2:], (height, width)),)
    places = [
        (top, left)
        for rows, columns in grids
        for top in spread_starts(images.shape[2], height, rows)
        for left in spread_starts(images.shape[3], width, columns)
    ]
    batch, channels = images.shape[:2]
    parts = np.empty((batch, 2 * len(places), channels, height, width), images.dtype)
    for number, (top, left) in enumerate(places):
        part = images[..., top : top + height, left : left + width]
        parts[:, number], parts[:, len(places) + number] = part, part[..., ::-1]
    return parts


def averaged(
    networks: Callable[[np.ndarray], Any] | Sequence[Callable[[np.ndarray], Any]],
    views: npt.ArrayLike | Sequence[npt.ArrayLike],
) -> np.ndarray:
    """The mean of the class probabilities that networks give for several views of the same images.

    What is averaged are probabilities, that is, results of a softmax, as in the evaluation of VGG. To evaluate a
    network densely, build it with ``dense=True``: at any extent, it averages the map of its classes before its softmax.

    Parameters
    ----------
    networks : callable, or sequence of callables
        Networks or programs, from images (N, C, H, W) to probabilities (N, classes). Of several outputs the first
        counts: GoogLeNet's auxiliary classifiers take no part at test time.
    views : array_like or sequence of array_like, shape (N, C, H, W) or (N, K, C, H, W)
        The images, or K views of each, for example from `crops` or `mirrored`. Several arrays, which may differ in K
        and in extent, are for example several scales; each of them counts as much as another.

    Returns
    -------
    ndarray of float64, shape (N, classes)

    Raises
    ------
    GeometryError
        An array has another number of axes or of images, or the networks' results differ in shape; a ``ValueError``.
    ValueError
        There are no networks or no views.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> from fastconv.networks import averaged, build, mirrored
    >>> networks = [build("lenet5", rng=seed, dense=True).prepare() for seed in range(3)]
    >>> rng = np.random.default_rng(0)
    >>> scales = [rng.random((2, 1, extent, extent), np.float32) for extent in (32, 48)]
    >>> averaged(networks, [mirrored(images) for images in scales]).shape
    (2, 10)
    """
    programs = [networks] if callable(networks) else list(networks)
    arrays = [_checked_views(array) for array in (views if isinstance(views, list | tuple) else [views])]
    if not programs or not arrays:
        raise ValueError(f"{len(programs)} networks and {len(arrays)} arrays of views: expected at least one of each")
    if len({len(array) for array in arrays}) > 1:
        raise GeometryError(
            f"views of {', '.join(str(len(array)) for array in arrays)} images: expected as many in each"
        )
    means = [_mean_over_views(program, array) for program in programs for array in arrays]
    shapes = dict.fromkeys(mean.shape for mean in means)
    if len(shapes) > 1:
        raise GeometryError(
            f"results of shapes {', '.join(map(str, shapes))}: expected the same classes of all networks"
        )
    mean: np.ndarray = np.mean(means, 0)
    return mean


def _mean_over_views(program: Callable[[np.ndarray], Any], views: np.ndarray) -> np.ndarray:
    # A view at a time, so that this takes no more memory than one batch.
    results = [program(views[:, view]) for view in range(views.shape[1])]
    return np.asarray(np.mean([one[0] if isinstance(one, tuple) else one for one in results], 0, np.float64))


def _checked_images(images: npt.ArrayLike) -> np.ndarray:
    images = as_array("images", images)
    if images.ndim != 4:
        raise GeometryError(f"images: an array of shape {images.shape}, expected (N, C, H, W)")
    return images


def _checked_grid(grid: Any, extent: tuple[int, ...], size: tuple[int, ...]) -> tuple[int, ...]:
    """So many places per axis, no more than there are."""
    counts = integers("grid", grid, 2, 1)
    most = [output_extent(pixels, (0, 0), window, 1, 1) for pixels, window in zip(extent, size, strict=True)]
    if any(count > max(1, limit) for count, limit in zip(counts, most, strict=True)):
        raise GeometryError(f"grid={grid!r}: expected at most the {times(most)} places of parts of {times(size)}")
    return counts


def _checked_views(views: Any) -> np.ndarray:
    array = as_array("views", views)
    if array.ndim not in (4, 5) or not array.shape[1]:
        raise GeometryError(f"views: an array of shape {array.shape}, expected (N, C, H, W) or (N, K, C, H, W)")
    return array if array.ndim == 5 else array[:, None]
