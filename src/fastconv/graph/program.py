"""A network made ready for inference: fewer nodes, weights in the form that kernels read, one block of memory."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from math import inf, prod
from typing import Any

import numpy as np
import numpy.typing as npt

from fastconv.engine.arrays import checked_out
from fastconv.engine.plan import format_bytes, format_seconds
from fastconv.engine.replay import repeatable, unrepeatable
from fastconv.graph.layout import Layout, Step, traced
from fastconv.graph.nodes import Network, Node, checked_images
from fastconv.graph.rewriting import Graph, halves, rewritten
from fastconv.kernels import threads as team
from fastconv.kernels.recordings import Repeated
from fastconv.nn.prepared import PreparedConv

_BYTE = np.dtype(np.uint8)

# Bytes of results that a cache of the last level keeps from one layer to the next.
_CACHED = 16 << 20

# Shapes of images whose layouts a program knows; one that keeps seeing new ones starts over now and then.
_MOST_LAYOUTS = 64


class Program:
    """A network made ready for inference; `Network.prepare` makes it.

    Batch normalisation is folded into weights, activations are fused into convolutions and sums, dropout is gone,
    weights are prepared, branches write where a concatenation wants them, and all other intermediate results share one
    block of memory (see `fastconv.graph`). A call with images of new shapes runs node by node and finds all this out;
    later ones allocate nothing but their result. A program that only launches kernels is played as one call.

    A program is immutable, may be shared between threads, and can be pickled. Its results are the same for any number
    of threads. They differ from the network's by rounding only, each layer within its own promise of accuracy.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> from fastconv import nn
    >>> network = fastconv.Network("edges")
    >>> x = network.input("image")
    >>> x = network.call(nn.conv2d, x, np.ones((2, 1, 3, 3), np.float32), padding=1)
    >>> network.output(network.call(nn.relu, x, name="edges"))
    >>> program = network.prepare()
    >>> program(np.ones((1, 1, 4, 4), np.float32))[0, 0, 0]
    array([4., 6., 6., 4.], dtype=float32)
    """

    def __init__(self, network: Network) -> None:
        checked_images(network, network.inputs)
        self._hold(network.title, tuple(network.inputs), rewritten(network.nodes, network.outputs))

    def _hold(self, title: str, inputs: tuple[str, ...], graph: Graph) -> None:
        self.title, self.inputs, self._graph = title, inputs, graph
        self._layouts: dict[tuple[Any, ...], Layout] = {}
        names = ("self", *(f"image {name}" for name in inputs), "out")
        self._calls = Repeated(Program._call, names, names[1:], is_method=True, longest=inf)
        # Functions of other packages may do more than launch kernels.
        self._is_ours = all(_is_ours(node) for node in graph.nodes)
        self._halves = _programs(halves(graph), inputs) if len(inputs) == 1 else None

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of the values that a call returns."""
        return self._graph.outputs

    def __call__(self, *images: npt.ArrayLike, out: np.ndarray | None = None) -> Any:
        """What the network returns for these images.

        Parameters
        ----------
        *images : array_like
            One for each input, of any shape that the network takes.
        out : ndarray, optional
            Array for the result, if the network has one output.

        Returns
        -------
        ndarray, or tuple of ndarray if the network has several outputs

        Raises
        ------
        TypeError
            The number of images is wrong; or `out` is no array for the result.
        GeometryError
            A layer cannot take an array of that shape, or `out` has another shape; a ``ValueError``.
        """
        arrays = checked_images(self, images)
        return self._calls.call((self, *arrays), {} if out is None else {"out": out})

    def _call(self, *images: np.ndarray, out: np.ndarray | None = None) -> Any:
        if self._halves is not None and len(images[0].shape) == 4 and len(images[0]) > 1:
            head, tail = self._halves
            maps = head._image_by_image(images[0])
            if maps is not None:
                return tail._call(maps, out=out)
        layout = self._layouts.get(_key(images))
        if layout is None:
            return self._delivered_once(images, out)
        if out is not None:
            checked_out(out, *layout.shapes[self.outputs[0]])
        memory = _Memory(layout, self.outputs, out)
        arrays = {**dict(zip(self.inputs, images, strict=True)), **layout.constants}
        if not all(memory.run(step, arrays) for step in layout.steps):
            return self._delivered_once(images, out)
        results = {name: arrays[name] for name in self.outputs}
        if not self._is_ours or any(result is image for result in results.values() for image in images):
            unrepeatable()
        return repeatable(_delivered(results, out))

    def _image_by_image(self, images: np.ndarray) -> np.ndarray | None:
        """What the network returns, computed image by image, in scratch memory.

        None unless the results of the whole batch would leave the cache meanwhile: layer by layer, SqueezeNet and
        MobileNetV2 took 1.17 times as long for 8 images, GoogLeNet 1.08 times. On several threads a layer of one image
        is too little work.
        """
        if team.get_num_threads() > 1:
            return None
        layout = self._layouts.get(_key((images[:1],)))
        if layout is None:
            unrepeatable()
            _, layout = self._traced((images[:1],))
        shape, dtype = layout.shapes[self.outputs[0]]
        if layout.nbytes * len(images) < _CACHED or shape[0] != 1:
            return None
        maps = team.aligned_empty(len(images) * prod(shape), dtype).reshape(len(images), *shape[1:])
        for at in range(len(images)):
            self._call(images[at : at + 1], out=maps[at : at + 1])
        return maps

    def _delivered_once(self, images: Iterable[np.ndarray], out: np.ndarray | None) -> Any:
        """What the graph returns, node by node."""
        results, _ = self._traced(images)
        unrepeatable()
        return _delivered(results, out)

    def _traced(self, images: Iterable[np.ndarray]) -> tuple[dict[str, np.ndarray], Layout]:
        images = tuple(images)
        results, layout = traced(self._graph, dict(zip(self.inputs, images, strict=True)))
        if len(self._layouts) >= _MOST_LAYOUTS:
            self._layouts.clear()
        self._layouts[_key(images)] = layout
        return results, layout

    def layout(self, *shapes: tuple[int, ...], dtype: npt.DTypeLike = np.float32) -> Layout:
        """Where results lie in memory, for images of these shapes; found by a call with zeros, unless it is known."""
        images = checked_images(self, [np.zeros(shape, dtype) for shape in shapes])
        return self._layouts.get(_key(images)) or self._traced(images)[1]

    def profile(self, *images: npt.ArrayLike, repeats: int = 5) -> Profile:
        """The time of each step, the least of `repeats` calls, and of whole calls; its str is a table."""
        arrays = checked_images(self, images)
        self(*arrays)
        layout = self._layouts[_key(arrays)]
        least = [np.inf] * len(layout.steps)
        whole = np.inf
        for _ in range(max(1, repeats)):
            begun = time.perf_counter()
            self(*arrays)
            whole = min(whole, time.perf_counter() - begun)
            memory = _Memory(layout, self.outputs, None)
            values = {**dict(zip(self.inputs, arrays, strict=True)), **layout.constants}
            for at, step in enumerate(layout.steps):
                begun = time.perf_counter()
                memory.run(step, values)
                least[at] = min(least[at], time.perf_counter() - begun)
        rows = []
        for step, seconds in zip(layout.steps, least, strict=True):
            shape, dtype = layout.shapes[step.node.name]
            inputs = [layout.shapes[name] for name in step.node.reads]
            rows.append(Row(step.node.name, _described(step, inputs), shape, prod(shape) * dtype.itemsize, seconds))
        return Profile(self.title, tuple(rows), whole, layout.nbytes, self.nbytes)

    @property
    def nbytes(self) -> int:
        """Memory taken by weights, in all the forms made so far."""
        arrays = {}
        for node in self._graph.nodes:
            for constant in (*node.arguments, *node.options.values()):
                if isinstance(constant, np.ndarray):
                    arrays[id(constant)] = constant.nbytes
        prepared = {id(node.function): node.function for node in self._graph.nodes}
        return sum(arrays.values()) + sum(of.nbytes for of in prepared.values() if isinstance(of, PreparedConv))

    def __repr__(self) -> str:
        steps = ", ".join(node.name for node in self._graph.nodes)
        return f"Program {self.title!r}: {', '.join(self.inputs)} -> {steps}"

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (self.title, self.inputs, self._graph)


