#!/usr/bin/env bash
# Make the virtual environment: environment.sh PYTHON VENV run|dev
set -euo pipefail
python=$1 venv=$2 kind=$3
command -v "$python" >/dev/null || python=python3
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || {
  echo "Grovekeeper needs Python 3.11 or newer; found $("$python" --version). Set PYTHON=/path/to/python3.11." >&2
  exit 1
}
mkdir -p "$venv"
# One at a time: a second `make` waits, and finds the work done. The lock is the shell's, Python only takes it; .lock
# is the name of a lock of uv's own.
exec 9>"$venv/.installing"
"$python" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX | fcntl.LOCK_NB)' 2>/dev/null || {
  echo "waiting for another make that installs into $venv" >&2
  "$python" -c 'import fcntl; fcntl.flock(9, fcntl.LOCK_EX)'
}
done=$venv/.$kind
[ ! "$done" -nt pyproject.toml ] || [ ! "$done" -nt requirements.lock ] || [ ! "$done" -nt requirements-dev.lock ] || exit 0
[ -e "$venv/.run" ] || echo "installing into $venv: about half a minute the first time" >&2
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
[ -x "$venv/bin/uv" ] || "$venv/bin/python" -m pip install --quiet --disable-pip-version-check uv
files=(--requirement requirements.lock)
[ "$kind" = run ] || files+=(--requirement requirements-dev.lock)
"$venv/bin/uv" pip install --quiet --python "$venv/bin/python" "${files[@]}"
"$venv/bin/uv" pip install --quiet --python "$venv/bin/python" --no-deps --editable .
touch "$venv/.run"
[ "$kind" = run ] || touch "$venv/.dev"
