#!/usr/bin/env bash
# Compares the contracts with the latest release. Before the first release nothing is promised.
#   breaking.sh BUF
set -euo pipefail

buf=$1
if ! release=$(git describe --tags --abbrev=0 --match 'v[0-9]*' 2>/dev/null); then
  echo "breaking: no release yet, nothing to compare with"
  exit 0
fi
"$buf" breaking --against ".git#tag=$release"
