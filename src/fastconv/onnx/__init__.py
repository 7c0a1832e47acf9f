"""Networks from ONNX models (needs the package ``onnx``: ``pip install fastconv[onnx]``).

``reading`` follows a model's graph, ``operators`` is the table of what each operator becomes, ``arrays`` holds the
operators that only move or combine arrays, by NumPy, and ``backend`` is ONNX's own interface to an engine.
"""

from fastconv.onnx.reading import load

__all__ = ["load"]
