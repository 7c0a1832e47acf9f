"""Convolution and correlation with the names, argument order and meaning of ``scipy.signal``.

``images``  convolve2d, correlate2d, sepfir2d
``arrays``  convolve, correlate, fftconvolve, oaconvolve, choose_conv_method, correlation_lags
``ranks``   medfilt, medfilt2d, order_filter, wiener
``resampling``  upfirdn, resample_poly, decimate
``smoothing``   savgol_filter, savgol_coeffs
``names``   the arguments they share
``nonfinite``  kernels that contain NaN or infinity
"""

from fastconv.signal.arrays import choose_conv_method, convolve, correlate, correlation_lags, fftconvolve, oaconvolve
from fastconv.signal.images import convolve2d, correlate2d, sepfir2d
from fastconv.signal.ranks import medfilt, medfilt2d, order_filter, wiener
from fastconv.signal.resampling import decimate, resample_poly, upfirdn
from fastconv.signal.smoothing import savgol_coeffs, savgol_filter

__all__ = [
    "choose_conv_method",
    "convolve",
    "convolve2d",
    "correlate",
    "correlate2d",
    "correlation_lags",
    "decimate",
    "fftconvolve",
    "medfilt",
    "medfilt2d",
    "oaconvolve",
    "order_filter",
    "resample_poly",
    "savgol_coeffs",
    "savgol_filter",
    "sepfir2d",
    "upfirdn",
    "wiener",
]
