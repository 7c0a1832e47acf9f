"""A photograph as an array: real data for comparisons, whatever its file holds.

Values become float32, channels first: integers are scaled to [0, 1], floats are kept. Files are not trusted:
their extents are checked before anything is decoded.
"""

from __future__ import annotations

import os
import warnings

import numpy as np

# Larger than any camera's pictures; that many RGB pixels take 300 MB.
MAX_PIXELS = 100_000_000

# Larger pictures are thinned to at most this many pixels, so that 64 output channels still fit in memory.
COMPARED_PIXELS = 1 << 20

_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601


def load(path: str | os.PathLike[str] | None = None) -> np.ndarray:
    """The picture in `path`, with shape (3, H, W): anything Pillow reads, or a ``.npy`` array.

    The array may have shape (H, W), (H, W, 3) or (H, W, 4). Without `path`, matplotlib's sample photograph of Grace
    Hopper. A picture with more than `COMPARED_PIXELS` keeps only every k-th row and column.

    Raises
    ------
    ImportError
        Pillow or matplotlib is needed but not installed.
    OSError, ValueError
        The file cannot be read, is not a picture, or has more than `MAX_PIXELS`.
    """
    if path is None:
        path = _sample()
    pixels = _read_npy(path) if os.fspath(path).endswith(".npy") else _decode(path)
    step = 1
    while -(-pixels.shape[0] // step) * -(-pixels.shape[1] // step) > COMPARED_PIXELS:
        step += 1
    pixels = pixels[::step, ::step]
    scale = np.iinfo(pixels.dtype).max if pixels.dtype.kind in "iu" else 1
    picture = pixels.astype(np.float32) / np.float32(scale)
    if not np.isfinite(picture).all():
        raise ValueError(f"{path}: contains NaN or infinite pixels")
    colour = picture[..., :3] if picture.ndim == 3 else np.repeat(picture[..., None], 3, axis=2)
    return np.ascontiguousarray(colour.transpose(2, 0, 1))


def grey(picture: np.ndarray) -> np.ndarray:
    """The luma of a (3, H, W) picture, with shape (1, H, W)."""
    return np.tensordot(_LUMA, picture, 1)[None]


def _sample() -> str:
    try:
        from matplotlib import cbook
    except ImportError:
        raise ImportError(
            "the sample photograph comes with matplotlib: pip install fastconv[plot], or name one with --image FILE"
        ) from None
    return str(cbook.get_sample_data("grace_hopper.jpg", asfileobj=False))


def _check_extents(path: str | os.PathLike[str], height: int, width: int) -> None:
    if not 1 <= height * width <= MAX_PIXELS:
        raise ValueError(f"{path}: {width}×{height} pixels, expected from 1 to {MAX_PIXELS:,}")


def _read_npy(path: str | os.PathLike[str]) -> np.ndarray:
    try:
        pixels: np.ndarray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, SyntaxError) as error:
        raise ValueError(f"{path}: not a readable .npy array ({error})") from None
    if pixels.dtype.kind not in "uif" or not (pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] in (3, 4))):
        raise ValueError(
            f"{path}: an array of shape {pixels.shape} and dtype {pixels.dtype}, expected integers or floats of "
            "shape (H, W), (H, W, 3) or (H, W, 4)"
        )
    _check_extents(path, *pixels.shape[:2])
    return pixels


def _decode(path: str | os.PathLike[str]) -> np.ndarray:
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError:
        raise ImportError(
            "pictures are decoded by Pillow: pip install fastconv[plot], or name a .npy array with --image FILE"
        ) from None
    with open(path, "rb") as file, warnings.catch_warnings():
        # Pillow warns about fewer pixels than `_check_extents` allows.
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        try:
            image = Image.open(file)
        except UnidentifiedImageError:
            raise ValueError(f"{path}: not a picture in a format that Pillow reads") from None
        except Image.DecompressionBombError:
            raise ValueError(f"{path}: more than {MAX_PIXELS:,} pixels") from None
        _check_extents(path, image.height, image.width)
        try:
            # 16-bit grey and float pictures keep their depth; palettes, alpha, CMYK and everything else become RGB.
            return np.asarray(image if image.mode in ("L", "RGB", "I;16", "F") else image.convert("RGB"))
        except Exception as error:  # a broken file can make a decoder raise anything
            raise ValueError(f"{path}: a broken picture ({error})") from None
