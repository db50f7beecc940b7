#!/usr/bin/env bash
# The test suite: run.sh fast|all. "all" adds the real control plane; with CI=true its absence is a failure.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=.venv/bin/python
$python -m pytest tests --ignore tests/e2e -m "not real" -n 2 -q
if [ "$1" = fast ]; then
  $python -m pytest tests/e2e -p no:randomly -m "embedded and not slow" -q
  exit
fi
if $python -c 'import sys; from tests.controlplane import binaries; sys.exit(not binaries.available())'; then
  $python -m tests.controlplane.binaries >/dev/null
  $python -m pytest tests/e2e -p no:randomly -m embedded -q
  $python -m pytest tests -p no:randomly -m real -q
elif [ "${CI:-}" = true ]; then
  echo "the real control plane is missing: install Go 1.26 or set KUBEBUILDER_ASSETS" >&2
  exit 1
else
  $python -m pytest tests/e2e -p no:randomly -m embedded -q
  echo "left out: end to end on the real control plane, which needs Go 1.26 or KUBEBUILDER_ASSETS"
fi
