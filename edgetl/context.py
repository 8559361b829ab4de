"""What every stage of a run shares: the store, who listens, and the machine it runs on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from edgetl.backends import get_backend
from edgetl.backends.base import EngineSpec, Session
from edgetl.device.environment import environment, fingerprint, pace
from edgetl.errors import InputError
from edgetl.progress import Observer, Silent
from edgetl.store import Store

_REFERENCE = (("openvino", "CPU", "model.xml"), ("onnxruntime", "CPUExecutionProvider", "model.onnx"))


@dataclass
class Context:
    """Handed from stage to stage."""

    store: Store = field(default_factory=Store)
    observer: Observer = field(default_factory=Silent)

    @cached_property
    def environment(self) -> Mapping[str, Any]:
        return environment()

    @cached_property
    def machine(self) -> str:
        """What of this machine affects results: part of every key whose value was computed here."""
        return fingerprint(self.environment)

    @cached_property
    def pace(self) -> str:
        """What of this machine affects times: part of every key whose value was timed here."""
        return pace(self.environment)

    def engine_parts(self, spec: EngineSpec) -> dict[str, Any]:
        """What an engine's answers depend on besides its model."""
        return {
            "backend": spec.backend,
            "runtime": self.runtime_versions(spec.backend),
            "precision": [spec.precision, spec.float_precision],
            "device": [spec.device, sorted(spec.options.items()), spec.threads],
            "machine": self.machine,
        }

    def runtime_versions(self, *backends: str) -> dict[str, str]:
        """Versions of the packages that build and run these backends' engines, where installed."""
        found = {key: version for name in backends for key, version in get_backend(name).versions().items()}
        return dict(sorted(found.items()))

    def versions(self, *backends: str) -> dict[str, str]:
        """Versions of this environment's packages, and of what builds and runs these backends' engines."""
        return {**self.environment["versions"], **self.runtime_versions(*dict.fromkeys(backends))}

    @cached_property
    def reference(self) -> EngineSpec:
        """The float32 engine used for features and parity: OpenVINO where it is there, else onnxruntime.

        Raises:
            InputError: if neither is installed.
        """
        for name, device, file in _REFERENCE:
            if self.runtime_versions(name):
                return EngineSpec(name, file, "f32", "f32", device)
        raise InputError(
            "no engine is installed to run the backbone; install one: pip install 'edgetl[openvino]'"
        )


def open_throughput(model: Path, spec: EngineSpec) -> Session:
    """Load a model for throughput."""
    return get_backend(spec.backend).load(model, spec, throughput=True)
