#!/usr/bin/env bash
# Installs Debian packages of which the needed command is missing.
#   install-packages.sh gcc nodejs postgresql redis chromium
set -euo pipefail

# present PACKAGE: whether what we need of it is there, however it was installed.
present() {
  case "$1" in
    chromium) command -v chromium >/dev/null ;;
    gcc) command -v gcc >/dev/null ;;
    nodejs) command -v node >/dev/null && command -v npm >/dev/null ;;
    postgresql) compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null ;;
    redis) command -v redis-server >/dev/null ;;
    *) echo "install-packages: unknown package $1" >&2; exit 2 ;;
  esac
}

# debian PACKAGE: the Debian packages that bring it.
debian() {
  case "$1" in
    chromium) echo chromium ;;
    gcc) echo gcc libc6-dev ;; # the race detector needs cgo
    nodejs) echo nodejs npm ;;
    postgresql) echo postgresql ;;
    redis) echo redis-server ;;
  esac
}

missing=()
for package in "$@"; do
  if ! present "$package"; then
    read -ra names <<<"$(debian "$package")"
    missing+=("${names[@]}")
  fi
done
if ((${#missing[@]} == 0)); then
  exit 0
fi

as_root=()
if ((EUID != 0)); then
  if ! command -v sudo >/dev/null; then
    echo "install-packages: missing: ${missing[*]}; run as root: apt-get install -y --no-install-recommends ${missing[*]}" >&2
    exit 1
  fi
  as_root=(sudo)
fi
if ! command -v apt-get >/dev/null; then
  echo "install-packages: missing: ${missing[*]} (Debian's names); install them with this system's package manager" >&2
  exit 1
fi
echo "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
# Debian starts what it installs as a service. The tests start their own servers on free ports: nothing else shall run.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
  printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" install -m 755 /dev/stdin "$policy"
  trap '"${as_root[@]}" rm -f "$policy"' EXIT
fi
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}"
