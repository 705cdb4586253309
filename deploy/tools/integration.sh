#!/usr/bin/env bash
# Runs the tests named TestIntegration…: those that need a server which is no part of Go.
#   integration.sh MODULE...
set -euo pipefail

mapfile -t dirs < <(grep -rl --include='*_test.go' --exclude-dir=node_modules '^func TestIntegration' "$@" | grep -v '^deploy/e2e/' | xargs -r dirname | sort -u)
if ((${#dirs[@]} == 0)); then
  echo "integration: no function TestIntegration… in $*"
  exit 0
fi
go test -race -timeout 5m -run '^TestIntegration' "${dirs[@]/#/./}"
