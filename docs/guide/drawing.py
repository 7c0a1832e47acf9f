"""The guide's pictures. They hold no words: the pages around them, in each language, say what they show."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

FOLDER = Path(__file__).parent / "images"
"""Where pictures go."""

_GAP = 4
_GREYS = 48  # as many as the eye wants here, and a third of the bytes of 256


def row(name: str, *maps: npt.ArrayLike, enlarge: int = 1) -> None:
    """Draw maps (H, W) side by side as grey pictures, each from black, its least value, to white, its largest."""
    from PIL import Image

    pictures = [np.kron(_stretched(np.asarray(grey, np.float64)), np.ones((enlarge, enlarge))) for grey in maps]
    height = max(picture.shape[0] for picture in pictures)
    strips = [np.pad(picture, ((0, height - len(picture)), (0, _GAP)), constant_values=1) for picture in pictures]
    whole = np.hstack(strips)[:, :-_GAP]
    levels = np.rint(whole * (_GREYS - 1)).astype(np.uint8)
    image = Image.fromarray(levels)
    image.putpalette([round(255 * level / (_GREYS - 1)) for level in range(_GREYS) for _ in range(3)])
    FOLDER.mkdir(parents=True, exist_ok=True)
    image.save(FOLDER / name, optimize=True)


def curves(name: str, x: npt.ArrayLike, lines: Mapping[str, npt.ArrayLike], *, log: bool = False) -> None:
    """Draw lines over `x`, with their names."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 2.6), layout="constrained")
    axes = figure.subplots()
    for label, y in lines.items():
        axes.plot(x, y, label=label)
    if log:
        axes.set_yscale("log")
    axes.grid(alpha=0.3)
    axes.legend()
    FOLDER.mkdir(parents=True, exist_ok=True)
    figure.savefig(FOLDER / name, dpi=100)


def _stretched(grey: np.ndarray) -> np.ndarray:
    least, most = grey.min(), grey.max()
    return (grey - least) / (most - least) if most > least else np.zeros_like(grey)
