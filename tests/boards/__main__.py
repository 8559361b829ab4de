"""``python -m tests.boards [--port N] [--arm64]``: a board to try edgetl on by hand."""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import tempfile
from pathlib import Path

from tests.boards import arm64
from tests.boards.python import board_path
from tests.boards.sshd import Sshd, skip_reason


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.boards", description=__doc__)
    parser.add_argument("--port", type=int, help="to listen on; default: a free one")
    parser.add_argument("--arm64", action="store_true", help="the aarch64 root instead of this machine")
    options = parser.parse_args()
    if reason := skip_reason() or (arm64.skip_reason() if options.arm64 else None):
        sys.exit(reason)
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell's background job ignores the first
        signal.signal(number, signal.default_int_handler)
    with tempfile.TemporaryDirectory(prefix="edgetl-python-") as folder, contextlib.ExitStack() as stack:
        if options.arm64:
            board = arm64.board(port=options.port)
        else:
            board = Sshd(options.port, environment={"PATH": board_path(Path(folder))})
        try:
            stack.enter_context(board)
        except RuntimeError as error:
            sys.exit(str(error))
        print(f"{board.url}\nexport EDGETL_SSH={board.wrapper}", flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    main()
