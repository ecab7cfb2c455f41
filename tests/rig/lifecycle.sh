# shellcheck shell=bash
# The rig as a whole: up, down and status. A phase file says how far the last command came, so a killed one is noticed.

phase() { cat "$state/phase" 2> /dev/null || echo down; }

rig_health() { cluster_health; kafka_health; }

rig_up() {
  local began=$SECONDS wrong
  refuse_second_rig
  if [ "$(phase)" = up ]; then
    wrong=$(rig_health)
    if [ -n "$wrong" ] && [ -z "$(cluster_health)" ]; then kafka_repair; wrong=$(rig_health); fi
    if [ -z "$wrong" ]; then
      [ "$(rig_fingerprint)" = "$(cat "$state/fingerprint")" ] ||
        say "The running rig was started by other scripts than these; 'rig.sh down' and 'rig.sh up' would apply them."
      say "The rig is up (it has been since $(date -r "$state/phase" +%H:%M:%S))."
      return 0
    fi
    say "The rig is up in part only and is started anew: $(tr '\n' ';' <<< "$wrong")"
  elif [ "$(phase)" != down ]; then
    say "An earlier 'up' or 'down' did not end; cleaning what it left."
  fi
  rig_build
  began=$SECONDS
  rig_stop
  refuse_taken_ports
  rig_start
  say "The cluster and the brokers are up after $((SECONDS - began)) s."
}

rig_start() {
  local cluster_job kafka_job failed=''
  mkdir -p "$state"/{run,logs,bin}
  rm -f "$state"/logs/*.log "$state/audit.log"
  echo starting > "$state/phase"
  printf '%s\n%s\n' "$state" "$checkout" > "$machine_owner"
  environment_commands
  environment_write
  cluster_network
  # Background jobs of their own: `set -e` holds in them, and both use the wait for processes well.
  cluster_up & cluster_job=$!
  kafka_up & kafka_job=$!
  wait "$cluster_job" || failed="the cluster"
  wait "$kafka_job" || failed="${failed:+$failed and }the brokers"
  [ -z "$failed" ] || die "Starting $failed failed; the logs are in $state/logs, 'rig.sh down' removes what has started."
  rig_fingerprint > "$state/fingerprint"
  echo up > "$state/phase"
}

rig_down() {
  refuse_second_rig
  rig_stop
  say "The rig is down; the logs of its last life are in $state/logs."
}

# Everything is thrown away, so nothing is asked to end in good order.
rig_stop() {
  local record
  if [ "$(phase)" != down ]; then echo stopping > "$state/phase"; fi
  for record in "$state"/run/*; do
    [ -f "$record" ] || continue
    process_signal "$record" KILL
  done
  for record in "$state"/run/*; do
    [ -f "$record" ] || continue
    wait_until 20 "the end of ${record##*/}" process_is_gone "$record"
  done
  sweep_leftovers
  rm -rf --one-file-system "$state"/{run,cluster,kafka,bin}
  rm -f "$state"/{env,rig.json,admin.kubeconfig,fingerprint,phase} "$machine_owner"
}

refuse_second_rig() {
  local owner='' owner_checkout=''
  if [ -f "$machine_owner" ]; then { read -r owner; read -r owner_checkout; } < "$machine_owner" || true; fi
  if [ -n "$owner" ] && [ "$owner" != "$state" ] && [ -d "$owner/run" ]; then
    die "This machine's rig lives in $owner (started from $owner_checkout); take that down first with WEIR_RIG=$owner rig.sh down."
  fi
}

refuse_taken_ports() {
  local port
  for port in 2379 2380 10249 10250 10256 10257 10259; do
    if port_answers 127.0.0.1 "$port"; then
      die "Port $port is taken by another program (perhaps another Kubernetes); stop that first, the rig needs it."
    fi
  done
}

rig_fingerprint() { # of everything that shapes a running rig
  hash_of "$rig_source"/{cluster,cluster-configuration,kafka,kafka-configuration}.sh "$rig_source/kafka/acls" <<< "$kubernetes_folder $class_archive_folder"
}

rig_status() {
  local wrong=down name
  if [ "$(phase)" = up ]; then wrong=$(rig_health); fi
  case $wrong in
    '') say "The rig is up." ;;
    down) say "The rig is $(phase)." ; exit 1 ;;
    *) say "The rig has faults: $(tr '\n' ';' <<< "$wrong")"; exit 1 ;;
  esac
  for name in "${control_plane[@]}" "${node_agents[@]}" broker-1 broker-2 broker-3; do
    printf '%-24s process %s\n' "$name" "$(process_id "$state/run/$name" || echo none)"
  done
}
