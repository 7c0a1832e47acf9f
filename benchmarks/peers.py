"""The optional peers, each behind one small adapter: a `Library`.

A new peer is one class here and one name in `PEERS`. If its constructor raises ImportError the peer is left out, with
that reason. Every adapter chooses what is fastest for its peer: layout, constant weights, preallocated results.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import version
from math import prod
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from benchmarks.libraries import Call, Library, flipped, layer_options, transposed_window
from benchmarks.problems import GRADIENTS, LAYERS, WINDOWS, Layer, Problem
from fastconv.engine.convolution.fft import Fft

_CONV_LIKE = ("conv", "filter")


def _begins(problem: Problem) -> tuple[int, ...]:
    return tuple(begin for begin, _ in problem.geometry.padding)


def _as_batches(problem: Problem, arrays: tuple[np.ndarray, ...]) -> list[np.ndarray]:
    """Images and kernels as ``(N, C, H, W)``, for any operation."""
    return [array.reshape((1,) * (4 - array.ndim) + array.shape) for array in arrays]


_OPSET, _IR_VERSION = 17, 8


def _onnx_model(onnx, problem: Problem, weight: list[np.ndarray]) -> bytes:
    """A graph of one node, from "x" to "out"; the weight is a constant."""
    g = problem.geometry
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
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", _OPSET)], ir_version=_IR_VERSION)
    return model.SerializeToString()


class Peer:
    """Base of most adapters: it takes every problem of its operations, and products are summed directly."""

    operations: ClassVar[tuple[str, ...]] = ("conv", "filter", "max_pool", "avg_pool")

    def refuse(self, problem: Problem) -> str | None:
        return None

    def error(self, problem: Problem) -> float:
        return problem.sum_error


class Torch(Peer):
    """One-shot: weights are packed in every call, results are allocated."""

    name = "torch NCHW"
    operations = (*Peer.operations, *GRADIENTS, *LAYERS)
    channels_last = False

    # A kernel for one channel is lowered to a matrix with one row per tap.
    MAX_LOWERED_BYTES = 4 << 30

    def __init__(self, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self.torch = torch
        self.version = torch.__version__

    def refuse(self, problem: Problem | Layer) -> str | None:
        if isinstance(problem, Layer):
            return None
        g = problem.geometry
        if any(begin != end for begin, end in g.padding):
            return "only pads both sides equally"
        lowered = g.positions * g.taps * np.dtype(problem.dtype).itemsize
        if problem.operation == "filter" and lowered > self.MAX_LOWERED_BYTES:
            return f"would lower the image to {lowered / 2**30:.0f} GiB"
        return None

    def prepare(self, problem: Problem | Layer, *arrays: np.ndarray) -> Call:
        torch = self.torch
        if isinstance(problem, Layer):
            function, options = getattr(torch.nn.functional, problem.operation), layer_options(problem)
            tensors = [torch.from_numpy(array) for array in arrays]

            def layer():
                with torch.inference_mode():
                    return function(*tensors, **options).numpy()

            return layer
        g = problem.geometry
        layout = torch.contiguous_format
        if self.channels_last:
            layout = torch.channels_last_3d if g.ndim == 3 else torch.channels_last
        x, *weight = (
            torch.from_numpy(array).contiguous(memory_format=layout) for array in _as_batches(problem, arrays)
        )
        padding = _begins(problem)
        functional = torch.nn.functional
        if problem.operation in _CONV_LIKE:
            convolve = functional.conv3d if g.ndim == 3 else functional.conv2d

            def call():
                return convolve(x, *weight, None, g.stride, padding, g.dilation, g.g)

        elif problem.operation == "conv_transpose":
            options = transposed_window(g)

            def call():
                return functional.conv_transpose2d(*weight, x, **options)

        elif problem.operation in GRADIENTS:
            (grad,), by_weight = weight, problem.operation == "conv_weight"
            empty = torch.empty(g.weight_shape if by_weight else g.x_shape, dtype=x.dtype).contiguous(
                memory_format=layout
            )
            pair = (x, empty) if by_weight else (empty, x)
            mask = (not by_weight, by_weight, False)
            window = (g.stride, padding, g.dilation, False, (0, 0), g.g, mask)

            def call():
                return torch.ops.aten.convolution_backward(grad, *pair, None, *window)[by_weight]

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
    operations = ("conv", "max_pool", "avg_pool", *GRADIENTS)
    channels_last = True


class OnnxRuntime(Peer):
    """Prepared: weights are constants of the graph, packed once; the result's memory is bound once."""

    name = "onnxruntime"

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
            _onnx_model(self.onnx, problem, weight), self.options, providers=["CPUExecutionProvider"]
        )
        binding = session.io_binding()
        binding.bind_cpu_input("x", x)
        binding.bind_output("out", "cpu", 0, out.dtype, out.shape, out.ctypes.data)
        result = out[0, 0] if problem.operation == "filter" else out

        def timed():
            session.run_with_iobinding(binding)
            return result

        return timed


