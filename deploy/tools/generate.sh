#!/usr/bin/env bash
# Writes all generated code: the copied protovalidate schema, the Go code of the contracts, and what `go generate` makes elsewhere.
#   generate.sh BUF MODULE...
set -euo pipefail

buf=$(realpath "$1")
shift
# In the module whose go.mod has the plugins as tools.
(
  cd proto
  go run ./internal/vendorproto vendored
  "$buf" format -w vendored
  "$buf" generate .. --path ../proto/penstock --template ../buf.gen.yaml
)
for module in "$@"; do
  mapfile -t files < <(grep -rl --include='*.go' --exclude-dir=node_modules '^//go:generate ' "$module" | sort)
  for file in "${files[@]}"; do
    echo "go generate $file"
    (cd "$(dirname "$file")" && go generate "$(basename "$file")")
  done
done
