"""One face for both modules and all versions: ``tensorrt`` 10.3 to 11.x and ``tensorrt_rtx``.

What a version can do is asked of its classes, never of its version number. In this package a TensorRT
object is always called by the name of its kind (``trt``, ``builder``, ``config``, ``network``, ``parser``,
``profile``, ``runtime``, ``engine``, ``context``, ``inspector``), which is how the tests prove that every
attribute used exists in every version supported.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from typing import Any

from edgetl.backends.tensorrt.log import Recorder, make_logger
from edgetl.errors import BackendError, MissingDependencyError

MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
"""Python module of each backend."""


@dataclass(frozen=True)
class Binding:
    """A TensorRT module with its logger.

    Attributes:
        backend: ``tensorrt`` or ``tensorrt-rtx``.
        trt: the module.
        recorder: hears what TensorRT says.
        logger: the process's only logger of this module.
    """

    backend: str
    trt: Any
    recorder: Recorder = field(repr=False)
    logger: Any = field(repr=False)

    @property
    def version(self) -> str:
        return str(self.trt.__version__)

    @property
    def ahead_of_time(self) -> bool:
        """Whether engines can be built for a GPU that is not here."""
        return hasattr(self.trt, "ComputeCapability")

    @property
    def strongly_typed_flag(self) -> int:
        """Flags for ``create_network``: types come from the ONNX. 11.x knows nothing else."""
        trt = self.trt
        return 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)

    def features(self) -> dict[str, bool]:
        """What this version can do, for people to read."""
        trt = self.trt
        config, parser, engine = trt.IBuilderConfig, trt.OnnxParser, trt.ICudaEngine
        return {
            "engines for absent GPUs": self.ahead_of_time,
            "strong typing is optional": hasattr(trt.BuilderFlag, "FP16"),
            "parser knows the builder's settings": hasattr(parser, "set_builder_config"),
            "number of tactics can be limited": hasattr(config, "max_num_tactics"),
            "memory use is reported": hasattr(trt.BuilderFlag, "MONITOR_MEMORY"),
            "engine statistics": hasattr(engine, "get_engine_stat"),
        }


@cache
def load_binding(backend: str) -> Binding:
    """Import the module of a backend.

    Raises:
        MissingDependencyError: if it is not installed.
        BackendError: if it is installed but does not load.
    """
    name = MODULES[backend]
    try:
        trt = import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise BackendError(f"{name} is installed but does not load: {error}") from error
        raise MissingDependencyError(name, backend) from error
    except (ImportError, OSError, RuntimeError) as error:
        raise BackendError(f"{name} is installed but does not load: {error}") from error
    recorder = Recorder()
    return Binding(backend, trt, recorder, make_logger(trt, recorder))
