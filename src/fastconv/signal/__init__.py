"""Convolution and correlation with the names, argument order and meaning of ``scipy.signal``.

``images``  convolve2d, correlate2d, sepfir2d
``arrays``  convolve, correlate, fftconvolve, oaconvolve, choose_conv_method, correlation_lags
``ranks``   medfilt, medfilt2d, order_filter, wiener
``names``   the arguments they share
``nonfinite``  kernels that contain NaN or infinity
"""

from fastconv.signal.arrays import choose_conv_method, convolve, correlate, correlation_lags, fftconvolve, oaconvolve
from fastconv.signal.images import convolve2d, correlate2d, sepfir2d
from fastconv.signal.ranks import medfilt, medfilt2d, order_filter, wiener

__all__ = [
    "choose_conv_method",
    "convolve",
    "convolve2d",
    "correlate",
    "correlate2d",
    "correlation_lags",
    "fftconvolve",
    "medfilt",
    "medfilt2d",
    "oaconvolve",
    "order_filter",
    "sepfir2d",
    "wiener",
]
