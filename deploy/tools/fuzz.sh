#!/usr/bin/env bash
# Runs every fuzz function of the modules for a while, one after the other.
#   fuzz.sh DURATION MODULE...
set -euo pipefail

duration=$1
shift
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# fuzz DIR FUNCTION: one run; the log has its output.
fuzz() {
  go test -run '^$' -fuzz "^$2\$" -fuzztime "$duration" -fuzzminimizetime 10x -timeout 10m "./$1" >"$log" 2>&1
}

failed=0
count=0
while IFS=: read -r file function; do
  dir=$(dirname "$file")
  count=$((count + 1))
  if fuzz "$dir" "$function"; then
    echo "ok    $dir $function: $(grep -o 'execs: [0-9]*' "$log" | tail -1)"
    continue
  fi
  # Up to Go 1.26 the coordinator can report its own -fuzztime deadline as a failure (https://go.dev/issue/75804). An input
  # that fails is always written and named, so exactly this one message without one is the end of the time.
  if grep -qx '    context deadline exceeded' "$log" && ! grep -q 'Failing input' "$log"; then
    echo "ok    $dir $function: $(grep -o 'execs: [0-9]*' "$log" | tail -1)"
    continue
  fi
  echo "FAIL  $dir $function" >&2
  cat "$log" >&2
  failed=1
done < <(grep -rEo --include='*_test.go' --exclude-dir=node_modules '^func Fuzz[A-Za-z0-9_]*' "$@" | sed 's/:func /:/' | sort)

echo "$count fuzz functions, $duration each"
exit "$failed"
