"""Reverse mode: the loss of a network for a batch, and its gradient with respect to every parameter.

The nodes run forward one by one, and each that leads from a parameter to the loss leaves a pullback behind (see
``rules``). Then the pullbacks run from the last to the first, and gradients of what several nodes read are added up.

References: Linnainmaa, Taylor expansion of the accumulated rounding error, 1976; Rumelhart, Hinton and Williams,
Learning representations by back-propagating errors, 1986.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastconv import nn
from fastconv.errors import GeometryError, UnsupportedError
from fastconv.graph import Network, Value
from fastconv.graph.nodes import Node, checked_images
from fastconv.graph.rewriting import Graph, arguments_of
from fastconv.kernels.reuse import Pool
from fastconv.training.rules import PLAIN, RULES, Call, Pullback, Rule, weighted_sum

_SCORES = (nn.softmax, nn.log_softmax)


class Gradients(NamedTuple):
    """What a batch says of a network."""

    loss: float
    outputs: tuple[np.ndarray, ...]
    """What the network returns besides the loss: the scores that it is computed from."""
    by_parameter: dict[str, np.ndarray]
    """The gradient of the loss with respect to each parameter."""


@dataclass(frozen=True, slots=True)
class _Step:
    """A node in training."""

    node: Node
    """With the trainable network's own parameters and statistics."""
    arguments: Mapping[str, Any]
    """All of the node's, by name."""
    rule: Rule | None
    """None if no gradient flows through it."""
    targets: Mapping[str, Any]
    """For each argument whose gradient is wanted, the value or parameter that gets it, by name; or a list."""
    draws: bool
    """Whether its function takes random numbers."""
    dropped: tuple[str, ...]
    """Values that no later step reads."""

    def call(self, values: Mapping[str, Any], generator: np.random.Generator | None) -> Call:
        arguments = {name: _with_values(argument, values) for name, argument in self.arguments.items()}
        if self.draws:
            arguments["rng"] = generator
        return Call(self.node.function, arguments)


def with_loss(
    network: Network, loss: Callable[..., Any] = nn.cross_entropy, *, shares: Sequence[float] = (1.0,), **options: Any
) -> Network:
    """`network` with a loss behind it, which is returned first, and with its targets as the last input, ``"target"``.

    The loss is one of scores: where an output is a softmax or its logarithm, that is left out.

    Parameters
    ----------
    network : fastconv.Network
    loss : callable
        It is called with the scores, the targets and `options`, and returns one number.
    shares : sequence of float
        How much the loss of each of the network's outputs counts. For GoogLeNet with its auxiliary classifiers, the
        paper has ``(1, 0.3, 0.3)``.

    Returns
    -------
    fastconv.Network
        It returns the sum of the losses, times their shares, and the scores.

    Raises
    ------
    ValueError
        `network` has not as many outputs as there are `shares`, or a value that is called "target".

    References
    ----------
    Szegedy et al., Going deeper with convolutions, 2015, section 5 (losses of several outputs).

    Examples
    --------
    >>> import fastconv
    >>> fastconv.training.with_loss(fastconv.networks.build("lenet5")).outputs
    ['loss', 'fc5']
    """
    if len(network.outputs) != len(shares):
        raise ValueError(f"{network!r}: expected as many outputs as shares={tuple(shares)}")
    # A softmax is left out if nothing but the outside reads it.
    read = {name for node in network.nodes for name in node.reads}
    left_out = {
        node.name: node.reads[0]
        for node in network.nodes
        if node.name in network.outputs and node.name not in read and node.function in _SCORES and node.reads
    }
    scored = Network(network.title)
    for name in network.inputs:
        scored.input(name)
    for node in network.nodes:
        if node.name not in left_out:
            scored.call(node.function, *node.arguments, name=node.name, **node.options)
    scores, target = [Value(left_out.get(name, name)) for name in network.outputs], scored.input("target")
    if tuple(shares) == (1.0,):
        total = scored.call(loss, scores[0], target, name="loss", **options)
    else:
        losses = [scored.call(loss, one, target, name=f"loss of {one.name}", **options) for one in scores]
        total = scored.call(weighted_sum, losses, tuple(map(float, shares)), name="loss")
    scored.output(total, *scores)
    return scored


