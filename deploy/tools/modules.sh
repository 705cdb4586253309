#!/usr/bin/env bash
# Builds each module by itself, without go.work: what `go get` of that module alone would see. Dependencies of tests count too.
#   modules.sh MODULE...
set -euo pipefail

failed=0
for module in "$@"; do
  if (cd "$module" && GOWORK=off go build ./... && GOWORK=off go list -test -deps ./... >/dev/null); then
    echo "ok    $module builds alone"
  else
    echo "FAIL  $module does not build alone (GOWORK=off)" >&2
    failed=1
  fi
done
exit "$failed"
