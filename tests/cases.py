"""The problems on which every strategy is tested, as descriptors, and data for them.

There are few kernel extents but many geometries.
"""

import numpy as np
from hypothesis import strategies as st

from fastconv.engine.convolution import STRATEGIES
from fastconv.engine.geometry import ConvGeometry

DESCRIPTORS = {
    "plain": "n1 ic3 oc4 ih9 iw11 k3",
    "same": "n1 ic3 oc4 ih9 iw11 k3 p1",
    "wider_than_a_vector": "n1 ic2 oc3 ih6 iw75 k3 p1",
    "many_row_tiles": "n1 ic1 oc2 ih300 iw130 k3 p1",
    "batch": "n3 ic2 oc5 ih7 iw8 k3 p1",
    "empty_batch": "n0 ic2 oc5 ih7 iw8 k3 p1",
    "stride_2": "n2 ic3 oc4 ih10 iw13 k3 s2 p1",
    "stride_3": "n1 ic2 oc2 ih13 iw17 k3 s3",
    "mixed_stride": "n1 ic2 oc3 ih12 iw11 k3 sh1 sw2 p1",
    "stride_over_kernel": "n1 ic2 oc2 ih14 iw15 k3 s5 p1",
    "asymmetric_padding": "n1 ic2 oc3 ih7 iw6 k3 pt0 pb3 pl2 pr1",
    "padding_past_kernel": "n1 ic2 oc2 ih4 iw5 k3 p6",
    "dilation": "n1 ic3 oc2 ih11 iw12 k3 d2 p2",
    "mixed_dilation": "n1 ic2 oc3 ih13 iw14 k3 dh3 dw2 sh2 sw1 p1",
    "dilation_past_image": "n1 ic2 oc2 ih4 iw5 k3 d7 p7",
    "dilation_of_corners": "n1 ic1 oc2 ih3 iw3 k3 d9 p9 s2",
    "groups": "n2 g2 ic4 oc6 ih8 iw9 k3 p1",
    "groups_stride_dilation": "n1 g3 ic6 oc3 ih11 iw12 k3 s2 d2 p2",
    "depthwise": "n2 g5 ic5 oc5 ih9 iw10 k3 p1",
    "depthwise_multiplier": "n1 g4 ic4 oc8 ih9 iw10 k3 s2 p1",
    "pointwise": "n2 ic7 oc5 ih6 iw7 k1",
    "pointwise_stride": "n1 ic7 oc5 ih7 iw8 k1 s2",
    "pointwise_padding": "n1 ic3 oc5 ih4 iw5 k1 p1",
    "pointwise_groups": "n1 g2 ic6 oc4 ih5 iw6 k1",
    "even_kernel": "n1 ic3 oc2 ih8 iw9 k2",
    "even_kernel_same": "n1 ic2 oc3 ih6 iw7 k2 pt0 pb1 pl0 pr1",
    "row_kernel": "n1 ic3 oc2 ih5 iw12 kh1 kw5 pt0 pb0 pl2 pr2",
    "column_kernel": "n1 ic3 oc2 ih12 iw5 kh5 kw1 sh2 sw1 pt2 pb2 pl0 pr0",
    "large_kernel": "n1 ic2 oc2 ih21 iw23 kh9 kw11 p4",
    "large_kernel_stride": "n1 ic2 oc2 ih21 iw23 kh9 kw11 s2 d2 p8",
    "kernel_of_the_image": "n2 ic2 oc3 ih3 iw3 k3",
    "one_pixel": "n1 ic3 oc2 ih1 iw1 k3 p1",
    "one_pixel_pointwise": "n1 ic3 oc2 ih1 iw1 k1",
    "kernel_past_image": "n1 ic1 oc1 ih1 iw1 k125 p63",
    "signal": "n2 ic3 oc4 iw40 kw5 p2",
    "signal_stride_dilation_groups": "n1 g2 ic4 oc6 iw33 kw5 s2 d3 pl4 pr1",
    "signal_one_sample": "n1 ic2 oc2 iw1 kw1",
}

CASES = {name: ConvGeometry.parse(descriptor) for name, descriptor in DESCRIPTORS.items()}

DTYPES = ("float32", "float64")

# The strategies that compute 3×3 kernels, for tests in which the kernel does not matter.
OF_3X3 = tuple(s for s in STRATEGIES if s.refuse(CASES["plain"], np.dtype("float32")) is None)


def integers(geometry, dtype, seed=0):
    """Image and weight of small integers, whose sums are exact in any order."""
    rng = np.random.default_rng(seed)
    assert geometry.reduction * 8 * 8 < 2**24
    return tuple(rng.integers(-8, 9, shape).astype(dtype) for shape in (geometry.x_shape, geometry.weight_shape))


def normals(geometry, dtype, seed=0):
    """Image and weight of standard normal deviates."""
    rng = np.random.default_rng(seed)
    return tuple(rng.standard_normal(shape).astype(dtype) for shape in (geometry.x_shape, geometry.weight_shape))


def window(geometry):
    """The arguments of `conv1d` or `conv2d` that describe `geometry`."""
    return {
        "stride": geometry.stride,
        "padding": geometry.padding,
        "dilation": geometry.dilation,
        "groups": geometry.g,
    }


KERNELS = {
    1: ((1,), (5,)),
    2: ((1, 1), (2, 2), (3, 3), (1, 5), (5, 1), (9, 11)),
    3: ((1, 1, 1), (3, 3, 3), (2, 1, 5)),
}


@st.composite
def geometries(draw, ndim=2, max_extent=14):
    """Random valid problems, with the kernel extents of the cases above."""
    kernel = draw(st.sampled_from(KERNELS[ndim]))
    stride = tuple(draw(st.integers(1, 3)) for _ in kernel)
    dilation = tuple(draw(st.integers(1, 3)) for _ in kernel)
    padding = tuple((draw(st.integers(0, 5)), draw(st.integers(0, 5))) for _ in kernel)
    fitting = (max(1, d * (k - 1) + 1 - sum(p)) for k, d, p in zip(kernel, dilation, padding, strict=True))
    groups = draw(st.integers(1, 3))
    return ConvGeometry(
        n=draw(st.integers(1, 2)),
        g=groups,
        ic=groups * draw(st.integers(1, 2)),
        oc=groups * draw(st.integers(1, 2)),
        extent=tuple(draw(st.integers(least, max(least, max_extent))) for least in fitting),
        kernel=kernel,
        stride=stride,
        dilation=dilation,
        padding=padding,
    )


def rounded_transforms(transforms):
    """The matrices AT, G and BT of Cook-Toom `transforms` in float64, each entry rounded once."""
    matrices = transforms.AT, transforms.G, transforms.BT
    return tuple(np.array([[float(x) for x in row] for row in matrix]) for matrix in matrices)
