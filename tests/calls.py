"""Random calls over the whole public API, each drawn from a seed: for tests that watch memory, not values.

A family is a function that draws its operands and returns every array it computed. Called again with the same seed, it
computes the same values, wherever its arrays are in memory.
"""

import numpy as np

import fastconv
from fastconv import grad, ndimage, nn, signal

FLOATS = "fd"
REALS = "fdbBhHiIlL"
ODD = (
    1,
    2,
    3,
    4,
    5,
    7,
    8,
    9,
    13,
    15,
    16,
    17,
    23,
    31,
    33,
    47,
    63,
    65,
    100,
    129,
)  # around the extents of vectors and tiles


class Draw:
    """Arguments from a seeded generator; no extent is larger than `most`."""

    def __init__(self, seed, most):
        self.rng = np.random.default_rng(seed)
        self.extents = [extent for extent in ODD if extent <= most]

    def one_of(self, *choices):
        return choices[self.rng.integers(len(choices))]

    def upto(self, largest, least=0):
        return int(self.rng.integers(least, largest + 1))

    def extent(self, least=1):
        return max(least, self.one_of(*self.extents))

    def shape(self, ndim):
        """Extents, of which only the last two may be large."""
        return (*(self.upto(3, 1) for _ in range(ndim - 2)), *(self.extent() for _ in range(min(ndim, 2))))

    def array(self, shape, dtype="f"):
        """An array of values of either sign: mostly contiguous, or with gaps, reversed, or with permuted axes."""
        layout = self.upto(7)
        order = tuple(self.rng.permutation(len(shape))) if layout == 0 else tuple(range(len(shape)))
        steps = [self.one_of(-2, -1, 1, 2) if layout == 1 else 1 for _ in shape]
        held = [max(0, abs(steps[axis]) * (shape[axis] - 1) + 1) for axis in order]
        base = self.rng.standard_normal(held) if np.dtype(dtype).kind in "fc" else self.rng.integers(0, 100, held)
        view = base.astype(dtype).transpose(np.argsort(order))
        return view[tuple(slice(None, None, step) for step in steps)]

    def activation(self):
        return self.one_of(None, "relu", ("leaky_relu", 0.1), "gelu", "hardswish", "relu6", "tanh")


def arrays_in(value):
    """Every array in nested tuples and lists."""
    if isinstance(value, tuple | list):
        return [array for item in value for array in arrays_in(item)]
    return [np.asarray(value)]


def convolution(draw, ndim):
    """Shapes of an image and a weight, and their window."""
    kernel = tuple(draw.one_of(1, 2, 3, 3, 3, 4, 5, 5, 7, 9) for _ in range(ndim))
    if draw.upto(2):
        kernel = (kernel[0],) * ndim  # square, as Winograd's transforms need
    dense = draw.upto(2) > 0
    stride, dilation = (tuple(1 if dense else draw.upto(3, 1) for _ in kernel) for _ in range(2))
    padding = tuple((draw.upto(k), draw.upto(k)) for k in kernel)
    groups = draw.one_of(1, 1, 1, 2, 3)
    channels, filters = (draw.one_of(1, 1, 2, 3, 5, 9, 17) for _ in range(2))
    extents = [draw.extent(d * (k - 1) + 1) for k, d in zip(kernel, dilation, strict=True)]
    if ndim == 3:
        extents = [min(extent, 5 + d * k) for extent, k, d in zip(extents, kernel, dilation, strict=True)]
    x = (draw.upto(2, 1), groups * channels, *extents)
    window = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    return x, (groups * filters, channels, *kernel), window


def convolutions(draw):
    """Every strategy that does not refuse."""
    ndim = draw.one_of(1, 2, 2, 2, 2, 3)
    x_shape, weight_shape, window = convolution(draw, ndim)
    dtype = draw.one_of(*FLOATS)
    x, weight = draw.array(x_shape, dtype), draw.array(weight_shape, dtype)
    bias = draw.array(weight_shape[:1], dtype) if draw.upto(1) else None
    activation = draw.activation()
    conv = getattr(fastconv, f"conv{ndim}d")
    results = [conv(x, weight, bias, **window, activation=activation)]
    for name in fastconv.strategies():
        out = np.empty_like(results[0]) if draw.upto(1) else None
        try:
            results.append(conv(x, weight, bias, **window, activation=activation, strategy=name, out=out))
        except fastconv.UnsupportedError:
            continue
    return results


