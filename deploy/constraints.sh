#!/usr/bin/env bash
# Resolves pyproject.toml for every platform into constraints.txt. Pins that still fit are kept; to raise one,
# delete its line first. CUDA packages are left out and torch is pinned without a build, so that the one file
# serves CPU (with constraints-cpu.txt) and GPU.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
python=.venv/bin/python
source deploy/uv-env.sh
resolved=$(mktemp)
trap 'rm -f "$resolved"' EXIT
cp constraints.txt "$resolved"
"$python" -m uv pip compile -q --universal --python-version 3.11 --no-annotate --no-header \
  --extra train --extra dev pyproject.toml -o "$resolved"
{
  echo "# Made by 'make constraints' from pyproject.toml; committed so that two installs agree."
  grep -vE '^(nvidia|cuda|triton)' "$resolved" | sed -E 's/^(torch==[0-9.]+)\+[a-z0-9]+/\1/; s/^(torch==[0-9.]+) ;.*/\1/' | LC_ALL=C sort -u
} >constraints.txt
