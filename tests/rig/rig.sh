#!/usr/bin/env bash
# The rig: one real Kubernetes node and three real Kafka brokers as plain processes on this machine.
#
# This file is the entry: it finds the folders, takes the lock and calls the part that does the work. See README.md.
# `shellcheck -x rig.sh` checks all parts together.
# shellcheck source-path=SCRIPTDIR
set -euo pipefail

rig_source=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
checkout=$(cd "$rig_source/../.." && pwd)
cache=${WEIR_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/weir}
state=${WEIR_RIG:-$cache/rig}
node_ip=10.244.0.1
lock_wait_s=${WEIR_RIG_LOCK_WAIT:-600}
# One rig per machine, whatever its state folder: kube-proxy's chains and the node address exist once.
machine_lock=/run/lock/weir-rig.lock
machine_owner=/run/weir-rig.owner

say() { printf 'rig: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

source "$rig_source/process.sh"
source "$rig_source/prerequisites.sh"
source "$rig_source/class-archive.sh"
source "$rig_source/artifacts.sh"
source "$rig_source/leftovers.sh"
source "$rig_source/cluster.sh"
source "$rig_source/cluster-configuration.sh"
source "$rig_source/kafka.sh"
source "$rig_source/kafka-configuration.sh"
source "$rig_source/environment.sh"
source "$rig_source/image.sh"
source "$rig_source/lifecycle.sh"

usage() {
  cat >&2 <<'TEXT'
usage: rig.sh COMMAND
  up                            start the cluster and the brokers (about 1 s when they run already)
  down                          stop everything and leave nothing behind
  status                        say what runs; exit code 0 only when everything does
  env                           print the exports that let a shell use kubectl, helm and Kafka's tools
  build                         install prerequisites and build the artifacts into the cache, nothing else
  prerequisites                 install missing Debian packages, or say what is missing
  image NAME:TAG BINARY...      build an image from local binaries and load it when the cluster is up
  load ARCHIVE NAME:TAG         load an OCI archive into the cluster
  broker ACTION N               stop, start, restart, kill, pause or resume broker N (1, 2 or 3)
  apiserver ACTION              stop, start, restart, kill, pause or resume the kube-apiserver
  kafka CLASS ARGUMENTS...      run one of Kafka's own command-line tools by its class
TEXT
  exit 2
}

# Holds the machine's lock until this command ends. Daemons never inherit the descriptor (see process.sh).
take_lock() { # COMMAND
  local holder="unknown"
  mkdir -p "$(dirname "$machine_lock")" "$cache" "$state"
  exec 9>>"$machine_lock"
  if ! flock -n 9; then
    read -r holder 2> /dev/null < "$machine_lock.holder" || true
    say "waiting for another rig command to end ($holder)"
    flock -w "$lock_wait_s" 9 || die "Another rig command has held $machine_lock for more than $lock_wait_s s ($holder); try again when it has ended."
  fi
  printf 'process %s, command %s, checkout %s, since %s\n' "$$" "$1" "$checkout" "$(date +%H:%M:%S)" > "$machine_lock.holder"
}

need_root() {
  [ "$(id -u)" = 0 ] || die "The rig starts a kubelet and containers, which needs root; run it as root."
}

main() {
  local command=${1:-}
  [ $# -gt 0 ] && shift
  case $command in
    up | down | build | prerequisites | load) need_root; take_lock "$command"; "rig_$command" "$@" ;;
    image) need_root; take_lock image; image_build_and_load "$@" ;;
    broker) [ $# -eq 2 ] || usage; need_root; take_lock "broker $*"; broker_control "$@" ;;
    apiserver) [ $# -eq 1 ] || usage; need_root; take_lock "apiserver $*"; apiserver_control "$@" ;;
    status) rig_status ;;
    env) rig_env ;;
    kafka) [ $# -ge 1 ] || usage; kafka_tool "$@" ;;
    *) usage ;;
  esac
}

main "$@"
