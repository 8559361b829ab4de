"""EP context: a model that holds what a provider compiled for this machine's device."""

from __future__ import annotations

from pathlib import Path

from edgetl.backends.base import EngineSpec
from edgetl.backends.onnxruntime.session import open_session, session_options
from edgetl.errors import BackendError


def compile_context(model: Path, spec: EngineSpec, out: Path) -> None:
    """Compile a model with the spec's provider and write it, compiled parts inside, to ``out``.

    The file runs on the device it was compiled on, with the same provider.

    Raises:
        BackendError: if the provider does not run here, compiles nothing, or can't load what it compiled.
    """
    options = session_options(spec)
    options.add_session_config_entry("ep.context_enable", "1")
    options.add_session_config_entry("ep.context_embed_mode", "1")
    options.add_session_config_entry("ep.context_file_path", str(out))
    open_session(model, spec, options)
    # a provider that knows no EP context ignores the request, or writes the model as it is
    if not out.is_file() or b"EPContext" not in out.read_bytes():
        raise BackendError(
            f"{spec.device} compiles nothing that could be kept; leave ep_context out of the target's build"
        )
    open_session(out, spec, session_options(spec))  # not every provider can read all that it writes
