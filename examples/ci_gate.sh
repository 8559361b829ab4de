#!/bin/sh
# Fails (status 1) unless the INT8 engine is proved to lose at most one point and to answer within 5 ms here.
set -eu
edgetl run "${1:-images}" --target x86-vnni --max-drop 1 --max-latency 5 --out gate-out
