#!/usr/bin/env bash
# The root folder of a minimal image: `tree.sh FOLDER BINARY...`.
#
# Copies the binaries, the shared libraries they load, the certificates of public authorities and the one user they run as.
# Called by the Dockerfile's builder stage and by the rig, so that both make the same image.
set -euo pipefail

tree=$1
shift
install -d "$tree"/{etc/ssl/certs,usr/local/bin,usr/lib/ssl}
install -d -m 1777 "$tree/tmp"
install -m 755 "$@" "$tree/usr/local/bin/"

# `ldd` prints `name => path (address)`, and the loader as a path alone.
ldd "$@" 2> /dev/null | grep -oE '/[^ ]+\.so[^ ]*' | sort -u | while read -r library; do
  install -D -m 755 "$library" "$tree$library"
done

install -m 644 /etc/ssl/certs/ca-certificates.crt "$tree/etc/ssl/certs/"
ln -s /etc/ssl/certs "$tree/usr/lib/ssl/certs"
ln -s /etc/ssl/certs/ca-certificates.crt "$tree/usr/lib/ssl/cert.pem"
echo 'nonroot:x:65532:65532:nonroot:/tmp:/sbin/nologin' > "$tree/etc/passwd"
echo 'nonroot:x:65532:' > "$tree/etc/group"
echo 'hosts: files dns' > "$tree/etc/nsswitch.conf"
