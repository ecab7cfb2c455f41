#!/usr/bin/env bash
# `make demo`: the rig, the images, and then the driver, which installs Weir and tells what happens.
#
# The rig is taken down at the end, also after a failure, unless KEEP=1.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

rig=tests/rig/rig.sh
began=$SECONDS

step() { printf '\n--- %s s: %s\n' "$((SECONDS - began))" "$*"; }

finish() {
  local code=$?
  trap - EXIT
  if [ -n "${KEEP:-}" ]; then
    printf "\nEverything is left up. 'eval \"\$(tests/rig/rig.sh env)\"' makes kubectl, helm and Kafka's tools work; 'make demo-down' removes it all.\n"
  else
    "$rig" down || code=1
  fi
  printf 'The whole took %s s.\n' "$((SECONDS - began))"
  exit "$code"
}

trap finish EXIT
make prerequisites
step "building the programs (minutes the first time, seconds later)"
make build
step "starting a Kubernetes node and three Kafka brokers (minutes the first time, seconds later)"
"$rig" up
step "building the images and loading them"
make image
exports=$("$rig" env)
eval "$exports"
step "the demonstration"
WEIR_IMAGE=$(< target/images/weir) "$CARGO_TARGET_DIR/release/demo"
