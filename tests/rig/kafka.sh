# shellcheck shell=bash
# Three real Kafka brokers (KRaft, combined mode) as plain processes, and their control by tests.

brokers=(1 2 3)
kafka=$state/kafka
cluster_id=weirRigAAAAAAAAAAAAAAA

kafka_up() { # the node address must exist
  local id formatting=()
  mkdir -p "$kafka/pki"
  kafka_certificates
  kafka_configuration
  for id in "${brokers[@]}"; do
    broker_format "$id" &
    formatting+=($!)
  done
  for id in "${formatting[@]}"; do wait "$id" || die "Formatting a broker's storage failed; the logs are in $state/logs."; done
  for id in "${brokers[@]}"; do broker_launch "$id"; done
  for id in "${brokers[@]}"; do broker_await "$id"; done
  "${java_tool[@]}" Acls "$kafka_plain" "${#brokers[@]}" "$rig_source/kafka/acls" \
    > "$state/logs/acls.log" 2>&1 || die "Granting the principals' rights failed; see $state/logs/acls.log."
}

broker_format() { # ID
  local scram=() name
  for name in "${principals[@]}"; do
    scram+=(--add-scram "SCRAM-SHA-512=[name=$name,password=$(password_of "$name")]")
    scram+=(--add-scram "SCRAM-SHA-256=[name=$name,password=$(password_of "$name")]")
  done
  "${java_tool[@]}" kafka.tools.StorageTool format --cluster-id "$cluster_id" --config "$kafka/broker-$1.properties" "${scram[@]}" \
    > "$state/logs/format-$1.log" 2>&1
}

broker_launch() { # ID
  keep_log "broker-$1"
  process_start "$state/run/broker-$1" "$state/logs/broker-$1.log" \
    java -Xmx512m -XX:+UseG1GC -XX:+ExitOnOutOfMemoryError -XX:SharedArchiveFile="$class_archive_folder/kafka.jsa" -Dlog4j2.configurationFile="$kafka/log4j2.properties" \
    -cp "$kafka_folder/libs/*" kafka.Kafka "$kafka/broker-$1.properties"
}

broker_has_started() { # ID
  process_lives "$state/run/broker-$1" || die "Broker $1 ended while starting: $(tail -n 3 "$state/logs/broker-$1.log" | tr '\n' ' ')"
  grep -q 'Kafka Server started' "$state/logs/broker-$1.log"
}

broker_await() { wait_until 90 "broker $1" broker_has_started "$1"; } # ID

broker_control() { # ACTION ID
  local action=$1 id=$2 record=$state/run/broker-$2
  case $id in 1 | 2 | 3) ;; *) die "There is no broker $id; the brokers are 1, 2 and 3." ;; esac
  [ -f "$kafka/broker-$id.properties" ] || die "The rig is down; start it with 'rig.sh up'."
  case $action in
    stop) process_stop "$record" 60 ;;
    kill) process_signal "$record" KILL; wait_until 10 "broker $id's end" process_is_gone "$record" ;;
    start) process_lives "$record" || broker_launch "$id"; broker_await "$id" ;;
    restart) broker_control stop "$id"; broker_control start "$id" ;;
    pause) process_signal "$record" STOP ;;
    resume) process_signal "$record" CONT ;;
    *) usage ;;
  esac
}

kafka_health() { # prints what is wrong, nothing when all is well
  local id port
  for id in "${brokers[@]}"; do
    if process_is_paused "$state/run/broker-$id"; then echo "broker $id is paused"; continue; fi
    process_lives "$state/run/broker-$id" || { echo "broker $id does not run"; continue; }
    port_answers 127.0.0.1 "1909$id" || echo "broker $id does not answer on 127.0.0.1:1909$id"
    for port in "2909$id" "4909$id"; do
      port_answers "$node_ip" "$port" || echo "broker $id does not answer on $node_ip:$port"
    done
  done
}

kafka_repair() { # brings back what a test left stopped or paused; the data are still there
  local id
  for id in "${brokers[@]}"; do
    process_signal "$state/run/broker-$id" CONT
    process_lives "$state/run/broker-$id" || { say "broker $id was not running, starting it"; broker_launch "$id"; }
  done
  for id in "${brokers[@]}"; do broker_await "$id"; done
}

kafka_tool() { # CLASS ARGUMENTS...
  exec "${java_tool[@]}" "$@"
}
