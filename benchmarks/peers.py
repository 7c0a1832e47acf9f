"""The optional peers, each behind one small adapter: a `Library`.

A new peer is one class here and one name in `PEERS`. A constructor that raises ImportError leaves its peer out, with
that reason. Every adapter chooses what is fastest for its peer: layout, constant weights, preallocated results.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from benchmarks.libraries import Call, Library, flipped
from benchmarks.problems import OPERATIONS, Problem
from fastconv.strategies.fft import Fft

_CONV_LIKE = ("conv", "filter")


def _begins(problem: Problem) -> tuple[int, ...]:
    return tuple(begin for begin, _ in problem.geometry.padding)


def _as_batches(problem: Problem, arrays: tuple[np.ndarray, ...]) -> list[np.ndarray]:
    """Images and kernels as ``(N, C, H, W)``, whatever the operation."""
    return [array.reshape((1,) * (4 - array.ndim) + array.shape) for array in arrays]


class Peer:
    """What most adapters share: every problem of their operations is taken, and products are summed directly."""

    operations: ClassVar[tuple[str, ...]] = OPERATIONS

    def refuse(self, problem: Problem) -> str | None:
        return None

    def error(self, problem: Problem) -> float:
        return problem.sum_error


class Torch(Peer):
    """One-shot: weights are packed in every call, results are allocated."""

    name = "torch NCHW"
    channels_last = False

    # A kernel for one channel is lowered to a matrix of one row a tap.
    MAX_LOWERED_BYTES = 4 << 30

    def __init__(self, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self.torch = torch
        self.version = torch.__version__

    def refuse(self, problem: Problem) -> str | None:
        g = problem.geometry
        if any(begin != end for begin, end in g.padding):
            return "pads both sides equally only"
        lowered = g.positions * g.taps * np.dtype(problem.dtype).itemsize
        if problem.operation == "filter" and lowered > self.MAX_LOWERED_BYTES:
            return f"would lower the image to {lowered / 2**30:.0f} GiB"
        return None

    def prepare(self, problem: Problem, *arrays: np.ndarray) -> Call:
        torch, g = self.torch, problem.geometry
        layout = torch.channels_last if self.channels_last else torch.contiguous_format
        x, *weight = (
            torch.from_numpy(array).contiguous(memory_format=layout) for array in _as_batches(problem, arrays)
        )
        padding = _begins(problem)
        functional = torch.nn.functional
        if problem.operation in _CONV_LIKE:

            def call():
                return functional.conv2d(x, *weight, None, g.stride, padding, g.dilation, g.g)

        elif problem.operation == "max_pool":

            def call():
                return functional.max_pool2d(x, g.kernel, g.stride, padding, g.dilation, g.ceil_mode)

        else:

            def call():
                return functional.avg_pool2d(x, g.kernel, g.stride, padding, g.ceil_mode)

        planes = (0, 0) if problem.operation == "filter" else ...

        def timed():
            with torch.inference_mode():
                return call().numpy()[planes]

        return timed


class TorchChannelsLast(Torch):
    """Images and weights already in channels-last memory."""

    name = "torch NHWC"
    operations = tuple(operation for operation in OPERATIONS if operation != "filter")
    channels_last = True


class OnnxRuntime(Peer):
    """Prepared: weights are constants of the graph, packed once; the result's memory is bound once."""

    name = "onnxruntime"

    OPSET, IR_VERSION = 17, 8

    def __init__(self, threads: int) -> None:
        import onnx
        import onnxruntime

        self.onnx, self.runtime = onnx, onnxruntime
        self.version = onnxruntime.__version__
        self.options = onnxruntime.SessionOptions()
        self.options.intra_op_num_threads = threads
        self.options.inter_op_num_threads = 1

    def refuse(self, problem: Problem) -> str | None:
        if problem.dtype != "float32" and problem.operation in _CONV_LIKE:
            return f"convolves float32, not {problem.dtype}"
        return None

    def prepare(self, problem: Problem, *arrays: np.ndarray) -> Call:
        x, *weight = _as_batches(problem, arrays)
        out = np.empty(problem.geometry.out_shape, problem.dtype)
        session = self.runtime.InferenceSession(
            self._model(problem, weight), self.options, providers=["CPUExecutionProvider"]
        )
        binding = session.io_binding()
        binding.bind_cpu_input("x", x)
        binding.bind_output("out", "cpu", 0, out.dtype, out.shape, out.ctypes.data)
        result = out[0, 0] if problem.operation == "filter" else out

        def timed():
            session.run_with_iobinding(binding)
            return result

        return timed

    def _model(self, problem: Problem, weight: list[np.ndarray]) -> bytes:
        """A graph of one node."""
        onnx, g = self.onnx, problem.geometry
        begins, ends = zip(*g.padding, strict=True)
        window = {"kernel_shape": g.kernel, "strides": g.stride, "pads": (*begins, *ends)}
        if problem.operation in _CONV_LIKE:
            kind, attributes = "Conv", {"dilations": g.dilation, "group": g.g}
        elif problem.operation == "max_pool":
            kind, attributes = "MaxPool", {"dilations": g.dilation, "ceil_mode": int(g.ceil_mode)}
        else:
            kind, attributes = "AveragePool", {"ceil_mode": int(g.ceil_mode), "count_include_pad": 1}
        constants = [onnx.numpy_helper.from_array(array, "weight") for array in weight]
        inputs = ["x", *(constant.name for constant in constants)]
        type_ = onnx.helper.np_dtype_to_tensor_dtype(np.dtype(problem.dtype))
        graph = onnx.helper.make_graph(
            [onnx.helper.make_node(kind, inputs, ["out"], **window, **attributes)],
            "layer",
            [onnx.helper.make_tensor_value_info("x", type_, g.x_shape)],
            [onnx.helper.make_tensor_value_info("out", type_, g.out_shape)],
            constants,
        )
        model = onnx.helper.make_model(
            graph, opset_imports=[onnx.helper.make_opsetid("", self.OPSET)], ir_version=self.IR_VERSION
        )
        return model.SerializeToString()


