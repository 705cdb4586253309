#!/usr/bin/env bash
# Installs buf, pinned by proto/package.json, into a folder, as DIR/buf. The binary lies inside npm's package for this platform:
# no install script runs.
#   install-buf.sh DIR
set -euo pipefail

target=$1
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
mkdir -p "$target"
cp "$root"/proto/{package.json,package-lock.json} "$target"/
# Not `npm ci`: that demands the binaries of all platforms in the lock file, and not every registry serves them all.
npm install --prefix "$target" --no-save --ignore-scripts --no-audit --no-fund --loglevel=error
binaries=("$target"/node_modules/@bufbuild/buf-*/bin/buf)
if [[ ! -x ${binaries[0]} ]]; then
  echo "install-buf: no buf binary for this platform in $target/node_modules/@bufbuild" >&2
  exit 1
fi
ln -sfn "${binaries[0]#"$target"/}" "$target/buf"
echo "buf $("$target/buf" --version)"
