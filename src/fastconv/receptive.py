"""Network arithmetic: what a unit of a deep layer sees of the image, and what a stack of layers costs.

A unit sees a block of the image. After one more layer, with kernel ``k``, stride ``s``, dilation ``d`` and leading
padding ``p``, units are ``s`` times as far apart, and each sees ``k`` of the previous ones, ``d`` apart::

    size  += d * (k - 1) * jump
    first -= p * jump
    jump  *= s

so that unit ``q`` sees pixels ``first + q * jump`` to ``first + q * jump + size - 1``, some of which may be padding.
Where branches join, a unit sees what any of them sees.

Output extents, and the padding for "same", are `output_extent` and `same_padding` of `fastconv.engine.geometry`.

References: Dumoulin and Visin, A guide to convolution arithmetic for deep learning, 2016; Araujo, Norris and Sim,
Computing receptive fields of convolutional neural networks, Distill 2019; for stacks of small kernels Simonyan and
Zisserman, Very deep convolutional networks for large-scale image recognition, 2015, section 2.3.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from math import prod
from operator import add, sub

from fastconv.engine.geometry import ConvGeometry, PoolGeometry
from fastconv.engine.geometry.axes import times
from fastconv.errors import GeometryError

Geometry = ConvGeometry | PoolGeometry


@dataclass(frozen=True, slots=True)
class ReceptiveField:
    """What a unit sees. Tuples hold one entry per axis.

    Attributes
    ----------
    first : tuple of int
        The first pixel that unit 0 sees; negative in the padding.
    size : tuple of int
        How many pixels a unit spans.
    jump : tuple of int
        Distance in pixels between the blocks of neighbouring units.
    """

    first: tuple[int, ...]
    size: tuple[int, ...]
    jump: tuple[int, ...]

    @classmethod
    def of_pixel(cls, ndim: int) -> ReceptiveField:
        """The field of the image itself: every pixel sees one pixel."""
        return cls((0,) * ndim, (1,) * ndim, (1,) * ndim)

    def through(self, layer: Geometry) -> ReceptiveField:
        """The field of a unit after one more layer."""
        if layer.ndim != len(self.size):
            raise GeometryError(f"layer {layer}: expected {len(self.size)} spatial axes, like the layers before it")
        axes = range(layer.ndim)
        return ReceptiveField(
            tuple(self.first[a] - layer.padding[a][0] * self.jump[a] for a in axes),
            tuple(self.size[a] + layer.dilation[a] * (layer.kernel[a] - 1) * self.jump[a] for a in axes),
            tuple(self.jump[a] * layer.stride[a] for a in axes),
        )

    def joined(self, other: ReceptiveField) -> ReceptiveField:
        """The field of a unit that joins two branches."""
        if self.jump != other.jump:
            raise GeometryError(f"branches with jumps {self.jump} and {other.jump} cannot join: their strides differ")
        first = tuple(map(min, self.first, other.first))
        end = map(max, map(add, self.first, self.size), map(add, other.first, other.size))
        return ReceptiveField(first, tuple(map(sub, end, first)), self.jump)


@dataclass(frozen=True, slots=True)
class Layer:
    """One layer of a network: a convolution, pooling, or a full connection.

    A full connection is a convolution whose kernel is as large as its input map.

    Attributes
    ----------
    name : str
    geometry : ConvGeometry or PoolGeometry
    after : tuple of str
        The layers it reads. Their channels are concatenated, or added up if each has as many as this layer reads.
        Empty for the image.
    learnt_per_filter : int
        Parameters per filter in addition to its weights: 1 for a bias, 2 for a batch normalisation's scale and shift.
    """

    name: str
    geometry: Geometry
    after: tuple[str, ...] = ()
    learnt_per_filter: int = 1

    @property
    def parameters(self) -> int:
        """Number of learnt values."""
        g = self.geometry
        return prod(g.weight_shape) + self.learnt_per_filter * g.oc if isinstance(g, ConvGeometry) else 0

    @property
    def flops(self) -> int:
        """Multiplications and additions of the direct algorithm; pooling counts as none."""
        return self.geometry.flops if isinstance(self.geometry, ConvGeometry) else 0


class Network:
    """Layers that read one another; its repr is a table.

    Parameters
    ----------
    title : str
    layers : sequence of Layer
        Each one after the layers it reads.

    Attributes
    ----------
    fields : Mapping of str to ReceptiveField
        What the units of each layer see, by its name.

    Raises
    ------
    GeometryError
        A name is used twice or unknown, or a layer does not fit the layers it reads.

    Examples
    --------
    >>> conv = ConvGeometry.parse("ic8 oc8 i32 k3 p1")
    >>> two = Network("two 3×3", [Layer("a", conv), Layer("b", conv, ("a",))])
    >>> two.fields["b"].size, two.parameters
    ((5, 5), 1168)
    """

    def __init__(self, title: str, layers: Sequence[Layer]) -> None:
        self.title = title
        self.layers: tuple[Layer, ...] = tuple(layers)
        fields: dict[str, ReceptiveField] = {}
        known: dict[str, Layer] = {}
        for layer in self.layers:
            if layer.name in known:
                raise GeometryError(f"layer {layer.name!r}: the name is used twice")
            unknown = [name for name in layer.after if name not in known]
            if unknown:
                raise GeometryError(f"layer {layer.name!r}: reads {unknown[0]!r}, but no layer before it has that name")
            sources = [known[name] for name in layer.after]
            _check_fit(layer, sources)
            seen = [fields[source.name] for source in sources] or [ReceptiveField.of_pixel(layer.geometry.ndim)]
            fields[layer.name] = reduce(ReceptiveField.joined, seen).through(layer.geometry)
            known[layer.name] = layer
        self.fields: Mapping[str, ReceptiveField] = fields

    @property
    def convolutions(self) -> dict[ConvGeometry, list[str]]:
        """The distinct convolutions, full connections left out, and the names of the layers that compute each."""
        found: dict[ConvGeometry, list[str]] = {}
        for layer in self.layers:
            g = layer.geometry
            if isinstance(g, ConvGeometry) and g.extent != g.kernel:
                found.setdefault(g, []).append(layer.name)
        return found

    @property
    def parameters(self) -> int:
        """Number of learnt values."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def flops(self) -> int:
        """Multiplications and additions of the direct algorithms, for the batch of the descriptors."""
        return sum(layer.flops for layer in self.layers)

    def __repr__(self) -> str:
        head = ("layer", "input", "window", "output", "sees", "jump", "parameters", "MFLOP")
        rows = [head, *(self._row(layer) for layer in self.layers)]
        rows.append(("sum", "", "", "", "", "", f"{self.parameters:,}", f"{self.flops / 1e6:,.1f}"))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if column in ("layer", "window") else cell.rjust(width)
                for cell, width, column in zip(row, widths, head, strict=True)
            )
            for row in rows
        ]
        return "\n".join([self.title, *(line.rstrip() for line in lines)])

    def _row(self, layer: Layer) -> tuple[str, ...]:
        g, field = layer.geometry, self.fields[layer.name]
        kind = "pool k" if isinstance(g, PoolGeometry) else f"g{g.g} k" if g.g > 1 else "k"
        return (
            layer.name,
            times(g.x_shape[1:]),
            kind + str(g).split(" k", 1)[1],
            times(g.out_shape[1:]),
            times(field.size),
            times(field.jump if len(set(field.jump)) > 1 else field.jump[:1]),
            f"{layer.parameters:,}",
            f"{layer.flops / 1e6:,.1f}",
        )

    def to_dict(self) -> dict[str, object]:
        """The table in plain types, ready for JSON."""
        return {
            "title": self.title,
            "parameters": self.parameters,
            "flops": self.flops,
            "layers": [
                {
                    "name": layer.name,
                    "after": list(layer.after),
                    "problem": str(layer.geometry),
                    "output": list(layer.geometry.out_shape),
                    "receptive_field": list(self.fields[layer.name].size),
                    "first": list(self.fields[layer.name].first),
                    "jump": list(self.fields[layer.name].jump),
                    "parameters": layer.parameters,
                    "flops": layer.flops,
                }
                for layer in self.layers
            ],
        }