@dataclass(frozen=True, slots=True)
class Row:
    """A step in a profile."""

    name: str
    what: str
    """The function that it calls, and the strategy of a convolution."""
    shape: tuple[int, ...]
    nbytes: int
    """Of its result."""
    seconds: float


@dataclass(frozen=True, slots=True)
class Profile:
    """Where the time of a program goes; its str is a table.

    Attributes
    ----------
    title : str
    rows : tuple of Row
    seconds : float
        Of a whole call.
    block_bytes : int
        Memory that intermediate results share.
    weight_bytes : int
    """

    title: str
    rows: tuple[Row, ...]
    seconds: float
    block_bytes: int
    weight_bytes: int

    def __str__(self) -> str:
        total = sum(row.seconds for row in self.rows)
        cells = [("layer", "computed by", "result", "time", "share")]
        cells += [
            (
                row.name,
                row.what,
                "×".join(map(str, row.shape)),
                format_seconds(row.seconds),
                f"{row.seconds / total:.0%}",
            )
            for row in self.rows
        ]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if at < 3 else cell.rjust(width)
                for at, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in cells
        ]
        weights, block = format_bytes(self.weight_bytes), format_bytes(self.block_bytes)
        whole = f"{self.title}: {format_seconds(self.seconds)} a call; {weights} of weights, {block} of results"
        return "\n".join((*lines, whole))