class InferenceEngine(Peer):
    """Prepared: a network of one convolution in float32, whose weight is a constant that was packed once."""

    operations = ("conv",)

    # The largest over all layers, in σ of the output, measured by ``python -m benchmarks.accuracy`` and rounded up.
    measured_error: ClassVar[float]

    def refuse(self, problem: Problem) -> str | None:
        return None if problem.dtype == "float32" else f"convolves float32, not {problem.dtype}"

    def error(self, problem: Problem) -> float:
        return max(problem.sum_error, self.measured_error)


class OpenVino(InferenceEngine):
    """Input and result stay where they are: both tensors share NumPy's memory."""

    name = "OpenVINO"
    measured_error = 1.5e-5  # one running sum over all channels

    def __init__(self, threads: int) -> None:
        import onnx
        import openvino

        self.onnx, self.openvino = onnx, openvino
        self.version = openvino.__version__.split("-")[0]
        # On CPUs with bfloat16 units, float32 networks would otherwise be computed in bfloat16.
        self.config = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": threads,
            "PERFORMANCE_HINT": "LATENCY",
        }

    def prepare(self, problem: Problem, *arrays: np.ndarray) -> Call:
        x, weight = arrays
        core = self.openvino.Core()
        model = core.read_model(io.BytesIO(_onnx_model(self.onnx, problem, [weight])))
        request = core.compile_model(model, "CPU", self.config).create_infer_request()
        out = np.empty(problem.geometry.out_shape, np.float32)
        request.set_input_tensor(self.openvino.Tensor(x, shared_memory=True))
        request.set_output_tensor(self.openvino.Tensor(out, shared_memory=True))

        def timed():
            request.infer()
            return out

        return timed


class Ncnn(InferenceEngine):
    """Image by image, since a network has no batches. Images, and a single result, are read in place."""

    name = "ncnn"
    measured_error = 3e-5  # Winograd

    def __init__(self, threads: int) -> None:
        import ncnn

        self.ncnn = ncnn
        self.threads = threads
        self.version = ncnn.__version__

    def prepare(self, problem: Problem, *arrays: np.ndarray) -> Call:
        x, weight = arrays
        net = self.ncnn.Net()
        # Packing, sgemm and Winograd are on by default and stay on. Half precision is on by default, too, but not here.
        net.opt.num_threads = self.threads
        for option in (
            "use_fp16_packed",
            "use_fp16_storage",
            "use_fp16_arithmetic",
            "use_bf16_packed",
            "use_bf16_storage",
        ):
            setattr(net.opt, option, False)
        net.load_param_mem(self._parameters(problem))
        # Zero marks a weight as float32. The network refers to these bytes as long as it exists.
        stored = np.uint32(0).tobytes() + weight.tobytes()
        net.load_model_mem(stored)
        out = np.empty(problem.geometry.out_shape, np.float32)

        def convolved(image, kept=stored):
            with net.create_extractor() as extractor:
                extractor.input("x", self.ncnn.Mat(image))
                return extractor.extract("out")[1].numpy()

        def batch():
            for index, image in enumerate(x):
                out[index] = convolved(image)
            return out

        return batch if len(x) > 1 else lambda: convolved(x[0])[np.newaxis]

    @staticmethod
    def _parameters(problem: Problem) -> str:
        """The network's text: a magic number, the numbers of layers and blobs, and one line per layer."""
        g = problem.geometry
        kind = "Convolution" if g.g == 1 else "ConvolutionDepthWise"
        (kh, kw), (sh, sw), (dh, dw) = g.kernel, g.stride, g.dilation
        (top, bottom), (left, right) = g.padding
        values = {0: g.out_shape[1], 1: kw, 11: kh, 2: dw, 12: dh, 3: sw, 13: sh}
        values |= {4: left, 15: right, 14: top, 16: bottom, 5: 0, 6: prod(g.weight_shape)}
        values |= {7: g.g} if g.g > 1 else {}
        arguments = " ".join(f"{key}={value}" for key, value in values.items())
        return f"7767517\n2 2\nInput x 0 1 x\n{kind} conv 1 1 x out {arguments}\n"