def chain(title: str, layers: Iterable[tuple[str, Geometry]]) -> Network:
    """A network in which each layer reads the one before it.

    Examples
    --------
    >>> chain("LeNet's start", [
    ...     ("conv", ConvGeometry.parse("ic1 oc6 i28 k5 p2")),
    ...     ("pool", PoolGeometry.parse("c6 i28 k2 s2")),
    ... ]).fields["pool"]
    ReceptiveField(first=(-2, -2), size=(6, 6), jump=(2, 2))
    """
    built: list[Layer] = []
    for name, geometry in layers:
        built.append(Layer(name, geometry, tuple(layer.name for layer in built[-1:])))
    return Network(title, built)


def receptive_field(layers: Sequence[Geometry]) -> ReceptiveField:
    """What a unit at the end of a stack of layers sees of the stack's input.

    Only kernels, strides, dilations and padding matter; extents and channels need not fit together.

    Parameters
    ----------
    layers : sequence of ConvGeometry or PoolGeometry
        First to last.

    Returns
    -------
    ReceptiveField

    Raises
    ------
    GeometryError
        There are no layers, or their numbers of axes differ; a ``ValueError``.

    References
    ----------
    Simonyan and Zisserman, 2015, section 2.3: two 3×3 convolutions see as much as one of 5×5, three as one of 7×7.

    Examples
    --------
    >>> three = ConvGeometry.parse("ic64 oc64 i56 k3 p1")
    >>> receptive_field([three, three]).size, receptive_field([three, three, three]).size
    ((5, 5), (7, 7))
    """
    if not layers:
        raise GeometryError("layers=[]: expected at least one")
    return reduce(ReceptiveField.through, layers, ReceptiveField.of_pixel(layers[0].ndim))


def _check_fit(layer: Layer, sources: Sequence[Layer]) -> None:
    """Raise if the layer's input is not what its sources produce."""
    for source in sources:
        if source.geometry.out_extent != layer.geometry.extent:
            raise GeometryError(
                f"layer {layer.name!r}: reads maps of {times(layer.geometry.extent)}, "
                f"but {source.name!r} produces {times(source.geometry.out_extent)}"
            )
    wanted, given = layer.geometry.x_shape[1], [source.geometry.out_shape[1] for source in sources]
    if given and sum(given) != wanted and set(given) != {wanted}:
        raise GeometryError(f"layer {layer.name!r}: reads {wanted} channels, but {layer.after} produce {given}")