def prepared(draw):
    """A weight prepared once, for images of two extents."""
    x_shape, weight_shape, window = convolution(draw, 2)
    dtype = draw.one_of(*FLOATS)
    weight, bias = draw.array(weight_shape, dtype), draw.array(weight_shape[:1], dtype)
    results = []
    for name in ("auto", *fastconv.strategies()):
        conv = fastconv.prepare_conv2d(weight, bias, **window, activation=draw.activation(), strategy=name)
        for more in (0, 3):
            x = draw.array((*x_shape[:-1], x_shape[-1] + more), dtype)
            try:
                results.append(conv(x))
            except fastconv.UnsupportedError:
                continue
    return results


def transposed(draw):
    ndim = draw.one_of(1, 2, 2, 3)
    x_shape, (filters, channels, *kernel), window = convolution(draw, ndim)
    del window["padding"]
    groups, stride, dilation = window["groups"], window["stride"], window["dilation"]
    x = draw.array((x_shape[0], filters, *(min(extent, 31) for extent in x_shape[2:])))
    more = tuple(draw.upto(max(s, d) - 1) for s, d in zip(stride, dilation, strict=True))
    weight, bias = draw.array((filters, channels, *kernel)), draw.array((groups * channels,))
    conv = getattr(fastconv, f"conv_transpose{ndim}d")
    return conv(x, weight, bias, output_padding=more, **window, activation=draw.activation())


def gradients(draw):
    """Gradients of convolutions with respect to the image, the weight and the bias."""
    ndim = draw.one_of(1, 2, 2, 3)
    x_shape, weight_shape, window = convolution(draw, ndim)
    dtype = draw.one_of(*FLOATS)
    x, weight = draw.array(x_shape, dtype), draw.array(weight_shape, dtype)
    out = getattr(fastconv, f"conv{ndim}d")(x, weight, **window)
    by_out = draw.array(out.shape, dtype)
    by_input, by_weight = (getattr(grad, f"conv{ndim}d_{name}") for name in ("input", "weight"))
    return (
        by_input(x_shape, weight, by_out, **window),
        by_weight(x, weight_shape, by_out, **window),
        grad.conv_bias(by_out),
    )


