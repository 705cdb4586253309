#!/usr/bin/env bash
# Installs Debian packages of which the needed command is missing.
#   install-packages.sh gcc nodejs postgresql
set -euo pipefail

# present PACKAGE: whether what we need of it is there, however it was installed.
present() {
  case "$1" in
    gcc) command -v gcc >/dev/null ;;
    nodejs) command -v node >/dev/null && command -v npm >/dev/null ;;
    postgresql) compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || command -v initdb >/dev/null ;;
    *) echo "install-packages: unknown package $1" >&2; exit 2 ;;
  esac
}

# debian PACKAGE: the Debian packages that bring it.
debian() {
  case "$1" in
    gcc) echo gcc libc6-dev ;; # the race detector needs cgo
    nodejs) echo nodejs npm ;;
    postgresql) echo postgresql ;;
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
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}"
