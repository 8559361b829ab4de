"""The child's side of :mod:`edgetl.backends.worker`: answers requests with the handlers of one module.

Started as ``python -I serve.py MODULE.py REQUESTS ANSWERS`` (two file descriptors), in whichever environment
the toolchain lives in, so it imports the standard library only.
"""

from __future__ import annotations

import ctypes
import json
import os
import runpy
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(module_path: str, requests: int, answers: int) -> None:
    """Answer one JSON line with another until the parent closes the pipe."""
    _die_with_parent()
    sys.path.append(os.path.dirname(os.path.abspath(module_path)))  # noqa: PTH100, PTH120
    handlers = None
    with os.fdopen(requests, encoding="utf-8") as source, os.fdopen(answers, "w", encoding="utf-8") as sink:
        for line in source:
            request = json.loads(line)
            try:
                if handlers is None:
                    handlers = runpy.run_path(module_path)["HANDLERS"]
                answer = {"answer": handlers[request["verb"]](**request["fields"])}
            except Exception as error:  # whatever a toolchain raises is told to the parent
                answer = {"error": _one_line(error)}
            sys.stdout.flush()
            sink.write(json.dumps(answer) + "\n")
            sink.flush()


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text or type(error).__name__


def _die_with_parent() -> None:
    """A parent that is killed closes no pipe that a busy child would look at."""
    parent = os.getppid()
    if hasattr(signal, "SIGKILL") and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(1)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