class Mnn(InferenceEngine):
    """Converted from ONNX, as its users do: layers from ``MNN.expr.conv2d`` ran without Winograd, and groups wrongly.

    The input is copied into the network's memory, the result is read in place.
    """

    name = "MNN"
    measured_error = 2e-2  # Winograd in large tiles

    def __init__(self, threads: int) -> None:
        # `_tools` is the converter itself. Its wrapper, `MNN.tools.mnnconvert`, is not imported: it runs pip for a new
        # package and reports each use over the network.
        import onnx

        with _muted():
            import MNN
        with _muted():
            import _tools

        self.onnx, self.mnn, self.tools = onnx, MNN, _tools
        self.threads = threads
        self.version = MNN.version()

    def prepare(self, problem: Problem, *arrays: np.ndarray) -> Call:
        x, weight = arrays
        expr = self.mnn.expr
        with tempfile.TemporaryDirectory() as folder:
            source, target = Path(folder, "layer.onnx"), Path(folder, "layer.mnn")
            source.write_bytes(_onnx_model(self.onnx, problem, [weight]))
            with _muted():
                self.tools.mnnconvert(
                    [
                        "mnnconvert",
                        "-f",
                        "ONNX",
                        "--modelFile",
                        str(source),
                        "--MNNModel",
                        str(target),
                        "--bizCode",
                        "layer",
                    ]
                )
            # High is float32. The default, normal, gave the same results here; low would allow half precision. (Only a
            # runtime manager obeys: load_module_from_file's own thread_num=1 ran on two threads.)
            with _muted():
                manager = self.mnn.nn.create_runtime_manager(
                    ({"backend": "CPU", "precision": "high", "numThread": self.threads},)
                )
                module = self.mnn.nn.load_module_from_file(str(target), ["x"], ["out"], runtime_manager=manager)
        image = expr.placeholder(list(x.shape), expr.NCHW, expr.float)

        outputs = []

        def timed():
            image.write(x)
            outputs[:] = module.forward([image])  # kept: an array read from a variable does not keep it alive
            return outputs[0].read()

        return timed


