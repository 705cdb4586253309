#!/usr/bin/env bash
# Makes what compose.yaml needs beside it and is secret: an authority with a certificate for each process (a week), and .env with
# a password and the keys of session ids. What is there already stays.
#   prepare.sh [DIR]
set -euo pipefail

cd "${1:-$(dirname "${BASH_SOURCE[0]}")}"
umask 077
mkdir -p tls
if [[ ! -f tls/ca.key ]]; then
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 3650 -keyout tls/ca.key -out tls/ca.pem \
    -subj "/CN=penstock.internal" -addext "subjectAltName=URI:spiffe://penstock.internal" \
    -addext "keyUsage=critical,keyCertSign,cRLSign" 2>/dev/null
fi

# certificate NAME ROLE
certificate() {
  local dir=tls/$1
  [[ -f $dir/cert.pem ]] && return
  mkdir -p "$dir"
  openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -keyout "$dir/key.pem" -subj "/CN=$1" 2>/dev/null |
    openssl x509 -req -days 7 -CA tls/ca.pem -CAkey tls/ca.key -CAcreateserial -out "$dir/cert.pem" -extfile <(
      echo "basicConstraints=critical,CA:false"
      echo "keyUsage=critical,digitalSignature"
      echo "extendedKeyUsage=clientAuth,serverAuth"
      echo "subjectAltName=URI:spiffe://penstock.internal/$2/$1"
    ) 2>/dev/null
  cp tls/ca.pem "$dir/ca.pem"
  # The servers run as somebody else in their containers.
  chmod 755 "$dir"
  chmod 644 "$dir"/*.pem
}

for n in 1 2 3; do certificate "control-$n" controlplane; done
for n in 1 2; do certificate "auth-$n" authserver; done
for n in 1 2 3 4 5; do certificate "node-$n" node; done
chmod 755 tls

if [[ ! -f .env ]]; then
  {
    echo "POSTGRES_PASSWORD=$(openssl rand -hex 16)"
    echo "PENSTOCK_SEAL_KEYSET=$(openssl rand -base64 32)"
  } >.env
fi
