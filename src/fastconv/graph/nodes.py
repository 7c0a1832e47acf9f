"""A network as a list of calls, each of which reads results of earlier ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from fastconv.graph.program import Program


@dataclass(frozen=True, slots=True)
class Value:
    """What a node of a `Network` gives, or an image that it is given; the name is unique in its network."""

    name: str


@dataclass(frozen=True, slots=True)
class Node:
    """A call of `function`, in whose arguments values stand for arrays. Its own value has the name of the node."""

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def reads(self) -> tuple[str, ...]:
        """The names of the values that it reads, in order; one that is read twice is there twice."""
        return tuple(value.name for value in values_in((self.arguments, *self.options.values())))

    def given(self, arrays: Mapping[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments and options, with what `arrays` holds in the place of values."""
        return (
            tuple(_with_arrays(argument, arrays) for argument in self.arguments),
            {name: _with_arrays(option, arrays) for name, option in self.options.items()},
        )

    def called(self, arrays: Mapping[str, Any], **more: Any) -> np.ndarray:
        arguments, options = self.given(arrays)
        result: np.ndarray = self.function(*arguments, **options, **more)
        return result


def values_in(argument: Any) -> Iterator[Value]:
    if isinstance(argument, Value):
        yield argument
    elif isinstance(argument, tuple | list):
        for item in argument:
            yield from values_in(item)


def _with_arrays(argument: Any, arrays: Mapping[str, Any]) -> Any:
    if isinstance(argument, Value):
        return arrays[argument.name]
    if isinstance(argument, tuple | list):
        return type(argument)(_with_arrays(item, arrays) for item in argument)
    return argument


class Network:
    """A graph of calls, for example of the functions of `fastconv.nn`.

    `input` names an image, `call` adds a node, and `output` says what the network returns. Arguments that are values
    of earlier nodes stand for their arrays; all others, such as weights, are constants, and must not change any more.
    Calling a network calls its functions one after the other, dropout in training included. `prepare` makes a program
    for inference, which computes the same faster, without dropout.

    Parameters
    ----------
    title : str

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> from fastconv import nn
    >>> network = fastconv.Network("edges")
    >>> x = network.input("image")
    >>> x = network.call(nn.conv2d, x, np.ones((2, 1, 3, 3), np.float32), padding=1)
    >>> x = network.call(nn.relu, x)
    >>> x = network.call(nn.max_pool2d, x, 2, name="pooled")
    >>> network.output(x)
    >>> network(np.ones((1, 1, 4, 4), np.float32))[0, 0]
    array([[9., 9.],
           [9., 9.]], dtype=float32)
    >>> network
    Network 'edges': image -> conv2d_1, relu_1, pooled -> pooled
    """

    def __init__(self, title: str = "") -> None:
        self.title = title
        self.inputs: list[str] = []
        self.nodes: list[Node] = []
        self.outputs: list[str] = []
        self._names: set[str] = set()

    def input(self, name: str = "x") -> Value:
        """An image that the network is called with; several ones in the order of their names' first use."""
        self.inputs.append(self._new(name))
        return Value(name)

    def call(self, function: Callable[..., Any], *arguments: Any, name: str | None = None, **options: Any) -> Value:
        """Add a node that calls `function` with these arguments.

        Parameters
        ----------
        function : callable
            It returns one array, and neither changes its arguments nor depends on anything else.
        *arguments, **options
            Values, sequences with values in them, or constants.
        name : str, optional
            Default: the function's name and a number.

        Returns
        -------
        Value

        Raises
        ------
        TypeError
            `function` cannot be called.
        ValueError
            An argument is a value of another network, or another node has this name.
        """
        if not callable(function):
            raise TypeError(f"function={function!r}: expected something to call")
        for value in values_in((arguments, *options.values())):
            self._known(value)
        if name is None:
            stem = getattr(function, "__name__", type(function).__name__)
            name = next(f"{stem}_{n}" for n in range(1, len(self._names) + 2) if f"{stem}_{n}" not in self._names)
        self.nodes.append(Node(self._new(name), function, arguments, options))
        return Value(name)

    def output(self, *values: Value) -> None:
        """Let the network return these values, after those it returns already."""
        self.outputs += [self._known(value) for value in values]

    def __contains__(self, name: object) -> bool:
        """Whether a node or an input has this name."""
        return name in self._names

    def prepare(self) -> Program:
        """The network as a `Program` for inference."""
        from fastconv.graph.program import Program

        return Program(self)

    def __call__(self, *images: npt.ArrayLike) -> Any:
        """What the network returns: an array, or a tuple of arrays if it has several outputs."""
        arrays: dict[str, Any] = dict(zip(self.inputs, checked_images(self, images), strict=True))
        for node in self.nodes:
            arrays[node.name] = node.called(arrays)
        results = tuple(arrays[name] for name in self.outputs)
        return results if len(results) > 1 else results[0]

    def __repr__(self) -> str:
        nodes = ", ".join(node.name for node in self.nodes)
        return f"Network {self.title!r}: {', '.join(self.inputs)} -> {nodes} -> {', '.join(self.outputs)}"

    def _new(self, name: str) -> str:
        if not isinstance(name, str) or name in self._names:
            raise ValueError(f"name={name!r}: expected a str that no other node of the network has")
        self._names.add(name)
        return name

    def _known(self, value: Value) -> str:
        if not isinstance(value, Value) or value.name not in self._names:
            raise ValueError(f"{value!r}: expected a value of this network")
        return value.name


def checked_images(network: Any, images: Sequence[Any]) -> list[np.ndarray]:
    """`images`, one for each input of a network that has outputs."""
    if not network.outputs:
        raise ValueError("the network has no outputs: say by `output` what it returns")
    if len(images) != len(network.inputs):
        raise TypeError(f"{len(images)} images: expected {len(network.inputs)}: {', '.join(network.inputs)}")
    return [np.asanyarray(image) for image in images]