class LiteRt(InferenceEngine):
    """A TensorFlow Lite model whose convolution XNNPACK computes, on arrays in channels-last memory, read in place.

    The model is written with the classes that the wheel generates from the format's schema: TensorFlow is not needed.
    """

    name = "LiteRT"
    measured_error = 1.5e-5  # one running sum over taps and channels

    def __init__(self, threads: int) -> None:
        import ai_edge_litert.interpreter
        import ai_edge_litert.schema_py_generated
        import flatbuffers

        self.interpreter, self.schema = ai_edge_litert.interpreter, ai_edge_litert.schema_py_generated
        self.flatbuffers = flatbuffers
        self.threads = threads
        self.version = version("ai-edge-litert")

    def refuse(self, problem: Problem) -> str | None:
        g = problem.geometry
        if g.ndim > 2:
            return "XNNPACK convolves images only"
        return super().refuse(problem)

    def prepare(self, problem: Problem, *arrays: np.ndarray) -> Call:
        x, weight = arrays
        with _muted(2):  # it reports its delegate on standard error
            interpreter = self.interpreter.Interpreter(
                model_content=self._model(problem, weight), num_threads=self.threads
            )
            interpreter.allocate_tensors()
        (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()
        interpreter.set_tensor(source["index"], np.ascontiguousarray(x.transpose(0, 2, 3, 1)))
        interpreter.invoke()
        # The interpreter refuses to run while an array refers to its memory, unless it does not know of it.
        view = interpreter.tensor(target["index"])()
        memory = (ctypes.c_float * view.size).from_address(view.ctypes.data)
        result = np.frombuffer(memory, np.float32).reshape(view.shape).transpose(0, 3, 1, 2)
        del view

        def timed():
            interpreter.invoke()
            return result

        return timed

    def _model(self, problem: Problem, weight: np.ndarray) -> bytes:
        """A convolution, after an operation that pads, which XNNPACK fuses with it."""
        g, schema = problem.geometry, self.schema
        depthwise = 1 < g.g == g.ic
        # Filters lie along the first axis; those of depthwise convolutions along the last.
        filters = weight.transpose((1, 2, 3, 0) if depthwise else (0, 2, 3, 1))
        padded = [extent + sum(pads) for extent, pads in zip(g.extent, g.padding, strict=True)]
        shapes = {"x": (g.n, *g.extent, g.ic), "padded": (g.n, *padded, g.ic), "out": (g.n, *g.out_extent, g.oc)}
        constants = {
            "filters": np.ascontiguousarray(filters),
            "bias": np.zeros(g.oc, np.float32),
            "pads": np.array([(0, 0), *g.padding, (0, 0)], np.int32),
        }
        pads = padded != list(g.extent)
        names = ["x", "filters", "bias", "out", *(["pads", "padded"] if pads else [])]
        model, graph = schema.ModelT(), schema.SubGraphT()
        model.version, model.subgraphs, model.buffers = 3, [graph], [schema.BufferT()]
        graph.tensors = []
        for name in names:
            tensor = schema.TensorT()
            tensor.name, tensor.shape = name, shapes[name] if name in shapes else constants[name].shape
            tensor.type = schema.TensorType.INT32 if name == "pads" else schema.TensorType.FLOAT32
            if name in constants:
                tensor.buffer = len(model.buffers)
                model.buffers.append(schema.BufferT())
                model.buffers[-1].data = constants[name].view(np.uint8).reshape(-1)
            graph.tensors.append(tensor)
        graph.inputs, graph.outputs = [names.index("x")], [names.index("out")]
        model.operatorCodes, graph.operators = [], []

        def add(operator: str, options: Any, inputs: tuple[str, ...], output: str) -> None:
            code, node = schema.OperatorCodeT(), schema.OperatorT()
            code.builtinCode = getattr(schema.BuiltinOperator, operator)
            code.deprecatedBuiltinCode, code.version = code.builtinCode, 1
            node.opcodeIndex = len(model.operatorCodes)
            node.inputs, node.outputs = [names.index(name) for name in inputs], [names.index(output)]
            node.builtinOptions = options
            node.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
            model.operatorCodes.append(code)
            graph.operators.append(node)

        if pads:
            add("PAD", schema.PadOptionsT(), ("x", "pads"), "padded")
        window = schema.DepthwiseConv2DOptionsT() if depthwise else schema.Conv2DOptionsT()
        window.padding = schema.Padding.VALID
        (window.strideH, window.strideW), (window.dilationHFactor, window.dilationWFactor) = g.stride, g.dilation
        if depthwise:
            window.depthMultiplier = g.oc // g.g
        operator = "DEPTHWISE_CONV_2D" if depthwise else "CONV_2D"
        add(operator, window, ("padded" if pads else "x", "filters", "bias"), "out")
        builder = self.flatbuffers.Builder()
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


@contextlib.contextmanager
def _muted(descriptor: int = 1) -> Iterator[None]:
    """Keep what compiled code prints, by default on standard output, out of the table."""
    stream = os.dup(descriptor)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), descriptor)
    try:
        yield
    finally:
        os.dup2(stream, descriptor)
        os.close(stream)


class OpenCv(Peer):
    """``filter2D``, which correlates, by DFT for large kernels; ``GaussianBlur``, ``dilate``, ``blur``."""

    name = "OpenCV"
    operations = ("filter", "gaussian", "blur", *WINDOWS)

    def __init__(self, threads: int) -> None:
        import cv2

        cv2.setNumThreads(threads)
        self.cv2 = cv2
        self.version = cv2.__version__

    def error(self, problem: Problem) -> float:
        return problem.sum_error if problem.operation in WINDOWS else max(problem.sum_error, _fft_error(problem))

    def prepare(self, problem: Problem, *arrays: np.ndarray) -> Call:
        image, *kernel = arrays
        if problem.operation == "max_window":
            box = np.ones(problem.geometry.kernel, np.uint8)
            return lambda: self.cv2.dilate(image, box)
        if problem.operation == "mean_window":
            size = problem.geometry.kernel[::-1]
            return lambda: self.cv2.blur(image, size, borderType=self.cv2.BORDER_CONSTANT)
        if not kernel:
            size = problem.geometry.kernel[::-1]
            return lambda: self.cv2.GaussianBlur(image, size, problem.sigma, borderType=self.cv2.BORDER_CONSTANT)
        return lambda: self.cv2.filter2D(image, -1, kernel[0], borderType=self.cv2.BORDER_CONSTANT)