class OpenCv(Peer):
    """``filter2D``, which correlates, and turns to a DFT for large kernels."""

    name = "OpenCV"
    operations = ("filter",)

    def __init__(self, threads: int) -> None:
        import cv2

        cv2.setNumThreads(threads)
        self.cv2 = cv2
        self.version = cv2.__version__

    def error(self, problem: Problem) -> float:
        return max(problem.sum_error, _fft_error(problem))

    def prepare(self, problem: Problem, *arrays: np.ndarray) -> Call:
        image, kernel = arrays
        return lambda: self.cv2.filter2D(image, -1, kernel, borderType=self.cv2.BORDER_CONSTANT)


class ScipySignal(Peer):
    """A function of ``scipy.signal``, all of them on one thread."""

    operations = ("filter",)
    function: ClassVar[str]

    def __init__(self, threads: int) -> None:
        import scipy.signal

        self.scipy = scipy
        self.version = scipy.__version__

    def prepare(self, problem: Problem, *arrays: np.ndarray) -> Call:
        image, kernel = arrays
        function, kernel = getattr(self.scipy.signal, self.function), flipped(kernel)
        return lambda: function(image, kernel, mode="same")


class ScipyConvolve2d(ScipySignal):
    function = "convolve2d"
    name = f"scipy {function}"

    # Its plain loop does about 1e9 operations a second: past this, a call takes seconds.
    MAX_FLOPS = 1e9

    def refuse(self, problem: Problem) -> str | None:
        return f"would take about {problem.flops / 1e9:.0f} s a call" if problem.flops > self.MAX_FLOPS else None


class ScipyFft(ScipySignal):
    function = "fftconvolve"
    name = f"scipy {function}"

    def error(self, problem: Problem) -> float:
        return _fft_error(problem)


class ScipyOverlapAdd(ScipyFft):
    function = "oaconvolve"
    name = f"scipy {function}"


def _fft_error(problem: Problem) -> float:
    return Fft().error(problem.geometry, np.dtype(problem.dtype))


PEERS = (Torch, TorchChannelsLast, OnnxRuntime, OpenCv, ScipyConvolve2d, ScipyFft, ScipyOverlapAdd)


def available_peers(threads: int) -> tuple[list[Library], dict[str, str]]:
    """The peers that are installed, and for every other one the reason."""
    present, missing = [], {}
    for peer in PEERS:
        try:
            present.append(peer(threads))
        except ImportError as error:
            missing[peer.name] = str(error)
    return present, missing
