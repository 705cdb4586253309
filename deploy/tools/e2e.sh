#!/usr/bin/env bash
# Runs the end-to-end tests: first the real clients straight against the real servers, so that what fails then is ours.
set -euo pipefail

npm test --silent --prefix deploy/e2e/clients

packages=$(go list ./deploy/... | grep '/deploy/e2e\(/\|$\)' | grep -v '/deploy/e2e/fleet$' || true)
if [[ -z $packages ]]; then
  echo "e2e: no Go package under deploy/e2e"
  exit 0
fi
# One package at a time: each starts whole products and real clients, and two cores are few.
# shellcheck disable=SC2086 # one word per package
go test -race -p 1 -timeout 25m $packages

# The fleet, whose table is to be seen: E2E_FLEET=long is the long form. Everything in it that is shared by goroutines is
# tested with the race detector above; here it would only take the cores from the processes.
go test -count=1 -timeout 60m -v ./deploy/e2e/fleet
