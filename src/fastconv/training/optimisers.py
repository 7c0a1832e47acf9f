"""Optimisers: how parameters follow their gradients. The formulas, and the meaning of names, are those of torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from fastconv.engine.arrays import as_contiguous, as_operand
from fastconv.engine.launch import Launch, workers_for
from fastconv.engine.rates import rates
from fastconv.errors import GeometryError
from fastconv.nn.arguments import checked_real

Rate: TypeAlias = float | Callable[[int], float]
"""The learning rate: a number, or a function of the number of steps so far (see ``schedules``)."""

# Values of a tile, which several threads may share.
_TILE_VALUES = 16384


class Optimiser:
    """What `SGD` and `Adam` share.

    Attributes
    ----------
    parameters : dict of ndarray
        They change in place.
    steps : int
        How many there were.
    state : dict of dict of ndarray
        What is kept of earlier gradients: for each kind of average, one for each parameter.
    """

    def __init__(
        self, parameters: Mapping[str, np.ndarray], rate: Rate, weight_decay: float, averages: Sequence[str]
    ) -> None:
        for name, array in parameters.items():
            if array.dtype.char not in "fd" or not array.flags.carray:
                raise TypeError(f"{name} of dtype {array.dtype}: expected float32 or float64, contiguous and writeable")
        self.parameters = dict(parameters)
        self.rate = rate if callable(rate) else _checked("rate", rate)
        self.weight_decay = _checked("weight_decay", weight_decay)
        self.steps = 0
        self.state = {
            average: {name: np.zeros_like(array) for name, array in self.parameters.items()} for average in averages
        }

    def update(self, gradients: Mapping[str, np.ndarray]) -> None:
        """Take a step against these gradients, one for each parameter.

        Raises
        ------
        ValueError
            A gradient is missing, or no parameter has its name.
        GeometryError
            A gradient has another shape than its parameter; a ``ValueError``.
        """
        if gradients.keys() != self.parameters.keys():
            raise ValueError(f"gradients of {', '.join(gradients)}: expected {', '.join(self.parameters)}")
        rate = self.rate(self.steps) if callable(self.rate) else self.rate
        for name, parameter in self.parameters.items():
            if gradients[name].shape != parameter.shape:
                raise GeometryError(f"gradient of {name} of shape {gradients[name].shape}: expected {parameter.shape}")
        self.steps += 1
        for name, parameter in self.parameters.items():
            gradient = as_contiguous(as_operand(gradients[name], parameter.dtype))
            self._step(name, parameter, gradient, rate)

    def _step(self, name: str, parameter: np.ndarray, gradient: np.ndarray, rate: float) -> None:
        raise NotImplementedError

    def _run(self, kernel: str, arrays: tuple[Any, ...], scalars: tuple[float, ...] = (), **integers: int) -> None:
        from fastconv.kernels.slots import arguments

        parameter = arrays[0]
        ints = arguments(kernel)(values=parameter.size, tile_values=_TILE_VALUES, **integers)
        launch = Launch.of(kernel, parameter.dtype, ints, -(-parameter.size // _TILE_VALUES))
        # Every array is read, and all but the gradient are written, too.
        moved = 2 * len(arrays) * parameter.nbytes
        launch.run(arrays, workers_for(moved / rates().memory), scalars)


class SGD(Optimiser):
    """Stochastic gradient descent, with momentum.

    ``g = gradient + weight_decay * p``, ``v = momentum * v + g``, ``p -= rate * v``, where `v` starts as 0; with
    `nesterov`, ``p -= rate * (g + momentum * v)``.

    Parameters
    ----------
    parameters : dict of ndarray
        float32 or float64, for example ``Trainable.parameters``. They change in place.
    rate : float or callable
        The learning rate, or a function of the number of steps so far that gives it.
    momentum : float
        From 0 to less than 1.
    nesterov : bool
        Look ahead by the momentum.
    weight_decay : float
        Of the penalty ``weight_decay / 2 * p ** 2``.

    Raises
    ------
    TypeError
        A parameter has another type, or cannot be written to.
    ValueError
        A number is out of range.

    References
    ----------
    Polyak, Some methods of speeding up the convergence of iteration methods, 1964; Sutskever, Martens, Dahl and Hinton,
    On the importance of initialization and momentum in deep learning, 2013.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> parameters = {"w": np.array([1.0])}
    >>> optimiser = fastconv.training.SGD(parameters, 0.5, momentum=0.5)
    >>> for _ in range(2):
    ...     optimiser.update({"w": np.array([1.0])})
    >>> parameters["w"]
    array([-0.25])
    """

    def __init__(
        self,
        parameters: Mapping[str, np.ndarray],
        rate: Rate,
        *,
        momentum: float = 0.0,
        nesterov: bool = False,
        weight_decay: float = 0.0,
    ) -> None:
        self.momentum = _checked("momentum", momentum, below=1)
        self.nesterov = bool(nesterov)
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov=True, momentum=0: expected momentum to look ahead by")
        super().__init__(parameters, rate, weight_decay, ("velocity",) if self.momentum else ())

    def _step(self, name: str, parameter: np.ndarray, gradient: np.ndarray, rate: float) -> None:
        velocity = self.state["velocity"][name] if self.momentum else None
        scalars = rate, self.momentum, self.weight_decay
        self._run("momentum", (parameter, gradient, velocity), scalars, nesterov=self.nesterov)


class Adam(Optimiser):
    """Steps of the size of the rate, by running means of gradients and of their squares.

    With ``g = gradient + weight_decay * p`` and t steps so far, this one included:
    ``m += (1 - beta1) * (g - m)``, ``s += (1 - beta2) * (g ** 2 - s)``, and
    ``p -= rate * (m / (1 - beta1 ** t)) / (sqrt(s / (1 - beta2 ** t)) + eps)``.

    Parameters
    ----------
    parameters, rate
        As `SGD`.
    betas : (float, float)
        What the means keep in a step, from 0 to less than 1.
    eps : float
    weight_decay : float
        Of the penalty ``weight_decay / 2 * p ** 2``, whose gradient is averaged, too. `AdamW` does not do that.

    Raises
    ------
    TypeError, ValueError
        As `SGD`.

    References
    ----------
    Kingma and Ba, Adam: a method for stochastic optimization, 2015.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> parameters = {"w": np.array([1.0, 1.0])}
    >>> fastconv.training.Adam(parameters, 0.25).update({"w": np.array([1e-3, -1e3])})
    >>> parameters["w"].round(4)
    array([0.75, 1.25])
    """

    decoupled = False

    def __init__(
        self,
        parameters: Mapping[str, np.ndarray],
        rate: Rate = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        self.betas = tuple(_checked("betas", beta, below=1) for beta in betas)
        if len(self.betas) != 2:
            raise ValueError(f"betas={betas!r}: expected two numbers")
        self.eps = _checked("eps", eps)
        super().__init__(parameters, rate, weight_decay, ("mean", "square"))

    def _step(self, name: str, parameter: np.ndarray, gradient: np.ndarray, rate: float) -> None:
        of_mean, of_square = self.betas
        decay, kept = (0.0, 1 - rate * self.weight_decay) if self.decoupled else (self.weight_decay, 1.0)
        unbiased = rate / (1 - of_mean**self.steps), (1 - of_square**self.steps) ** -0.5
        constants = np.array([unbiased[0], 1 - of_mean, 1 - of_square, unbiased[1], self.eps, decay, kept])
        averages = (self.state[average][name] for average in ("mean", "square"))
        self._run("adam", (parameter, gradient, *averages, constants))


class AdamW(Adam):
    """`Adam`, but parameters shrink by ``rate * weight_decay`` in each step, apart from their gradients.

    Parameters
    ----------
    parameters, rate, betas, eps
        As `Adam`.
    weight_decay : float

    References
    ----------
    Loshchilov and Hutter, Decoupled weight decay regularization, 2019.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> parameters = {"w": np.array([1.0])}
    >>> fastconv.training.AdamW(parameters, 0.25, weight_decay=0.5).update({"w": np.array([0.0])})
    >>> parameters["w"]
    array([0.875])
    """

    decoupled = True

    def __init__(
        self,
        parameters: Mapping[str, np.ndarray],
        rate: Rate = 1e-3,
        *,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.01,
    ) -> None:
        super().__init__(parameters, rate, betas=betas, eps=eps, weight_decay=weight_decay)


def _checked(name: str, value: Any, below: float = np.inf) -> float:
    """`value`, if it is a number of at least 0, and less than some bound."""
    number = checked_real(name, value)
    if not 0 <= number < below:
        bound = "" if below == np.inf else f" and less than {below:g}"
        raise ValueError(f"{name}={value!r}: expected a finite number of at least 0{bound}")
    return number
