"""ONNX's own interface to an engine: ``onnx.backend.base.Backend``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx.backend.base import Backend, BackendRep

from fastconv.errors import UnsupportedError
from fastconv.graph import Program
from fastconv.onnx.reading import load


class FastconvRep(BackendRep):  # type: ignore[misc]
    """A model made ready to run."""

    def __init__(self, program: Program) -> None:
        self.program = program

    def run(self, inputs: Any, **kwargs: Any) -> tuple[np.ndarray, ...]:
        """The outputs of the model, for arrays in the order of its inputs, or by their names."""
        given: Sequence[Any] = [inputs[name] for name in self.program.inputs] if isinstance(inputs, dict) else inputs
        results = self.program(*given)
        return results if isinstance(results, tuple) else (results,)


class FastconvBackend(Backend):  # type: ignore[misc]
    """Runs models as programs of `fastconv`, on the processor."""

    @classmethod
    def prepare(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> FastconvRep:
        return FastconvRep(load(model).prepare())

    @classmethod
    def run_model(cls, model: onnx.ModelProto, inputs: Any, device: str = "CPU", **kwargs: Any) -> Any:
        return cls.prepare(model, device).run(inputs)

    @classmethod
    def is_compatible(cls, model: onnx.ModelProto, device: str = "CPU", **kwargs: Any) -> bool:
        try:
            load(model)
        except UnsupportedError:
            return False
        return cls.supports_device(device)

    @classmethod
    def supports_device(cls, device: str) -> bool:
        return device == "CPU"
