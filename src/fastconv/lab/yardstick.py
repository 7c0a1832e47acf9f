"""`scipy.signal` as a yardstick for convolutions."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastconv.engine.convolution.reference import activate
from fastconv.engine.epilogue import Epilogue
from fastconv.engine.geometry import ConvGeometry
from fastconv.engine.timing import Contender
from fastconv.kernels.shield import imported
from fastconv.lab.comparison import Measurement
from fastconv.lab.oracles import max_error

SCIPY = "scipy.signal"

# SciPy is timed on as many output planes as it can compute in about this time.
_SCIPY_SECONDS = 3.0


class Yardstick:
    """A convolution by `scipy.signal.correlate2d`, plane by plane.

    That function has one channel and one filter, and no padding, dilation or stride: channels are summed, the image is
    padded and the taps are spread beforehand, and the outputs between strides are dropped.
    """

    def __init__(self, geometry: ConvGeometry, x: np.ndarray, weight: np.ndarray, epilogue: Epilogue) -> None:
        self.geometry: ConvGeometry = geometry
        self.weight: np.ndarray = weight
        self.epilogue: Epilogue = epilogue
        self.correlate2d: Any = imported("scipy.signal").correlate2d
        self.padded: np.ndarray = np.pad(x, ((0, 0), (0, 0), *geometry.padding))
        self.planes: np.ndarray = np.empty((geometry.n * geometry.oc, *geometry.out_extent), x.dtype)
        self.timed: int = 1
        self.contender: Contender = Contender(SCIPY, self.compute)
        self.timed = max(1, min(len(self.planes), int(_SCIPY_SECONDS / self.contender.first_seconds)))

    def compute(self) -> None:
        """The first planes of the output, as many as are timed."""
        g, dtype = self.geometry, self.planes.dtype
        channels = g.ic // g.g
        spread = [d * (k - 1) + 1 for k, d in zip(g.kernel, g.dilation, strict=True)]
        for plane, out in enumerate(self.planes[: self.timed]):
            n, m = divmod(plane, g.oc)
            first = m // (g.oc // g.g) * channels
            taps = np.zeros((channels, *spread), dtype)
            taps[:, :: g.dh, :: g.dw] = self.weight[m]
            images = self.padded[n, first : first + channels]
            total = sum(self.correlate2d(image, tap, mode="valid") for image, tap in zip(images, taps, strict=True))
            total = total[:: g.sh, :: g.sw]
            if self.epilogue.bias is not None:
                total = total + self.epilogue.bias[m]
            out[...] = activate(total, self.epilogue.activation, self.epilogue.parameter)

    def measurement(self, expected: np.ndarray, sigma: float) -> Measurement:
        """What was measured, for all planes."""
        timed, planes = self.timed, self.planes
        part = f"timed on {timed} of {len(planes)} output planes, and scaled" if timed < len(planes) else None
        scale = len(planes) / timed
        return Measurement(
            SCIPY,
            seconds=self.contender.seconds * scale,
            repeats=len(self.contender.samples),
            samples=tuple(sample * scale for sample in self.contender.samples),
            measured_error=max_error(planes[:timed], expected.reshape(planes.shape)[:timed], sigma),
            note=part,
        )
