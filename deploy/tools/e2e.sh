#!/usr/bin/env bash
# Runs the end-to-end tests: first the real clients straight against the real servers, so that what fails then is ours.
set -euo pipefail

npm test --silent --prefix deploy/e2e/clients

packages=$(go list ./deploy/... | grep '/deploy/e2e\(/\|$\)' || true)
if [[ -z $packages ]]; then
  echo "e2e: no Go package under deploy/e2e"
  exit 0
fi
# One package at a time: each starts whole products and real clients, and two cores are few.
# shellcheck disable=SC2086 # one word per package
go test -race -p 1 -timeout 15m $packages
