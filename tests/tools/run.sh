#!/usr/bin/env bash
# The test suite: run.sh fast|all. "all" adds the real control plane; with CI=true its absence is a failure.
set -euo pipefail
cd "$(dirname "$0")/../.."
python=.venv/bin/python
# Pages are looked at in a real browser. CI gets one from Debian's packages where it may; others have theirs, or do
# without.
browser() {
  command -v chromium google-chrome >/dev/null && return
  [ "${CI:-}" = true ] && DEBIAN_FRONTEND=noninteractive timeout 300 bash -c \
    "apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium" >/dev/null 2>&1 && return
  echo "left out: pages in a real browser, which needs Debian's package chromium" >&2
}
unit() { browser; $python -m pytest tests --ignore tests/e2e -m "not real" -n 2 -q; }
# Scenarios mostly wait: clusters side by side, each with whole files, since some files have a cluster of their own.
# Two real control planes are too much for two cores.
embedded() { $python -m pytest tests/e2e -p no:randomly -m embedded -n 2 --dist loadfile -q; }
real() { $python -m pytest tests -p no:randomly -m real -q; }
# Runs the second command while the first runs, and shows the output of the first at the end.
beside() {
  local log code=0
  log=$(mktemp)
  "$1" >"$log" 2>&1 &
  "$2" || code=$?
  wait $! || code=$?
  cat "$log" && rm "$log"
  return $code
}
# The life of a set on the embedded cluster, which is mostly waiting, goes beside the unit tests, which are not.
life() {
  $python -m pytest tests/e2e/test_life.py tests/e2e/test_startup.py tests/e2e/test_gang_scheduling.py \
    -p no:randomly -m "embedded and not slow" -q
}
quick() { $python -m pytest tests --ignore tests/e2e --ignore tests/property -m "not real and not slow" -n 2 -q; }
# Builds that are under way go on beside the unit tests and the first scenarios.
real_once_built() { wait "$build" && real; }

[ "$1" = fast ] || export HYPOTHESIS_PROFILE="${HYPOTHESIS_PROFILE:-long}"
if [ "$1" = fast ]; then
  beside life quick
elif $python -c 'import sys; from tests.controlplane import binaries; sys.exit(not binaries.available())'; then
  nice $python -m tests.controlplane.binaries >/dev/null &
  build=$!
  unit
  beside embedded real_once_built
elif [ "${CI:-}" = true ]; then
  echo "the real control plane is missing: install Go 1.26 or set KUBEBUILDER_ASSETS" >&2
  exit 1
else
  unit
  embedded
  echo "left out: end to end on the real control plane, which needs Go 1.26 or KUBEBUILDER_ASSETS"
fi