class ScipySignal(Peer):
    """A function of ``scipy.signal``, which runs on one thread."""

    operations = ("filter", "gaussian", "signal")
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
    operations = ("filter", "gaussian")

    # Its plain loop does about 1e9 operations per second: past this, a call takes seconds.
    MAX_FLOPS = 1e9

    def refuse(self, problem: Problem) -> str | None:
        flops = problem.geometry.flops
        return f"would take about {flops / 1e9:.0f} s per call" if flops > self.MAX_FLOPS else None


class ScipyFft(ScipySignal):
    function = "fftconvolve"
    name = f"scipy {function}"

    def error(self, problem: Problem) -> float:
        return _fft_error(problem)


class ScipyOverlapAdd(ScipyFft):
    function = "oaconvolve"
    name = f"scipy {function}"


class NumpyConvolve(ScipySignal):
    """What ``scipy.signal.convolve`` calls for short filters."""

    name = "numpy convolve"
    operations = ("signal",)
    version = np.__version__

    def __init__(self, threads: int) -> None:
        pass

    def prepare(self, problem: Problem, *arrays: np.ndarray) -> Call:
        signal, kernel = arrays
        kernel = flipped(kernel)
        return lambda: np.convolve(signal, kernel, mode="same")


class NumPy(Peer):
    """The expression that needs no library, for layers that are one expression."""

    name = "numpy"
    version = np.__version__
    expressions: ClassVar[dict[str, Callable]] = {
        "relu": lambda x: np.maximum(x, 0),
        "leaky_relu": lambda x: np.where(x < 0, np.float32(0.01) * x, x),
        "prelu": lambda x, weight: np.where(x < 0, weight.reshape(-1, *(1,) * (x.ndim - 2)) * x, x),
        "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
        "tanh": np.tanh,
        "silu": lambda x: x / (1 + np.exp(-x)),
        "hardswish": lambda x: x * np.clip(x + 3, 0, 6) / 6,
    }
    operations = tuple(expressions)

    def __init__(self, threads: int) -> None:
        pass

    def prepare(self, problem: Layer, *arrays: np.ndarray) -> Call:
        return lambda: self.expressions[problem.operation](*arrays)


class ScipyNdimage(Peer):
    """``scipy.ndimage``: ``gaussian_filter``, ``maximum_filter``, ``uniform_filter``."""

    name = "scipy ndimage"
    operations = ("blur", *WINDOWS)

    def __init__(self, threads: int) -> None:
        import scipy.ndimage

        self.ndimage = scipy.ndimage
        self.version = scipy.__version__

    def prepare(self, problem: Problem, *arrays: np.ndarray) -> Call:
        (image,) = arrays
        size = problem.geometry.kernel
        if problem.operation == "max_window":
            return lambda: self.ndimage.maximum_filter(image, size, mode="constant", cval=-np.inf)
        if problem.operation == "mean_window":
            return lambda: self.ndimage.uniform_filter(image, size, mode="constant")
        return lambda: self.ndimage.gaussian_filter(image, problem.sigma, mode="constant")


def _fft_error(problem: Problem) -> float:
    return Fft().error(problem.geometry, np.dtype(problem.dtype))


PEERS = (
    *(Torch, TorchChannelsLast, OnnxRuntime, OpenVino, Ncnn, Mnn, LiteRt, OpenCv),
    *(ScipyConvolve2d, ScipyFft, ScipyOverlapAdd, NumpyConvolve, ScipyNdimage, NumPy),
)


def available_peers(
    threads: int,
    start: Callable[[type[Library], int], Any] = type.__call__,
    peers: tuple[type[Library], ...] = PEERS,
) -> tuple[list[Any], dict[str, str]]:
    """Those of `peers` that are installed, each made from its class by ``start``, and for every other the reason."""
    present, missing = [], {}
    for peer in peers:
        try:
            present.append(start(peer, threads))
        except ImportError as error:
            missing[peer.name] = str(error)
    return present, missing