class _Memory:
    """The memory of one call: the block, and the arrays that are returned."""

    def __init__(self, layout: Layout, outputs: tuple[str, ...], out: np.ndarray | None) -> None:
        self.shapes = layout.shapes
        self.block = team.aligned_empty(layout.nbytes, _BYTE) if layout.nbytes else None
        direct = out is not None and out.flags.c_contiguous and outputs[0] in layout.returned
        self.returned = {
            name: out if direct and name == outputs[0] else np.empty(shape, dtype)
            for name, (shape, dtype) in layout.returned.items()
        }

    def run(self, step: Step, arrays: dict[str, Any]) -> bool:
        """Add the result of `step` to the values, and drop those that nobody reads any more.

        False if the result has another shape than the layout was made for, as that of a function may that chooses
        values by what they are.
        """
        name, place = step.node.name, step.place
        if place is None:
            arrays[name] = step.node.called(arrays)
            if (arrays[name].shape, arrays[name].dtype) != self.shapes[name]:
                return False
        else:
            whole: Any = self.block if place.returned is None else self.returned[place.returned]
            if step.over is not None:
                target = arrays[step.over]
            elif place.returned == name:
                target = whole
            else:
                target = np.ndarray(place.shape, place.dtype, whole, place.offset)
            if step.calls:
                step.node.called(arrays, out=target)
            arrays[name] = target
        for name in step.dropped:
            del arrays[name]
        return True


def _programs(parts: tuple[Graph, str, Graph] | None, inputs: tuple[str, ...]) -> tuple[Program, Program] | None:
    """The halves of a network as programs; None if there are no two."""
    if parts is None or not parts[2].nodes:
        return None
    head, passed, tail = parts
    return _restored("", inputs, head), _restored("", (passed,), tail)


def _key(images: Iterable[np.ndarray]) -> tuple[Any, ...]:
    return tuple((image.shape, image.dtype) for image in images)


def _delivered(results: dict[str, np.ndarray], out: np.ndarray | None) -> Any:
    if len(results) > 1:
        return tuple(results.values())
    (result,) = results.values()
    if out is None or out is result:
        return result
    unrepeatable()
    checked_out(out, result.shape, result.dtype)[...] = result
    return out


def _is_ours(node: Node) -> bool:
    return (getattr(node.function, "__module__", None) or "").split(".")[0] == "fastconv"


def _described(step: Step, inputs: list[tuple[tuple[int, ...], np.dtype]]) -> str:
    """What computes a step."""
    function = step.node.function
    if isinstance(function, PreparedConv):
        (shape, dtype), *_ = inputs
        strategy: str = function.plan(shape, dtype).strategy.name
        return f"{repr(function).split(', strategy=')[0]}) by {strategy}"
    name: str = getattr(function, "__name__", type(function).__name__)
    return name if step.calls else f"{name}, in place"


def _restored(title: str, inputs: tuple[str, ...], graph: Graph) -> Program:
    program = Program.__new__(Program)
    program._hold(title, inputs, graph)
    return program
