#!/usr/bin/env bash
# The test suite: run.sh fast|all. "all" adds the real control plane; with CI=true its absence is a failure.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=.venv/bin/python
unit() { $python -m pytest tests --ignore tests/e2e -m "not real" -n 2 -q; }
embedded() { $python -m pytest tests/e2e -p no:randomly -m "$1" -q; }
[ "$1" = fast ] || export HYPOTHESIS_PROFILE="${HYPOTHESIS_PROFILE:-long}"
if [ "$1" = fast ]; then
  unit
  embedded "embedded and not slow"
elif $python -c 'import sys; from tests.controlplane import binaries; sys.exit(not binaries.available())'; then
  $python -m tests.controlplane.binaries >/dev/null
  unit
  embedded embedded
  $python -m pytest tests -p no:randomly -m real -q
elif [ "${CI:-}" = true ]; then
  echo "the real control plane is missing: install Go 1.26 or set KUBEBUILDER_ASSETS" >&2
  exit 1
else
  unit
  embedded embedded
  echo "left out: end to end on the real control plane, which needs Go 1.26 or KUBEBUILDER_ASSETS"
fi