class Trainable:
    """A network whose parameters can change: it computes the gradient of its loss with respect to each of them.

    A *parameter* is an array of floats that a node is given as the weight or the bias of its layer (or as what else its
    function learns, such as the slopes of `prelu`). It has the name of the node and of the argument: ``conv1.weight``.
    An array that several nodes share is one parameter, with the first one's name.

    Arrays of a step take the memory of those of earlier steps that are gone: let go of gradients before the next step.

    Functions with an argument `training` train, unless their node gives it: dropout drops, and batch normalisation
    takes its batch's statistics and updates its running ones. Random numbers depend on `seed` and the number of steps
    so far alone, and results are the same for any number of threads: so is whatever is trained by them.

    Parameters
    ----------
    network : fastconv.Network
        It is left as it is: parameters and statistics are copied.
    loss : callable or None
        Of the network's scores and a batch's targets (see `with_loss`). With None, the first output of `network` is the
        loss.
    frozen : collection of str
        Parameters that stay as they are.
    seed : int
        Of the random numbers of dropout.

    Attributes
    ----------
    parameters, statistics : dict
        Arrays by name: what is learnt, and what layers update themselves. They change in place.
    steps : int
        How often gradients were computed.

    Raises
    ------
    UnsupportedError
        Functions between a parameter and the loss have no rule in ``training.RULES``, or options that these do not
        follow; the message lists all of them.
    ValueError
        There is nothing to learn, or `frozen` names no parameter.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> network = fastconv.Network()
    >>> x = network.call(fastconv.nn.linear, network.input(), np.array([[1.0], [-1.0]]), name="scores")
    >>> network.output(network.call(fastconv.nn.softmax, x, 1))
    >>> trainable = fastconv.training.Trainable(network)
    >>> loss, _, gradients = trainable.gradients(np.array([[0.0]]), [1])
    >>> round(loss, 4), gradients
    (0.6931, {'scores.weight': array([[0.],
           [0.]])})
    """

    def __init__(
        self,
        network: Network,
        loss: Callable[..., Any] | None = nn.cross_entropy,
        *,
        frozen: Collection[str] = (),
        seed: int = 0,
    ) -> None:
        checked_images(network, network.inputs)
        scored = network if loss is None else with_loss(network, loss)
        self.inputs, self.outputs = tuple(scored.inputs), tuple(scored.outputs)
        self.parameters: dict[str, np.ndarray] = {}
        self.statistics: dict[str, np.ndarray] = {}
        self.seed, self.steps = seed, 0
        self._pool = Pool()
        self._network = network
        nodes = tuple(scored.nodes)
        self._learn(Graph(nodes, self.outputs[:1]).without_unread().nodes, frozen)
        self._steps = self._followed(Graph(nodes, self.outputs).without_unread())

    def gradients(self, *arrays: npt.ArrayLike) -> Gradients:
        """The loss of a batch, and its gradient with respect to each parameter.

        Parameters
        ----------
        *arrays : array_like
            One for each input of the network; then, unless the network computes its loss itself, the targets.

        Returns
        -------
        Gradients

        Raises
        ------
        TypeError
            The number of arrays is wrong.
        GeometryError
            A layer cannot take an array of that shape, or the loss is not one number; a ``ValueError``.
        """
        images = checked_images(self, arrays)
        with self._pool:
            found = self._gradients(dict(zip(self.inputs, images, strict=True)))
        self.steps += 1
        return found

    def _gradients(self, values: dict[str, np.ndarray]) -> Gradients:
        """`gradients`, given the values of all inputs."""
        generator = np.random.default_rng((self.seed, self.steps)) if any(step.draws for step in self._steps) else None
        outputs = {name: values[name] for name in self.outputs if name in values}
        tape: list[tuple[_Step, Pullback]] = []
        for step in self._steps:
            if step.rule is not None:
                value, pullback = step.rule.run(step.call(values, generator))
                tape.append((step, pullback))
                del pullback
            elif step.arguments:
                value = step.call(values, generator)()
            else:
                value = step.node.called(values)
            values[step.node.name] = value
            if step.node.name in self.outputs:
                outputs[step.node.name] = value
            for name in step.dropped:
                del values[name]
        del value
        loss = outputs[self.outputs[0]]
        if np.size(loss) != 1:
            raise GeometryError(f"{self.outputs[0]} of shape {np.shape(loss)}: expected a loss, which is one number")
        by_parameter = self._pulled_back(tape, loss)
        return Gradients(float(loss), tuple(outputs[name] for name in self.outputs[1:]), by_parameter)

    def network(self) -> Network:
        """The network as it was given, with what it has learnt so far."""
        learnt = Network(self._network.title)
        for name in self._network.inputs:
            learnt.input(name)
        own = {name: array.copy() for name, array in (self.parameters | self.statistics).items()}
        for node in map(partial(self._with, own), self._network.nodes):
            learnt.call(node.function, *node.arguments, name=node.name, **node.options)
        learnt.output(*map(Value, self._network.outputs))
        return learnt

    def _learn(self, nodes: Iterable[Node], frozen: Collection[str]) -> None:
        """Copy the parameters and statistics of these nodes, on which the loss depends."""
        self._names: dict[int, str] = {}  # of the network's arrays, by identity
        stay = set(frozen)
        for node in nodes:
            rule = RULES.get(node.function)
            for name, argument in (arguments_of(node) if rule is not None else {}).items():
                is_floats = isinstance(argument, np.ndarray) and argument.dtype.kind == "f"
                if rule is None or not is_floats or id(argument) in self._names:
                    continue
                full = f"{node.name}.{name}"
                if full in stay:
                    stay.remove(full)
                elif name in rule.learnt:
                    self.parameters[full], self._names[id(argument)] = np.array(argument), full
                elif name in rule.statistics:
                    self.statistics[full], self._names[id(argument)] = np.array(argument), full
        if stay:
            raise ValueError(f"frozen={sorted(stay)}: expected some of {', '.join(self.parameters)}")
        if not self.parameters:
            raise ValueError(f"{self._network!r}: there is nothing to learn")

    def _with(self, arrays: Mapping[str, np.ndarray], node: Node) -> Node:
        """`node` with these arrays in the place of the network's own."""

        def change(argument: Any) -> Any:
            if isinstance(argument, tuple | list):
                return type(argument)(map(change, argument))
            return arrays[self._names[id(argument)]] if id(argument) in self._names else argument

        return replace(
            node,
            arguments=change(node.arguments),
            options={name: change(option) for name, option in node.options.items()},
        )

    def _followed(self, graph: Graph) -> tuple[_Step, ...]:
        """The steps of a graph: which nodes gradients flow through, and where to."""
        feeding, last = {graph.outputs[0]}, dict[str, int]()
        for at, node in reversed(list(enumerate(graph.nodes))):
            if node.name in feeding:
                feeding.update(node.reads)
            for name in (*node.reads, node.name):
                last.setdefault(name, at)
        flows: set[str] = set()  # values that depend on a parameter
        steps, faults = [], []
        for at, node in enumerate(graph.nodes):
            rule = RULES.get(node.function)
            given = _by_any_name(node) if rule is None else _in_training(node)
            targets = {name: self._target(argument, flows) for name, argument in given.items()}
            targets = {name: target for name, target in targets.items() if target is not None}
            if targets:
                flows.add(node.name)
            own = self._with(self.parameters | self.statistics, node)
            arguments = {} if rule is None else _in_training(own)
            if not targets or node.name not in feeding:
                rule = None
            else:
                faults += [f"{node.name}: {fault}" for fault in _faults(node, rule, arguments)]
            dropped = tuple({name for name in (*node.reads, node.name) if last[name] == at})
            draws = "rng" in arguments and arguments["rng"] is None
            steps.append(_Step(own, arguments, rule, targets, draws, dropped))
        if faults:
            raise UnsupportedError(f"no gradient flows through {'; '.join(faults)}")
        return tuple(steps)

    def _target(self, argument: Any, flows: Collection[str]) -> Any:
        """The value or parameter that gets the gradient with respect to an argument, or a list of them, or None."""
        if isinstance(argument, Value):
            return argument.name if argument.name in flows else None
        if isinstance(argument, tuple | list):
            targets = [self._target(item, flows) for item in argument]
            return targets if any(target is not None for target in targets) else None
        name = self._names.get(id(argument))
        return name if name in self.parameters else None

    def _pulled_back(self, tape: list[tuple[_Step, Pullback]], loss: np.ndarray) -> dict[str, np.ndarray]:
        """The gradient with respect to each parameter. Takes pullbacks off the tape, with what they hold."""
        flowing = {self.outputs[0]: np.ones_like(loss)}
        found: dict[str, np.ndarray] = {}

        def add(target: Any, gradient: Any) -> None:
            if isinstance(target, list):
                for each, part in zip(target, gradient, strict=True):
                    add(each, part)
            elif target is not None:
                into = found if target in self.parameters else flowing
                into[target] = nn.add(into[target], gradient) if target in into else gradient

        while tape:
            step, pullback = tape.pop()
            gradient = flowing.pop(step.node.name)
            by_argument = pullback(gradient, step.targets.keys())
            for name, target in step.targets.items():
                add(target, by_argument[name])
        return {name: found[name] for name in self.parameters}


def _in_training(node: Node) -> dict[str, Any]:
    """All arguments of a node by name, those that it does not give included; it trains unless it says otherwise."""
    signature = inspect.signature(node.function).parameters.values()
    arguments = {of.name: of.default for of in signature if of.default is not of.empty}
    if "training" in arguments:
        arguments["training"] = True
    return arguments | arguments_of(node)


def _by_any_name(node: Node) -> dict[str, Any]:
    """The arguments of a node whose function may have no signature."""
    return {str(at): argument for at, argument in enumerate(node.arguments)} | dict(node.options)


def _with_values(argument: Any, values: Mapping[str, Any]) -> Any:
    if isinstance(argument, Value):
        return values[argument.name]
    if isinstance(argument, tuple | list):
        return type(argument)(_with_values(item, values) for item in argument)
    return argument


def _faults(node: Node, rule: Rule | None, arguments: Mapping[str, Any]) -> list[str]:
    """What keeps a node from being differentiated."""
    if rule is None:
        return [getattr(node.function, "__name__", repr(node.function))]
    return [
        f"{name}={arguments[name]!r}, expected {plain!r}"
        for name, plain in PLAIN.items()
        if name in arguments and arguments[name] is not plain and (plain is None or arguments[name] != plain)
    ]
