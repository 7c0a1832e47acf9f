"""Networks from ONNX models (needs the package ``onnx``: ``pip install fastconv[onnx]``).

``reading`` follows a model's graph, ``writing`` makes one of a network, and ``operators`` is the table of what each
operator becomes; ``layers``, ``arrays`` and ``resizing`` compute by ONNX's own rules or only move values. ``backend``
is ONNX's interface to an engine.
"""

from fastconv.onnx.reading import load
from fastconv.onnx.writing import save

__all__ = ["load", "save"]
