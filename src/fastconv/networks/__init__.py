"""The classical networks: LeNet-5, AlexNet, ZFNet, VGG, GoogLeNet, ResNet, SqueezeNet and MobileNetV2.

Each is written once, in ``classical``, as a function that follows an image through its layers. ``NETWORKS`` describes
them: the geometry, the parameters and the receptive field of every layer. `build` makes them of real layers, with
weights drawn by `initial_weight` or taken over from others. `averaged` asks one or several networks about several views
of an image, which `crops` and `mirrored` make.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache, partial

import numpy as np
import numpy.typing as npt

from fastconv.graph import Network as Graph
from fastconv.networks.classical import CLASSICAL
from fastconv.networks.evaluating import averaged, crops, mirrored
from fastconv.networks.initialising import initial_weight
from fastconv.networks.writing import Building, Describing
from fastconv.receptive import Network

__all__ = [
    "NETWORKS",
    "VGG_START",
    "alexnet",
    "averaged",
    "build",
    "crops",
    "googlenet",
    "initial_weight",
    "lenet5",
    "mirrored",
    "resnet50",
    "vgg16",
    "weights",
    "zfnet",
]


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


VGG_START = ("conv1_1", "conv2_1", "conv3_1", "conv3_2", "fc6", "fc7", "fc8")
"""The layers with which the deeper configurations of VGG begin as in a trained A: its first four convolutions, which
have the same shapes in all of them, and its full connections (Simonyan and Zisserman 2015, section 3.1)."""


def build(
    name: str,
    *,
    rng: np.random.Generator | int | None = 0,
    dtype: npt.DTypeLike = np.float32,
    dense: bool = False,
    initialiser: str = "he",
    given: Mapping[str, Sequence[npt.ArrayLike]] | None = None,
) -> Graph:
    """A classical network with random or given weights, which ends in the probabilities of its classes.

    Parameters
    ----------
    name : str
        One of `NETWORKS`, for example ``"vgg16"``.
    rng : Generator, int or None
        Random generator or seed of the weights; biases are 0.
    dtype : float32 or float64
        Of the weights.
    dense : bool
        Write full connections as the convolutions that they are, so that the network takes larger images, too, and
        averages the classes' map before it takes probabilities, as VGG was tested.
    initialiser : {"he", "glorot", "lecun", "normal"}
        How weights are drawn: `initial_weight`.
    given : mapping of str to sequence of array_like, optional
        The arrays of some layers, by their names, as `weights` returns them; they are copied. Those of full connections
        fit with and without `dense`.

    Returns
    -------
    fastconv.Network
        It takes images (N, C, H, W), and returns probabilities (N, classes); ``"googlenet_auxiliary"`` returns those of
        its two auxiliary classifiers as well.

    Raises
    ------
    ValueError
        `name` or `initialiser` is unknown, or `given` names a layer that the network does not have.
    GeometryError
        Arrays in `given` have other shapes than those of their layer; a ``ValueError``.

    References
    ----------
    He, Zhang, Ren and Sun, Delving deep into rectifiers, 2015; and those of the networks.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> network = fastconv.networks.build("lenet5")
    >>> network(np.zeros((2, 1, 28, 28), np.float32)).shape
    (2, 10)

    The same weights, for images of other extents:

    >>> dense = fastconv.networks.build("lenet5", dense=True, given=fastconv.networks.weights(network)).prepare()
    >>> dense(np.zeros((1, 1, 60, 100), np.float32)).shape
    (1, 10)
    """
    if name not in CLASSICAL:
        raise ValueError(f"name={name!r}: expected one of {', '.join(CLASSICAL)}")
    title, extent, channels, write = CLASSICAL[name]
    kind, given = np.dtype(dtype), given or {}
    draw = partial(initial_weight, initialiser=initialiser, rng=np.random.default_rng(rng), dtype=kind)
    building = Building(title, draw, kind, dense, given)
    heads = write(building, building.image(channels, extent))
    building.finish(*(heads if isinstance(heads, tuple) else (heads,)))
    if unknown := [layer for layer in given if layer not in building.network]:
        raise ValueError(f"given: {title} has no layer {unknown[0]!r}")
    return building.network


def weights(network: Graph, layers: Iterable[str] | None = None) -> dict[str, tuple[np.ndarray, ...]]:
    """The weights and other constants of a network's layers, by the layers' names.

    Parameters
    ----------
    network : fastconv.Network
    layers : iterable of str, optional
        Names; by default all layers that have any.

    Returns
    -------
    dict of str to tuple of ndarray
        Weight and bias of convolutions and full connections; mean, variance, scale and shift of batch normalisations,
        whose names end in "norm". The arrays are the network's own.

    Raises
    ------
    ValueError
        The network has no layer of a name, or it has no arrays.

    Examples
    --------
    >>> import fastconv
    >>> from fastconv.networks import build, weights
    >>> small = build("lenet5")
    >>> {name: weight.shape for name, (weight, bias) in weights(small, ["conv1", "fc5"]).items()}
    {'conv1': (6, 1, 5, 5), 'fc5': (10, 84)}

    ``build("vgg16", given=weights(trained, VGG_START))`` begins a deeper VGG with layers of a trained A.
    """
    found = {
        node.name: arrays
        for node in network.nodes
        if (arrays := tuple(argument for argument in node.arguments if _is_real(argument)))
    }
    if layers is None:
        return found
    wanted = list(layers)
    if unknown := [name for name in wanted if name not in found]:
        raise ValueError(f"layers: {unknown[0]!r} is no layer of {network.title!r} that has arrays")
    return {name: found[name] for name in wanted}


def _is_real(argument: object) -> bool:
    """Whether an argument is an array of floats; the integers of a selection are no weights."""
    return isinstance(argument, np.ndarray) and argument.dtype.kind == "f"
