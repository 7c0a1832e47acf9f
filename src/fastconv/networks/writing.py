"""Two ways to follow an image through the layers of a network: describing them, and building them.

A network is a function that calls a writer's methods, one per layer. Each takes what earlier ones returned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Generic, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from fastconv import nn
from fastconv.engine.geometry import ConvGeometry, PoolGeometry
from fastconv.errors import GeometryError
from fastconv.graph import Network, Value
from fastconv.receptive import Layer

_Map = TypeVar("_Map", bound="Map")


@dataclass(frozen=True, slots=True)
class Map:
    """What a layer reads: so many channels of a square extent."""

    channels: int
    extent: int


class Writer(Protocol, Generic[_Map]):
    """What happens to an image on its way. Layers with weights, and sums, end in a ReLU unless they are `linear`."""

    def conv(
        self,
        name: str,
        x: _Map,
        filters: int,
        kernel: int = 1,
        stride: int = 1,
        padding: int = 0,
        *,
        groups: int = 1,
        norm: bool = False,
        linear: bool = False,
        relu6: bool = False,
    ) -> _Map:
        """A convolution with a bias, or with a batch normalisation; `relu6` stops its ReLU at 6."""

    def pool(
        self, name: str, x: _Map, kernel: int, stride: int, padding: int = 0, *, ceil: bool = False, mean: bool = False
    ) -> _Map: ...

    def full(self, name: str, x: _Map, units: int, *, linear: bool = False) -> _Map: ...

    def flat(self, x: _Map) -> _Map:
        """A map of one pixel as the vector of its channels."""

    def response_norm(self, name: str, x: _Map) -> _Map:
        """Local response normalisation, with the constants of AlexNet."""

    def dropout(self, x: _Map, rate: float = 0.5) -> _Map: ...

    def cat(self, name: str, maps: Sequence[_Map]) -> _Map: ...

    def pick(self, name: str, x: _Map, channels: Sequence[int]) -> _Map:
        """These channels, in this order, among which each of `x` is equally often."""

    def add(self, name: str, x: _Map, shortcut: _Map, *, linear: bool = False) -> _Map: ...


@dataclass(frozen=True, slots=True)
class DescribedMap(Map):
    after: tuple[str, ...]
    """The layers that it comes from, with what they were added to or stand beside."""


class Describing:
    """Writes down the geometry of each layer.

    Attributes
    ----------
    layers : list of Layer
    """

    def __init__(self) -> None:
        self.layers: list[Layer] = []

    def image(self, channels: int, extent: int) -> DescribedMap:
        return DescribedMap(channels, extent, ())

    def conv(
        self,
        name: str,
        x: DescribedMap,
        filters: int,
        kernel: int = 1,
        stride: int = 1,
        padding: int = 0,
        *,
        groups: int = 1,
        norm: bool = False,
        linear: bool = False,
        relu6: bool = False,
    ) -> DescribedMap:
        descriptor = f"g{groups} ic{x.channels} oc{filters} i{x.extent} k{kernel} s{stride} p{padding}"
        return self._layer(name, ConvGeometry.parse(descriptor), x, filters, 2 if norm else 1)

    def pool(
        self,
        name: str,
        x: DescribedMap,
        kernel: int,
        stride: int,
        padding: int = 0,
        *,
        ceil: bool = False,
        mean: bool = False,
    ) -> DescribedMap:
        descriptor = f"c{x.channels} i{x.extent} k{kernel} s{stride} p{padding}" + " ceil" * ceil
        return self._layer(name, PoolGeometry.parse(descriptor), x, x.channels, 0)

    def full(self, name: str, x: DescribedMap, units: int, *, linear: bool = False) -> DescribedMap:
        return self.conv(name, x, units, x.extent)

    def flat(self, x: DescribedMap) -> DescribedMap:
        return x

    def response_norm(self, name: str, x: DescribedMap) -> DescribedMap:
        return x

    def dropout(self, x: DescribedMap, rate: float = 0.5) -> DescribedMap:
        return x

    def pick(self, name: str, x: DescribedMap, channels: Sequence[int]) -> DescribedMap:
        return DescribedMap(len(channels), x.extent, x.after * (len(channels) // x.channels))

    def cat(self, name: str, maps: Sequence[DescribedMap]) -> DescribedMap:
        after = tuple(layer for x in maps for layer in x.after)
        return DescribedMap(sum(x.channels for x in maps), maps[0].extent, after)

    def add(self, name: str, x: DescribedMap, shortcut: DescribedMap, *, linear: bool = False) -> DescribedMap:
        return DescribedMap(x.channels, x.extent, x.after + shortcut.after)

    def _layer(
        self, name: str, geometry: ConvGeometry | PoolGeometry, x: DescribedMap, channels: int, learnt: int
    ) -> DescribedMap:
        self.layers.append(Layer(name, geometry, x.after, learnt))
        return DescribedMap(channels, geometry.out_extent[0], (name,))


@dataclass(frozen=True, slots=True)
class BuiltMap(Map):
    value: Value


class Building:
    """Adds each layer to a network, with given or random weights.

    Attributes
    ----------
    network : fastconv.Network
    """

    def __init__(
        self,
        title: str,
        draw: Callable[..., np.ndarray],
        dtype: np.dtype,
        dense: bool,
        given: Mapping[str, Sequence[npt.ArrayLike]],
    ) -> None:
        self.network = Network(title)
        self._draw, self._dtype, self._dense, self._given = draw, dtype, dense, given
        self._describing = Describing()

    def image(self, channels: int, extent: int) -> BuiltMap:
        return BuiltMap(channels, extent, self.network.input("image"))

    def conv(
        self,
        name: str,
        x: BuiltMap,
        filters: int,
        kernel: int = 1,
        stride: int = 1,
        padding: int = 0,
        *,
        groups: int = 1,
        norm: bool = False,
        linear: bool = False,
        relu6: bool = False,
    ) -> BuiltMap:
        described = self._describing.conv(name, _plain(x), filters, kernel, stride, padding, groups=groups)
        shape, one_each = (filters, x.channels // groups, kernel, kernel), (filters,)
        bias = () if norm else ((one_each, np.zeros),)
        constants = self._constants(name, (shape, partial(self._draw, groups=groups)), *bias)
        options = {"stride": stride, "padding": padding, "groups": groups}
        value = self.network.call(nn.conv2d, x.value, *constants, name=name, **options)
        if norm:
            zeros, ones = (one_each, np.zeros), (one_each, np.ones)
            constants = self._constants(f"{name} norm", zeros, ones, ones, zeros)
            value = self.network.call(nn.batch_norm, value, *constants, name=f"{name} norm")
        if not linear:
            value = self.network.call(nn.relu6 if relu6 else nn.relu, value, name=f"{name} relu")
        return BuiltMap(filters, described.extent, value)

    def pool(
        self,
        name: str,
        x: BuiltMap,
        kernel: int,
        stride: int,
        padding: int = 0,
        *,
        ceil: bool = False,
        mean: bool = False,
    ) -> BuiltMap:
        described = self._describing.pool(name, _plain(x), kernel, stride, padding, ceil=ceil)
        function = nn.avg_pool2d if mean else nn.max_pool2d
        value = self.network.call(function, x.value, kernel, stride, padding, ceil_mode=ceil, name=name)
        return BuiltMap(x.channels, described.extent, value)

    def full(self, name: str, x: BuiltMap, units: int, *, linear: bool = False) -> BuiltMap:
        if self._dense:
            return self.conv(name, x, units, x.extent, linear=linear)
        flat = self.network.call(nn.flatten, x.value, 1, name=f"{name} input")
        constants = self._constants(name, ((units, x.channels * x.extent**2), self._draw), ((units,), np.zeros))
        value = self.network.call(nn.linear, flat, *constants, name=name)
        if not linear:
            value = self.network.call(nn.relu, value, name=f"{name} relu")
        return BuiltMap(units, 1, value)

    def flat(self, x: BuiltMap) -> BuiltMap:
        # In dense evaluation `finish` does so, after the mean of the map.
        return x if self._dense else BuiltMap(x.channels, 1, self.network.call(nn.flatten, x.value, 1))

    def response_norm(self, name: str, x: BuiltMap) -> BuiltMap:
        constants = {"alpha": 1e-4, "beta": 0.75, "k": 2.0, "rule": "sum"}
        value = self.network.call(nn.local_response_norm, x.value, 5, name=name, **constants)
        return BuiltMap(x.channels, x.extent, value)

    def dropout(self, x: BuiltMap, rate: float = 0.5) -> BuiltMap:
        return BuiltMap(x.channels, x.extent, self.network.call(nn.dropout, x.value, rate))

    def pick(self, name: str, x: BuiltMap, channels: Sequence[int]) -> BuiltMap:
        value = self.network.call(nn.index_select, x.value, 1, np.array(channels), name=name)
        return BuiltMap(len(channels), x.extent, value)

    def cat(self, name: str, maps: Sequence[BuiltMap]) -> BuiltMap:
        value = self.network.call(nn.cat, [x.value for x in maps], dim=1, name=name)
        return BuiltMap(sum(x.channels for x in maps), maps[0].extent, value)

    def add(self, name: str, x: BuiltMap, shortcut: BuiltMap, *, linear: bool = False) -> BuiltMap:
        value = self.network.call(nn.add, x.value, shortcut.value, name=name)
        if not linear:
            value = self.network.call(nn.relu, value, name=f"{name} relu")
        return BuiltMap(x.channels, x.extent, value)

    def finish(self, *heads: BuiltMap) -> None:
        """Return the probabilities of each head's classes."""
        for number, head in enumerate(heads):
            of, value = f" {number}" if number else "", head.value
            if self._dense:
                value = self.network.call(nn.global_avg_pool2d, value, name=f"mean{of}")
                value = self.network.call(nn.flatten, value, 1, name=f"classes{of}")
            self.network.output(self.network.call(nn.softmax, value, 1, name=f"probabilities{of}"))

    def _constants(self, name: str, *usual: tuple[tuple[int, ...], Callable[..., np.ndarray]]) -> list[np.ndarray]:
        """Copies of the arrays that are given for a layer, or else new ones: pairs of a shape and what makes it."""
        if name not in self._given:
            return [make(shape).astype(self._dtype, copy=False) for shape, make in usual]
        arrays, shapes = [np.array(array, self._dtype) for array in self._given[name]], [shape for shape, _ in usual]
        # A full connection's matrix holds the values of the convolution that it is, in the same order.
        if [(array.shape[:1], array.size) for array in arrays] != [(shape[:1], prod(shape)) for shape in shapes]:
            found = ", ".join(str(array.shape) for array in arrays)
            raise GeometryError(f"given[{name!r}]: arrays {found}, expected {', '.join(map(str, shapes))}")
        return [array.reshape(shape) for array, shape in zip(arrays, shapes, strict=True)]


def _plain(x: Map) -> DescribedMap:
    return DescribedMap(x.channels, x.extent, ())
