"""The classical networks: LeNet-5, AlexNet, ZFNet, VGG, GoogLeNet and ResNet.

Each is written once, in ``classical``, as a function that follows an image through its layers. ``NETWORKS`` describes
them: the geometry, the parameters and the receptive field of every layer. `build` makes them of real layers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import numpy as np
import numpy.typing as npt

from fastconv.graph import Network as Graph
from fastconv.networks.classical import CLASSICAL
from fastconv.networks.writing import Building, Describing
from fastconv.receptive import Network

__all__ = ["NETWORKS", "alexnet", "build", "googlenet", "lenet5", "resnet50", "vgg16", "zfnet"]


@cache
def _described(name: str) -> Network:
    title, extent, channels, write = CLASSICAL[name]
    describing = Describing()
    write(describing, describing.image(channels, extent))
    return Network(title, describing.layers)


NETWORKS: dict[str, Callable[[], Network]] = {name: partial(_described, name) for name in CLASSICAL}
"""The layers of each network, for one image of the extent that its authors used."""

lenet5, alexnet, zfnet, vgg16, googlenet, resnet50 = (
    NETWORKS[name] for name in ("lenet5", "alexnet", "zfnet", "vgg16", "googlenet", "resnet50")
)


def build(
    name: str, *, rng: np.random.Generator | int | None = 0, dtype: npt.DTypeLike = np.float32, dense: bool = False
) -> Graph:
    """A classical network with random weights, which ends in the probabilities of its classes.

    Parameters
    ----------
    name : str
        One of `NETWORKS`, for example ``"vgg16"``.
    rng : Generator, int or None
        Random generator or seed of the weights: normal, with variance 2 / fan-in (He et al. 2015); biases are 0.
    dtype : float32 or float64
        Of the weights.
    dense : bool
        Write full connections as the convolutions that they are, so that the network takes larger images, too, and
        averages the classes' map before it takes probabilities, as VGG was tested.

    Returns
    -------
    fastconv.Network
        It takes images (N, C, H, W), and returns probabilities (N, classes).

    Raises
    ------
    ValueError
        `name` is unknown.

    References
    ----------
    He, Zhang, Ren and Sun, Delving deep into rectifiers, 2015; and those of the networks.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> network = fastconv.networks.build("lenet5")
    >>> network(np.zeros((2, 1, 28, 28), np.float32)).shape
    (2, 10)
    >>> dense = fastconv.networks.build("lenet5", dense=True).prepare()
    >>> dense(np.zeros((1, 1, 60, 100), np.float32)).shape
    (1, 10)
    """
    if name not in CLASSICAL:
        raise ValueError(f"name={name!r}: expected one of {', '.join(CLASSICAL)}")
    title, extent, channels, write = CLASSICAL[name]
    building = Building(title, np.random.default_rng(rng), np.dtype(dtype), dense)
    building.finish(write(building, building.image(channels, extent)))
    return building.network
