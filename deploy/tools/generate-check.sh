#!/usr/bin/env bash
# Fails if `make generate` changes a file. Compares contents, so it also works on a work tree with uncommitted changes.
#   generate-check.sh BUF MODULE...
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# Every file that a generator may write: generated Go, the copied schema, what go:generate lines produce.
state() {
  find "${modules[@]}" -name node_modules -prune -o -type f \( -name '*.go' -o -name '*.proto' -o -name '*.json' -o -name '*.css' -o -name '*.js' \) -print0 |
    sort -z | xargs -0r sha256sum
}

buf=$1
shift
modules=("$@")
before=$(state)
"$here/generate.sh" "$buf" "${modules[@]}"
after=$(state)
if [[ $before != "$after" ]]; then
  echo "generate-check: these files were stale and are now written anew; commit them:" >&2
  diff <(echo "$before") <(echo "$after") | sed -n 's/^[<>] [0-9a-f]*  /  /p' | sort -u >&2
  exit 1
fi
