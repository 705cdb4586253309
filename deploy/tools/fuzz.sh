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
  go test -run '^$' -fuzz "^$2\$" -fuzztime "$duration" -fuzzminimizetime 5s -timeout 10m "./$1" >"$log" 2>&1
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
  # The engine can report its own deadline as a failure when a worker is slow to stop. No input failed then: once more.
  if grep -q 'context deadline exceeded' "$log" && ! grep -q 'Failing input written' "$log" && fuzz "$dir" "$function"; then
    echo "ok    $dir $function (second run)"
    continue
  fi
  echo "FAIL  $dir $function" >&2
  cat "$log" >&2
  failed=1
done < <(grep -rEo --include='*_test.go' --exclude-dir=node_modules '^func Fuzz[A-Za-z0-9_]*' "$@" | sed 's/:func /:/' | sort)

echo "$count fuzz functions, $duration each"
exit "$failed"
