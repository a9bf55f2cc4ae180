#!/usr/bin/env bash
# Makes .venv in the checkout and installs closegap into it, editable, from the committed constraints.
# Does nothing, in well under a second, when .venv is already what the files below ask for.
#
#   PYTHON=/path/to/python3.11   interpreter to build .venv from (default: python3.11, python3.12 or python3)
#   CLOSEGAP_TORCH=cpu|gpu       which torch on Linux: CPU-only (default), or the CUDA build from the registry
#
# uv does the installing when pip can fetch it, pip does otherwise.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

torch=${CLOSEGAP_TORCH:-cpu}
say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
case $torch in cpu | gpu) ;; *) die "CLOSEGAP_TORCH is '$torch'; accepted: cpu, gpu" ;; esac

supported() { "$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null; }

interpreter() {
  local candidate
  for candidate in ${PYTHON:+"$PYTHON"} python3.11 python3.12 python3; do
    if supported "$candidate"; then
      "$candidate" -c 'import os, sys; print(os.path.realpath(sys.executable))' # not an activated .venv's own link
      return
    fi
    [ "$candidate" != "${PYTHON:-}" ] || die "PYTHON is '$PYTHON'; accepted: Python 3.11 or 3.12"
  done
  die "found neither python3.11 nor python3.12 on PATH; install one or set PYTHON"
}

base=$(interpreter)
# A digest, not file times: a git checkout touches files it does not change. The path is in it because an
# environment does not survive being moved.
wanted=$( { printf '%s\n' "$torch" "$PWD" "$base"; "$base" -V; cat pyproject.toml constraints.txt constraints-cpu.txt \
  deploy/*.sh; } | cksum)
stamp=.venv/closegap-setup
if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && .venv/bin/python -c '' 2>/dev/null; then exit 0; fi

# --- the environment ---------------------------------------------------------------------------------------
if [ "$(cat .venv/closegap-from 2>/dev/null)" != "$PWD $base" ] || ! supported .venv/bin/python; then
  say "making .venv with $("$base" -V)"
  "$base" -m venv --clear .venv || die "'$base -m venv' failed; on Debian or Ubuntu the package python3.11-venv has it"
  printf '%s\n' "$PWD $base" >.venv/closegap-from
fi
rm -f "$stamp"
python=.venv/bin/python

# --- torch -------------------------------------------------------------------------------------------------
constraints=(-c constraints.txt)
uv_options=()
if [ "$(uname -s)" = Linux ] && [ "$torch" = cpu ]; then
  constraints+=(-c constraints-cpu.txt)
  if ! "$python" -m pip install -q --dry-run --no-deps "$(grep '^torch==' constraints-cpu.txt)" >/dev/null 2>&1; then
    say "pip sees no CPU-only torch; uv will take it from PyTorch's own CPU index"
    uv_options+=(--torch-backend cpu)
  fi
fi

# --- the packages ------------------------------------------------------------------------------------------
if "$python" -m pip install -q --disable-pip-version-check -c constraints.txt uv; then
  source deploy/uv-env.sh
  "$python" -m uv pip install --python "$python" ${uv_options[@]+"${uv_options[@]}"} "${constraints[@]}" \
    -e '.[train,dev]'
else
  say "pip could not install uv, so pip installs everything (slower)"
  [ ${#uv_options[@]} = 0 ] ||
    die "without uv, tell pip where CPU-only torch is (PIP_EXTRA_INDEX_URL), or set CLOSEGAP_TORCH=gpu"
  "$python" -m pip install --disable-pip-version-check "${constraints[@]}" -e '.[train,dev]'
fi

printf '%s\n' "$wanted" >"$stamp"
say "done: .venv has closegap and $("$python" -c 'import importlib.metadata as m; print("torch", m.version("torch"), "ray", m.version("ray"))')"