def windows(draw, ndim):
    """Arguments of pooling, with few extents, since each needs a compiled kernel."""
    kernel = (draw.one_of(2, 3),) * ndim
    padding = tuple(draw.upto(k // 2) for k in kernel)
    return {"kernel_size": kernel, "stride": 2, "padding": padding, "ceil_mode": bool(draw.upto(1))}


def pools(draw):
    ndim = draw.one_of(1, 2, 2, 3)
    window = windows(draw, ndim)
    shape = (*draw.shape(ndim + 2)[:2], *(draw.extent(5) for _ in range(ndim)))
    if ndim == 3:
        shape = (*shape[:2], *(min(extent, 9) for extent in shape[2:]))
    x = draw.array(shape)
    peaks = draw.array(shape, draw.one_of("f", "B"))
    results = [
        getattr(fastconv, f"max_pool{ndim}d")(peaks, **window),
        getattr(fastconv, f"max_pool{ndim}d")(x, **window, return_indices=True),
        getattr(fastconv, f"avg_pool{ndim}d")(x, **window, count_include_pad=bool(draw.upto(1))),
    ]
    del window["padding"]
    if ndim < 3:
        results.append(getattr(fastconv, f"lp_pool{ndim}d")(x, draw.one_of(1, 2, 3), **window))
    return results


def pools_of_planes(draw):
    """Pooling that exists only for planes, and gradients of pooling."""
    shape = draw.upto(2, 1), draw.upto(4, 1), draw.extent(5), draw.extent(5)
    x = draw.array(shape)
    window = windows(draw, 2)
    kernel = window["kernel_size"]
    asked = tuple(draw.upto(extent - k + 1, 1) for extent, k in zip(shape[2:], kernel, strict=True))
    maxima, indices = fastconv.max_pool2d(x, kernel, return_indices=True)
    by_max = draw.array(fastconv.max_pool2d(x, **window).shape, x.dtype)
    without_padding = {name: value for name, value in window.items() if name != "padding"}
    by_lp = draw.array(fastconv.lp_pool2d(x, 2, **without_padding).shape, x.dtype)
    return (
        fastconv.adaptive_max_pool2d(x, asked, return_indices=True),
        fastconv.adaptive_avg_pool2d(x, asked),
        fastconv.fractional_max_pool2d(x, kernel, asked, return_indices=True, rng=draw.upto(99)),
        fastconv.global_max_pool2d(x),
        fastconv.global_avg_pool2d(x),
        fastconv.max_unpool2d(maxima, indices, kernel, output_size=shape[2:]),
        grad.max_pool2d(by_max, x, **window),
        grad.avg_pool2d(by_max, shape, **window),
        grad.lp_pool2d(by_lp, x, 2, **without_padding),
    )


def lines(draw):
    """ndimage's filters along one axis."""
    x = draw.array(draw.shape(draw.upto(3, 1)), draw.one_of(*REALS))
    size = draw.one_of(1, 2, 3, 5, 8, 11, 21, 40)
    place = {
        "axis": draw.upto(x.ndim - 1),
        "mode": draw.one_of("reflect", "constant", "nearest", "mirror", "wrap"),
        "cval": draw.upto(5),
    }
    origin = draw.upto((size - 1) // 2)
    weights = draw.array((size,), "d")
    return [
        ndimage.correlate1d(x, weights, **place, origin=origin),
        ndimage.convolve1d(x, weights + weights[::-1], **place),
        ndimage.uniform_filter1d(x, size, **place, origin=origin),
        ndimage.maximum_filter1d(x, size, **place, origin=origin),
        ndimage.minimum_filter1d(x, size, **place),
        ndimage.sobel(x, place["axis"], mode=place["mode"]),
        ndimage.laplace(x, mode=place["mode"]),
        ndimage.percentile_filter(x, 30, size, axes=place["axis"], mode=place["mode"], cval=place["cval"]),
        ndimage.gaussian_filter1d(x, draw.one_of(0.4, 1.5, 6.0), **place, order=draw.upto(2)),
    ]


def images(draw):
    """ndimage's filters along several axes."""
    x = draw.array(draw.shape(draw.one_of(1, 2, 2, 2, 3)), draw.one_of(*REALS, "F"))
    sizes = (2, draw.one_of(1, 2, 3, 4, 7, 13), draw.one_of(1, 2, 3, 4, 7, 13))[-x.ndim :]
    place = {"mode": draw.one_of("reflect", "constant", "nearest", "mirror", "wrap"), "cval": draw.upto(5)}
    weights = draw.array(sizes, draw.one_of("d", "f", "l"))
    outer = np.multiply.outer(weights[..., 0], weights[(0,) * (x.ndim - 1)])
    results = [
        ndimage.correlate(x, weights, **place),
        ndimage.convolve(x, outer, **place),
        ndimage.uniform_filter(x, sizes, **place),
        ndimage.gaussian_filter(x, draw.one_of(0.5, 2.0), **place, order=draw.upto(1)),
    ]
    if x.dtype.kind != "c":
        footprint = draw.array(sizes, "l") > 30
        footprint.flat[0] = True
        results += [
            ndimage.maximum_filter(x, sizes, **place),
            ndimage.minimum_filter(x, footprint=footprint, **place),
            ndimage.median_filter(x, sizes, **place),
            ndimage.median_filter(x, 3, **place),
            ndimage.grey_opening(x, footprint=footprint, **place),
            ndimage.grey_closing(x, sizes, output="d", **place),
            ndimage.rank_filter(x, -2 if footprint.sum() > 1 else 0, footprint=footprint, **place),
        ]
    return results


def signals(draw):
    kind = draw.one_of(*REALS, "F", "D")
    image = draw.array((draw.extent(), draw.extent()), kind)
    kernel = draw.array((draw.one_of(1, 2, 3, 5, 8, 13), draw.one_of(1, 2, 3, 5, 8, 13)), kind)
    boundary, mode = draw.one_of("fill", "wrap", "symm"), draw.one_of("full", "same")
    line, taps = draw.array((draw.extent() * 3,), kind), draw.array((draw.one_of(1, 2, 7, 30),), kind)
    results = [
        signal.convolve2d(image, kernel, mode, boundary, 3),
        signal.correlate2d(image, kernel, mode, boundary),
        *(signal.convolve(image, kernel, mode, method) for method in ("direct", "fft", "auto")),
        signal.correlate(line, taps, mode),
        signal.fftconvolve(line, taps, mode),
        signal.oaconvolve(image, kernel, mode),
    ]
    axis, mode = draw.upto(1), draw.one_of("constant", "reflect", "antireflect", "line")
    results += [
        signal.upfirdn(taps, image, draw.upto(4, 1), draw.upto(4, 1), axis, mode),
        signal.upfirdn(taps.real, line[:: draw.one_of(1, -2)], draw.upto(4, 1), draw.upto(4, 1), mode=mode),
        signal.resample_poly(image, draw.upto(5, 1), draw.upto(5, 1), axis),
    ]
    if kind in FLOATS:
        size = draw.upto(min(7, image.shape[axis]), 1)
        results.append(signal.savgol_filter(image, size, size // 2, axis=axis))
        results.append(signal.sepfir2d(image, draw.array((draw.one_of(1, 3, 9),), kind), draw.array((5,), kind)))
    return results


def layers(draw):
    """Layers other than convolution and pooling, each with its gradient."""
    dtype = draw.one_of(*FLOATS)
    shape = draw.shape(draw.upto(4, 2))
    x, by_out = draw.array(shape, dtype), draw.array(shape, dtype)
    slopes, statistics = draw.array((shape[1],), dtype), draw.array((3, shape[1]), dtype) ** 2 + 1
    axis = draw.upto(len(shape) - 1)
    plain = ("relu", "leaky_relu", "elu", "sigmoid", "tanh", "silu", "gelu", "hardswish", "relu6", "selu", "mish")
    plain += ("softplus", "softsign", "celu", "hardtanh", "hardsigmoid", "hardshrink", "softshrink", "logsigmoid")
    results = [(getattr(nn, name)(x), getattr(grad, name)(by_out, x)) for name in plain]
    results += [getattr(nn, name)(x, axis) for name in ("softmax", "log_softmax")]
    results += [getattr(grad, name)(by_out, x, axis) for name in ("softmax", "log_softmax")]
    results += [nn.prelu(x, slopes), grad.prelu(by_out, x, slopes)]
    results += [nn.batch_norm(x, *statistics[:2], slopes), grad.batch_norm(by_out, x, *statistics[:2], slopes)]
    size = draw.upto(6, 1)
    if len(shape) > 2:
        results += [nn.local_response_norm(x, size), grad.local_response_norm(by_out, x, size)]
    pieces = draw.array((shape[0], 2 * draw.upto(5, 1), 3), dtype)
    results += [nn.maxout(pieces, 2), nn.dropout(x, 0.3, rng=1), nn.rrelu(x, training=True, rng=1)]
    samples, inputs, outputs = draw.upto(5), draw.extent(), draw.extent()
    rows, weight, bias = (draw.array(s, dtype) for s in ((samples, inputs), (outputs, inputs), (outputs,)))
    results += [nn.linear(rows, weight, bias), grad.linear(draw.array((samples, outputs), dtype), rows, weight)]
    scores, target = draw.array((samples + 1, outputs), dtype), draw.rng.integers(0, outputs, samples + 1)
    results.append(nn.cross_entropy(scores, target, label_smoothing=0.1))
    results.append(grad.cross_entropy(np.ones((), dtype), scores, target))
    return results


def lowerings(draw):
    """The lowerings as matrices."""
    x_shape, weight_shape, window = convolution(draw, 2)
    x = draw.array((*x_shape[:2], *(min(extent, 33) for extent in x_shape[2:])), draw.one_of(*FLOATS))
    groups = window.pop("groups")
    columns = fastconv.im2col(x, weight_shape[2:], **window)
    matrix = fastconv.toeplitz_matrix(draw.array(weight_shape), x.shape, **window, groups=groups)
    put_back = fastconv.col2im(columns, x.shape[2:], weight_shape[2:], **window)
    return columns, put_back, matrix.data, matrix.indices, matrix.indptr


FAMILIES = {
    function.__name__: function
    for function in (
        convolutions,
        prepared,
        transposed,
        gradients,
        pools,
        pools_of_planes,
        lines,
        images,
        signals,
        layers,
        lowerings,
    )
}


def call(family, seed, most=65):
    """The arrays that a call of `family` computes."""
    return arrays_in(FAMILIES[family](Draw(seed, most)))
