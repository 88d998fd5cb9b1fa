#!/bin/sh
# `make gpu`: proves the GPU path on this machine, without network; docs/speed.md says what each line means.
#   PYTHON: that has torch (python3)   WHEELS: a folder of wheels of the packages that it lacks   OUT: what is written
#   DEVICE: cuda, or cpu for the same at small sizes
set -eu
cd "$(dirname "$0")/../.."
OUT="${OUT:-gpu-results}"
PYTHON="${PYTHON:-python3}"
mkdir -p "$OUT"
if [ -n "${WHEELS:-}" ]; then # into a folder of its own, since a virtual environment would not see another one's torch
    "$PYTHON" -m pip install --quiet --no-index --no-deps --no-cache-dir --upgrade --target "$OUT/site" "$WHEELS"/*.whl
    PYTHONPATH="$(cd "$OUT/site" && pwd)${PYTHONPATH:+:$PYTHONPATH}"
fi
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
exec "$PYTHON" -m tests.gpu --device "${DEVICE:-cuda}" --out "$OUT"
