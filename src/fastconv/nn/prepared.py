"""Convolutions whose weight is prepared once and used many times."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from threading import RLock
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from fastconv.engine import planner
from fastconv.engine.arrays import as_array, as_operand, common_float
from fastconv.engine.convolution import runner
from fastconv.engine.epilogue import Activation, Epilogue, parse_activation
from fastconv.engine.geometry import ConvGeometry, Padding, channels_first, checked_shape
from fastconv.engine.launch import available_threads
from fastconv.engine.plan import Plan, format_bytes
from fastconv.errors import GeometryError
from fastconv.kernels.recordings import Repeated, constant, note, repeatable
from fastconv.nn.operands import checked_layout, delivered, image_result, in_channel_order, may_follow

__all__ = ["PreparedConv", "prepare_conv2d"]

# Number of shapes that a convolution knows; one that keeps seeing new shapes starts over now and then.
_MOST_KNOWN = 1024

# Held while a weight is prepared, so that concurrent callers make each form once. Reentrant, for signal handlers.
_preparing = RLock()


def _renew_lock() -> None:
    """Replace the lock in a forked child, which lacks the thread that held it in the parent."""
    global _preparing
    _preparing = RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_lock)


class _Form(NamedTuple):
    """The weight as one strategy needs it, in one type."""

    weight: Any
    epilogue: Epilogue


class _Call(NamedTuple):
    """Everything a repeated call looks up; reading it from the plan would take longer than a small convolution."""

    strategy: str
    run: Callable[..., None]
    geometry: ConvGeometry
    weight: Any
    epilogue: Epilogue
    threads: int
    max_workspace: int
    dtype: np.dtype
    shape: tuple[int, ...]
    """Of the result, in the order (N, C, H, W) or (C, H, W)."""
    batched: bool


def _frozen(array: np.ndarray, copy: bool) -> np.ndarray:
    """`array` in native byte order, read-only; with `copy`, independent of later changes."""
    dtype = np.dtype(array.dtype.char)
    frozen = np.array(array, dtype, order="C") if copy else np.asarray(array, dtype, order="C").view()
    frozen.flags.writeable = False
    return frozen


class PreparedConv:
    """A two-dimensional convolution with one weight, for images of any extent; `prepare_conv2d` makes it.

    It is immutable and may be shared between threads. Strategies and types need the weight in different forms: each is
    made when a call first needs it, and kept. Pickles contain the original weight, since forms depend on the machine.

    Attributes
    ----------
    nbytes : int
        Memory taken by the weight, the bias and the forms made so far.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> prepared = fastconv.prepare_conv2d(np.ones((4, 3, 3, 3), np.float32), padding=1, activation="relu")
    >>> prepared
    PreparedConv(ic3 oc4 kh3 kw3 s1 p1, float32, activation='relu', strategy='auto'; 432 B, not yet called)
    >>> prepared.plan((3, 32, 32)).geometry.out_shape
    (1, 4, 32, 32)
    """

    __slots__ = (
        "_activation",
        "_bias",
        "_calls",
        "_forms",
        "_known",
        "_layout",
        "_num_threads",
        "_padding_mode",
        "_strategy",
        "_tolerance",
        "_weight",
        "_window",
    )

    def __init__(
        self,
        weight: npt.ArrayLike,
        bias: npt.ArrayLike | None,
        stride: int | Sequence[int],
        padding: Padding,
        dilation: int | Sequence[int],
        groups: int,
        activation: Activation,
        strategy: str,
        tolerance: float | None,
        num_threads: int | None,
        layout: str = "NCHW",
        padding_mode: str = "zeros",
        copy: bool = True,
    ) -> None:
        self._layout = checked_layout(layout)
        weight, bias = as_array("weight", weight), None if bias is None else as_array("bias", bias)
        # If images of the smallest type cannot be convolved, no images can.
        common_float(x=np.empty(0, np.float32), weight=weight, bias=bias)
        if weight.ndim != 4:
            raise GeometryError(f"weight of shape {weight.shape}: expected 4 axes (oc, ic / groups, kh, kw)")
        self._window = ConvGeometry.of_weight(
            weight.shape,
            stride=stride,
            padding=padding,
            dilation=dilation,
            groups=groups,
            padding_mode=padding_mode,
        )
        self._padding_mode = padding_mode
        if bias is not None and bias.shape != weight.shape[:1]:
            raise GeometryError(f"bias of shape {bias.shape}: expected {weight.shape[:1]}, one value per filter")
        self._weight = _frozen(weight, copy)
        self._bias = None if bias is None else _frozen(bias, copy)
        parse_activation(activation)
        self._activation = tuple(activation) if isinstance(activation, list) else activation
        self._strategy = planner.checked_strategy(strategy)
        self._tolerance = planner.checked_tolerance(tolerance)
        available_threads(num_threads)
        self._num_threads = num_threads
        self._calls = Repeated(PreparedConv._call, ("self", "x", "out"), ("x", "out"), is_method=True)
        self._forms: dict[tuple[str, str], _Form] = {}
        self._known: dict[tuple[tuple[int, ...], np.dtype, int, bool], _Call] = {}

    def __call__(self, x: npt.ArrayLike, out: np.ndarray | None = None) -> np.ndarray:
        """The convolution of `x`, as `conv2d` returns it.

        Parameters
        ----------
        x : array_like, shape (N, C, H, W) or (C, H, W); (N, H, W, C) or (H, W, C) in layout "NHWC"
            Images; any strides. float32 or float64 after NumPy's promotion with the weight and the bias.
        out : ndarray, optional
            Array for the result.

        Returns
        -------
        ndarray, shape (N, OC, OH, OW) or (OC, OH, OW); (N, OH, OW, OC) or (OH, OW, OC) in layout "NHWC"

        Raises
        ------
        GeometryError, UnsupportedError
            As `conv2d`.
        """
        return self._calls.call((self, x, out), {})

    def _call(self, x: npt.ArrayLike, out: np.ndarray | None) -> np.ndarray:
        layout = None if may_follow(self._layout, out) else self._layout
        x, channels_last = in_channel_order(as_array("x", x), layout)
        key = x.shape, x.dtype, available_threads(self._num_threads), channels_last
        known = self._known.get(key) or self._plan_call(x, *key)
        strategy, run, geometry, weight, epilogue, threads, max_workspace, dtype, shape, batched = known
        note("convolution ", geometry, ", ", dtype, ", weight prepared, by ", strategy, threads=threads)
        x = as_operand(x, dtype)
        result, target, images = image_result(out, shape, self._layout, channels_last, x)
        run(
            geometry,
            x if batched else x[None],
            weight,
            images if batched else images[None],
            epilogue,
            threads,
            max_workspace,
        )
        return repeatable(delivered(result, target))

    def plan(self, x_shape: Sequence[int], dtype: npt.DTypeLike = np.float32) -> Plan:
        """The plan for images of that shape and type; its repr is the report."""
        dtype, shape = self._common_float(np.empty(0, dtype)), checked_shape("x_shape", x_shape)
        channels_last = self._layout == "NHWC"
        if channels_last:
            shape = channels_first(shape)
        return self._plan(shape, dtype, available_threads(self._num_threads), channels_last)

    @property
    def nbytes(self) -> int:
        held = [self._weight, self._bias]
        for form in tuple(self._forms.values()):
            held += form.weight if isinstance(form.weight, tuple) else [form.weight]
            held.append(form.epilogue.bias)
        return sum({id(array): array.nbytes for array in held if array is not None}.values())

    def __repr__(self) -> str:
        sides = [field for field in str(self._window).split() if field != "n1" and not field.startswith(("ih", "iw"))]
        facts = [" ".join(sides), self._weight.dtype.name]
        if self._bias is not None:
            facts.append("bias")
        options = ("activation", "strategy", "tolerance", "num_threads")
        if self._layout != "NCHW":
            facts.append(f"layout={self._layout!r}")
        facts += [f"{name}={value!r}" for name in options if (value := getattr(self, f"_{name}")) is not None]
        forms = ", ".join(f"{dtype} for {strategy}" for strategy, dtype in tuple(self._forms))
        return f"PreparedConv({', '.join(facts)}; {format_bytes(self.nbytes)}, {forms or 'not yet called'})"

    def __reduce__(self) -> tuple[Any, ...]:
        window = self._window
        return PreparedConv, (
            self._weight,
            self._bias,
            window.stride,
            window.padding,
            window.dilation,
            window.g,
            self._activation,
            self._strategy,
            self._tolerance,
            self._num_threads,
            self._layout,
            self._padding_mode,
        )

    def _common_float(self, x: np.ndarray) -> np.dtype:
        return common_float(x=x, weight=self._weight, bias=self._bias)

    def _plan(self, x_shape: tuple[int, ...], dtype: np.dtype, threads: int, channels_last: bool) -> Plan:
        window = self._window
        geometry = ConvGeometry.from_shapes(
            x_shape,
            self._weight.shape,
            stride=window.stride,
            padding=window.padding,
            dilation=window.dilation,
            groups=window.g,
            channels_last=channels_last,
            padding_mode=self._padding_mode,
        )
        return planner.plan(
            geometry, dtype, strategy=self._strategy, tolerance=self._tolerance, threads=threads, prepared=True
        )

    def _plan_call(self, x: np.ndarray, *key: Any) -> _Call:
        """The entry that calls with an array like `x` look up under `key`."""
        shape, _, threads, channels_last = key
        dtype = self._common_float(x)
        plan = self._plan(shape, dtype, threads, channels_last)
        geometry, strategy = plan.geometry, plan.strategy
        with _preparing:
            form = self._forms.get((strategy.name, dtype.name))
            if form is None:
                bias = None if self._bias is None else constant(as_operand(self._bias, dtype))
                form = _Form(
                    # Prepared for the window only: it must not depend on the image.
                    strategy.prepare(self._window, as_operand(self._weight, dtype), threads),
                    Epilogue(bias, *parse_activation(self._activation)),
                )
                for array in form.weight if isinstance(form.weight, tuple) else (form.weight,):
                    if isinstance(array, np.ndarray):
                        constant(array)
                self._forms[strategy.name, dtype.name] = form
            if len(self._known) >= _MOST_KNOWN:
                self._known.clear()
            call = _Call(
                strategy.name,
                runner(strategy, geometry),
                geometry,
                *form,
                plan.threads,
                plan.max_workspace,
                dtype,
                geometry.out_shape[4 - len(shape) :],
                len(shape) == 4,
            )
            self._known[key] = call
        return call


def prepare_conv2d(
    weight: npt.ArrayLike,
    bias: npt.ArrayLike | None = None,
    stride: int | Sequence[int] = 1,
    padding: Padding = 0,
    dilation: int | Sequence[int] = 1,
    groups: int = 1,
    *,
    padding_mode: str = "zeros",
    activation: Activation = None,
    strategy: str = "auto",
    tolerance: float | None = None,
    num_threads: int | None = None,
    layout: str = "NCHW",
    copy: bool = True,
) -> PreparedConv:
    """`conv2d` with a constant weight, which is converted to the kernels' form once instead of in every call.

    A named strategy computes the same bits as in `conv2d`. "auto" may choose differently, since the price of a call
    does not include the preparation of the weight.

    Parameters
    ----------
    weight : array_like, shape (OC, C / groups, KH, KW)
        Filters.
    bias : array_like, shape (OC,), optional
        Added to every output of a channel.
    stride, padding, dilation, groups, padding_mode, activation, strategy, tolerance, num_threads, layout
        As `conv2d`.
    copy : bool
        Keep copies of `weight` and `bias`. Without, these arrays must not change any more.

    Returns
    -------
    PreparedConv
        A callable, ``prepared(x, out=None)``, for images of any extent.

    Raises
    ------
    GeometryError
        The shapes of weight, bias and window do not fit together; a ``ValueError``.

    References
    ----------
    Dumoulin and Visin, A guide to convolution arithmetic for deep learning, 2016.

    Examples
    --------
    >>> import numpy as np, fastconv
    >>> prepared = fastconv.prepare_conv2d(np.array([[[[-1.0, 1.0]]]]), activation="relu")
    >>> prepared([[[1.0, 2.0, 4.0, 3.0]]])
    array([[[1., 2., 0.]]])
    >>> prepared(np.ones((2, 1, 5, 9))).shape
    (2, 1, 5, 8)
    """
    return PreparedConv(
        weight,
        bias,
        stride,
        padding,
        dilation,
        groups,
        activation,
        strategy,
        tolerance,
        num_threads,
        layout,
        padding_mode,
        copy,
    )
