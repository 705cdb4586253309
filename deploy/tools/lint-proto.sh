#!/usr/bin/env bash
# Lints the contracts and checks their format.
#   lint-proto.sh BUF
set -euo pipefail

buf=$1
"$buf" lint
"$buf" format --diff --exit-code
