#!/usr/bin/env bash
# Fails if a go.mod or go.sum is not what `go mod tidy` would write.
#   tidy-check.sh MODULE...
set -euo pipefail

failed=0
for module in "$@"; do
  if ! (cd "$module" && GOWORK=off go mod tidy -diff); then
    echo "tidy-check: run: (cd $module && GOWORK=off go mod tidy)" >&2
    failed=1
  fi
done
exit "$failed"
