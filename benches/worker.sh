#!/usr/bin/env bash
# `make bench`: Weir's worker and Kafka's own performance tools, side by side in one run, against the rig's three brokers.
#
# Three cases: `produce` (random values, not compressed), `produce_json` (JSON values, lz4), `consume` (the values of the first).
# In every round both programs run once, one after the other; the next round turns the order round (A B, B A, A B, ...), so
# that a machine which gets slower or faster meets both. The ratio of a round is the fair number; see benches/README.md.
#
# What is measured, and what to know about it:
# - Records per second are the program's own word where it has one, so the start of the process is not in them: ProducerPerformance
#   and ConsumerPerformance count from the ready client, Weir's producer from its ready endpoints. All count until the last
#   acknowledgement. Weir's consumer has no such word: it is timed from the start of its process until its /status has completed all
#   records, read every 20 ms. Joining the group is in the time of both consumers.
# - A JVM compiles while it runs, and that is in the number, as it is in real life; more RECORDS make it smaller.
# - CPU seconds are user and system time of the whole process, its start included (about one second for a JVM).
# - Kafka's tools get the JVM options of Kafka's own scripts, not the rig's, which are for short runs (no optimizing compiler).
# - Kafka's producer picks among prepared values (for JSON: values that Weir wrote); Weir's generates each. Kafka's consumer does not verify
#   checksums and commits in the background; Weir's verifies them, completes each record and commits what is completed.
# - Brokers and programs share the cores of one machine: a program that spends less leaves the brokers more.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

records=${RECORDS:-2000000}
consumed_records=${CONSUMED_RECORDS:-6000000}
size_bytes=${SIZE:-100}
rounds=${ROUNDS:-3}
partitions=${PARTITIONS:-6}
linger_ms=${LINGER_MS:-5}
consumed_keys=${KEYS:-0}
order=${ORDER:-Key}
in_flight_records=${IN_FLIGHT:-500}
all_cases='produce produce_json consume'
read -ra cases <<< "${CASES:-$all_cases}"
keep=${KEEP:-}
replication=3
# What librdkafka has and Weir leaves alone; Kafka's own default, 16 KiB, would be slower here.
batch_bytes=1000000
buffer_bytes=33554432
commit_interval_ms=1000
session_timeout_ms=45000
fetch_bytes=1048576
# Kafka's producer picks among so many values. lz4 then makes 25 bytes of each of its 100-byte JSON records, and 27 of Weir's.
payloads=1000
sample_records=100000
limit_s=300
# Kafka's kafka-run-class.sh and kafka-producer-perf-test.sh; the level undoes the rig's.
jvm_options='-Xmx512m -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -XX:InitiatingHeapOccupancyPercent=35 -XX:+ExplicitGCInvokesConcurrent -XX:TieredStopAtLevel=4'

rig=tests/rig/rig.sh
worker=${CARGO_TARGET_DIR:?make bench sets it}/release/weir-worker
result=target/bench/worker.json
prefix=weir-bench-$$
work=''
running=''
started_rig=''
groups=()
export LC_ALL=C.UTF-8

die() { printf 'bench: %s\n' "$*" >&2; exit 1; }

finish() {
  local code=$?
  trap - EXIT
  if [ -n "$running" ]; then kill -TERM "$running" 2> /dev/null || true; wait "$running" || true; fi
  if [ -n "${KAFKA_PLAIN:-}" ]; then
    kafka-topics --delete --if-exists --topic "$prefix-.*" > /dev/null 2>&1 || true
    [ ${#groups[@]} = 0 ] || kafka-consumer-groups --delete "${groups[@]/#/--group=}" > /dev/null 2>&1 || true
  fi
  if [ -n "$started_rig" ] && [ -z "$keep" ]; then "$rig" down || code=1; fi
  [ -z "$work" ] || rm -r "$work"
  exit "$code"
}

bring_up_rig() { # a rig that runs already is used as it is, and left
  local exports
  "$rig" env > /dev/null 2>&1 || started_rig=yes
  "$rig" status > /dev/null 2>&1 || "$rig" up
  exports=$("$rig" env)
  eval "$exports"
}

create_topic() { # TOPIC
  kafka-topics --create --topic "$1" --partitions "$partitions" --replication-factor "$replication" \
    --config file.delete.delay.ms=1000 > "$work/topic" 2>&1 || die "Creating topic $1 failed: $(tail -n 3 "$work/topic")"
}

delete_topic() { # TOPIC
  kafka-topics --delete --topic "$1" > "$work/topic" 2>&1 || die "Deleting topic $1 failed: $(tail -n 3 "$work/topic")"
}

expect_records() { # TOPIC COUNT WHO: the topic holds as many records as somebody said to have written
  local held
  held=$(kafka-get-offsets --topic "$1" | awk -F: '{sum += $3} END {print sum + 0}')
  [ "$held" = "$2" ] || die "$3 wrote $held records to topic $1 instead of $2."
}

# Starts a program in the background; `running` is its id. The CPU clock of `finished` begins here. Without --foreground, timeout
# would pass a SIGTERM on twice, to its child and to its process group, and a second one tells the worker to end at once.
begin() { # COMMAND...
  times > "$work/times-before"
  timeout --foreground "$limit_s" "$@" > "$work/output" 2> "$work/errors" &
  running=$!
}

# Waits for the program and sets `cpu_s`. Whoever calls it has waited for no other process since `begin`.
finished() { # WHO
  local code=0
  wait "$running" || code=$?
  running=''
  times > "$work/times-after"
  [ "$code" = 0 ] || die "$1 failed with exit code $code: $(tail -qn 3 "$work/output" "$work/errors")"
  cpu_s=$(awk -F'[ms ]+' 'FNR == 2 {sum = 60 * ($1 + $3) + $2 + $4; if (NR == 2) before = sum} END {printf "%.2f", sum - before}' \
    "$work/times-before" "$work/times-after")
}

write_config() { # the task on standard input
  jq --arg servers "$KAFKA_PLAIN" '{version: 1, namespace: "bench", name: "bench", task: .,
    connection: {bootstrapServers: ($servers | split(",")), tls: false, caFile: false}}' > "$work/config/config.json"
}

weir_produce() { # TOPIC COUNT ENCODING COMPRESSION [KEYS]: sets rate and cpu_s; KEYS is how many distinct ones, 0 for none
  local encoding=$3 compression=$4
  jq -n --arg topic "$1" --argjson records "$2" --arg encoding "$encoding" --arg compression "${compression^}" \
    --argjson size "$size_bytes" --argjson linger "$linger_ms" --argjson keys "${5:-0}" '{produce: {$topic, $records, runId: "bench", $encoding,
      generator: {sizeBytes: $size, keys: (if $keys == 0 then "none" else {uniform: {cardinality: $keys}} end), seed: 1},
      delivery: {acks: "All", idempotent: true, $compression, lingerMs: $linger}}}' | write_config
  begin "$worker" produce --config "$work/config" --credentials "$work/credentials" --listen 127.0.0.1:0 \
    --termination-message "$work/termination.json"
  finished "weir-worker produce"
  jq -e --argjson records "$2" '.finished and .acknowledged == $records' "$work/termination.json" > /dev/null ||
    die "weir-worker produce did not finish: $(< "$work/termination.json")"
  rate=$(jq .recordsPerSecond "$work/termination.json")
}

kafka_produce() { # TOPIC COUNT ENCODING COMPRESSION: sets rate and cpu_s
  _JAVA_OPTIONS=$jvm_options begin "$rig" kafka org.apache.kafka.tools.ProducerPerformance --bootstrap-server "$KAFKA_PLAIN" \
    --topic "$1" --num-records "$2" --throughput -1 --payload-file "$work/payloads-$3" --command-property acks=all \
    enable.idempotence=true "compression.type=$4" "linger.ms=$linger_ms" "batch.size=$batch_bytes" "buffer.memory=$buffer_bytes"
  finished ProducerPerformance
  rate=$(sed -nE "s/^$2 records sent, ([0-9]+)[0-9.]* records\/sec.*/\1/p" "$work/output" | tail -n 1)
  [ -n "$rate" ] || die "ProducerPerformance did not report $2 records: $(tail -qn 3 "$work/output" "$work/errors")"
}

free_port() { # prints one that nobody listens on, outside the range that the kernel gives away
  local port
  while true; do
    port=$((21000 + RANDOM % 8000))
    (: < "/dev/tcp/127.0.0.1/$port") 2> /dev/null || { echo "$port"; return; }
  done
}

# Reads /status until all records are completed. Starts no process, which would take CPU from the measured and be counted with it.
await_completed() { # PORT COUNT
  local header length=0 body completed=0 silence connection deadline=$((SECONDS + limit_s))
  exec {silence}<> "$work/silence"
  until { exec {connection}<> "/dev/tcp/127.0.0.1/$1"; } 2> /dev/null; do
    if [ "$SECONDS" -ge "$deadline" ] || ! kill -0 "$running" 2> /dev/null; then
      die "weir-worker consume does not answer: $(tail -qn 3 "$work/output" "$work/errors")"
    fi
    read -r -t 0.005 -u "$silence" || true
  done
  while [ "$completed" -lt "$2" ]; do
    [ "$SECONDS" -lt "$deadline" ] || die "weir-worker consume completed $completed of $2 records in $limit_s s."
    printf 'GET /status HTTP/1.1\r\nHost: bench\r\n\r\n' >&"$connection"
    while IFS=$'\r' read -r -u "$connection" header && [ -n "$header" ]; do
      case ${header,,} in content-length:*) length=${header##* } ;; esac
    done
    read -r -N "$length" -u "$connection" body || die "weir-worker consume ended early: $(tail -qn 3 "$work/output" "$work/errors")"
    completed=${body##*\"completed\":}
    completed=${completed%%[,\}]*}
    [ "$completed" -ge "$2" ] || read -r -t 0.02 -u "$silence" || true
  done
  exec {connection}>&- {silence}>&-
}

weir_consume() { # TOPIC COUNT GROUP: sets rate and cpu_s
  local port began ended
  port=$(free_port)
  jq -n --arg topic "$1" --arg groupId "$3" --arg order "$order" --argjson inFlightRecords "$in_flight_records" \
    --argjson sessionTimeoutMs "$session_timeout_ms" --argjson commitIntervalMs "$commit_interval_ms" '{consume: {$groupId, topics: [$topic],
      startFrom: "Earliest", isolation: "ReadCommitted", $sessionTimeoutMs, handler: "discard", $order, maxConcurrency: 256,
      $inFlightRecords, $commitIntervalMs, retryInitialBackoffMs: 100, retryMaxBackoffMs: 30000}}' | write_config
  began=${EPOCHREALTIME/./}
  begin "$worker" consume --config "$work/config" --credentials "$work/credentials" --listen "127.0.0.1:$port" \
    --termination-message "$work/termination.json"
  await_completed "$port" "$2"
  ended=${EPOCHREALTIME/./}
  kill -TERM "$running"
  finished "weir-worker consume"
  rate=$(($2 * 1000000 / (ended - began)))
  kafka-consumer-groups --describe --group "$3" 2> /dev/null > "$work/lag"
  awk -v topic="$1" -v count="$2" '$2 == topic {committed += $4; lag += $6} END {exit !(committed == count && lag == 0)}' "$work/lag" ||
    die "weir-worker consume left a lag: $(< "$work/lag")"
}

kafka_consume() { # TOPIC COUNT GROUP: sets rate and cpu_s
  local consumed
  _JAVA_OPTIONS=$jvm_options begin "$rig" kafka org.apache.kafka.tools.ConsumerPerformance --bootstrap-server "$KAFKA_PLAIN" \
    --topic "$1" --num-records "$2" --group "$3" --hide-header --timeout 60000 --fetch-size "$fetch_bytes" \
    --command-property isolation.level=read_committed --command-property "auto.commit.interval.ms=$commit_interval_ms" \
    --command-property "session.timeout.ms=$session_timeout_ms"
  finished ConsumerPerformance
  IFS=' ' read -r consumed rate < <(awk -F', ' 'NF >= 10 {consumed = $5; rate = $6} END {printf "%d %d\n", consumed, rate}' "$work/output")
  [ "$consumed" -ge "$2" ] || die "ConsumerPerformance consumed $consumed of $2 records: $(tail -qn 3 "$work/output" "$work/errors")"
}

record_run() { # CASE PROGRAM ROUND
  printf 'bench: %-12s round %s: %-5s %9s records/s, %6s CPU seconds\n' "$1" "$3" "$2" "$rate" "$cpu_s"
  jq -nc --arg case "$1" --arg program "$2" --argjson rate "$rate" --argjson cpu "$cpu_s" '{$case, $program, $rate, $cpu}' >> "$work/runs"
}

programs_of() { # ROUND: prints the order
  if [ $(($1 % 2)) = 1 ]; then echo weir kafka; else echo kafka weir; fi
}

produce_case() { # CASE ENCODING COMPRESSION
  local round program topic
  for ((round = 1; round <= rounds; round++)); do
    for program in $(programs_of "$round"); do
      topic=$prefix-$1-$round-$program
      create_topic "$topic"
      "${program}_produce" "$topic" "$records" "$2" "$3"
      record_run "$1" "$program" "$round"
      expect_records "$topic" "$records" "$program"
      delete_topic "$topic"
    done
  done
}

consume_case() { # TOPIC
  local round program group
  for ((round = 1; round <= rounds; round++)); do
    for program in $(programs_of "$round"); do
      group=$prefix-$round-$program
      groups+=("$group")
      "${program}_consume" "$1" "$consumed_records" "$group"
      record_run consume "$program" "$round"
    done
  done
}

# What is consumed later, what Kafka's producer will repeat, and a first run that wakes the brokers.
prepare() {
  create_topic "$prefix-filled"
  weir_produce "$prefix-filled" "$consumed_records" Raw none "$consumed_keys"
  create_topic "$prefix-sample"
  weir_produce "$prefix-sample" "$sample_records" Json none
  kafka-console-consumer --topic "$prefix-sample" --from-beginning --max-messages "$sample_records" > "$work/sample" 2> "$work/errors" ||
    die "Reading the sample back failed: $(tail -n 3 "$work/errors")"
  tail -n "$payloads" "$work/sample" > "$work/payloads-Json"
  delete_topic "$prefix-sample"
  head -c $((size_bytes * payloads * 3 / 4)) /dev/urandom | base64 -w "$size_bytes" > "$work/payloads-Raw"
}

settings() { # prints them as JSON
  jq -n --argjson records "$records" --argjson consumed_records "$consumed_records" --argjson size_bytes "$size_bytes" \
    --argjson rounds "$rounds" --argjson partitions "$partitions" --argjson replication_factor "$replication" --argjson linger_ms "$linger_ms" --argjson batch_bytes "$batch_bytes" \
    --argjson buffer_bytes "$buffer_bytes" --argjson fetch_bytes "$fetch_bytes" --argjson commit_interval_ms "$commit_interval_ms" \
    --argjson session_timeout_ms "$session_timeout_ms" --arg weir_order "$order" --argjson weir_in_flight_records "$in_flight_records" \
    --argjson distinct_keys "$consumed_keys" --arg kafka_jvm "$jvm_options" --arg kafka "$(kafka-topics --version)" --argjson cores "$(nproc)" --arg load "$(cut -d' ' -f1-3 /proc/loadavg)" \
    '{$records, $consumed_records, $size_bytes, $rounds, acks: "all", idempotence: true, compression: {produce: "none", produce_json: "lz4"},
      $linger_ms, $batch_bytes, $buffer_bytes, $partitions, $replication_factor, min_insync_replicas: 2,
      consume: {$distinct_keys, isolation: "read_committed", $fetch_bytes, $commit_interval_ms, $session_timeout_ms, $weir_order, $weir_in_flight_records,
        weir_max_concurrency: 256, weir_handler: "discard"},
      $kafka_jvm, $kafka, $cores, load_average_before: $load}'
}

report() { # writes the result and prints the table
  mkdir -p "$(dirname "$result")"
  jq -s --slurpfile settings "$work/settings" '
    def median: sort | (.[(length - 1) / 2 | floor] + .[length / 2 | floor]) / 2;
    def round2: . * 100 | round / 100;
    def of(program; what): map(select(.program == program) | what);
    {settings: $settings[0]} + (group_by(.case) | map({key: .[0].case, value: {
      weir: of("weir"; .rate), kafka: of("kafka"; .rate),
      ratio_median: ((of("weir"; .rate) | median) / (of("kafka"; .rate) | median) | round2),
      ratio_rounds: ([of("weir"; .rate), of("kafka"; .rate)] | transpose | map(.[0] / .[1] | round2)),
      weir_cpu_seconds: of("weir"; .cpu), kafka_cpu_seconds: of("kafka"; .cpu),
      cpu_ratio_median: ((of("weir"; .cpu) | median) / (of("kafka"; .cpu) | median) | round2)}}) | from_entries)' "$work/runs" > "$result"
  jq -r 'def median: sort | (.[(length - 1) / 2 | floor] + .[length / 2 | floor]) / 2;
    def round2: . * 100 | round / 100;
    del(.settings) as $cases
    | ["case", "program", "records/s min", "median", "max", "CPU s min", "median", "max"],
      ("produce", "produce_json", "consume" | select($cases[.]) as $case | ("weir", "kafka") as $program | $cases[$case]
        | .[$program] as $rates | .[$program + "_cpu_seconds"] as $cpus
        | [$case, $program, ($rates | min, (median | round), max), ($cpus | min, (median | round2), max)])
    | join("|")' "$result" | column -t -s '|' -R 3,4,5,6,7,8
  jq -r '("produce", "produce_json", "consume") as $case | .[$case] | values
    | "\($case): Weir'\''s median is \(.ratio_median) times Kafka'\''s (by round: \(.ratio_rounds | join(", "))), with \(.cpu_ratio_median) times its CPU."' "$result"
  printf 'All numbers are in %s.\n' "$result"
}

main() {
  local case
  [[ $records$consumed_records$size_bytes$rounds$partitions$linger_ms$consumed_keys$in_flight_records =~ ^[0-9]+$ && $rounds -ge 1 ]] ||
    die "RECORDS, CONSUMED_RECORDS, SIZE, ROUNDS, PARTITIONS, LINGER_MS, KEYS and IN_FLIGHT are whole numbers, and ROUNDS is at least 1."
  for case in "${cases[@]}"; do
    [[ " $all_cases " == *" $case "* ]] || die "There is no case $case; CASES takes some of: $all_cases."
  done
  [ -x "$worker" ] || die "There is no $worker; build it with 'make build'."
  trap finish EXIT
  trap 'exit 130' INT
  trap 'exit 143' TERM
  work=$(mktemp -d)
  mkdir "$work/config" "$work/credentials"
  mkfifo "$work/silence"
  bring_up_rig
  settings > "$work/settings"
  echo "bench: identical settings for both:"
  jq -r 'to_entries[] | "  \(.key): \(.value | if type == "object" then tojson else . end)"' "$work/settings"
  prepare
  for case in "${cases[@]}"; do
    case $case in
      produce) produce_case produce Raw none ;;
      produce_json) produce_case produce_json Json lz4 ;;
      consume) consume_case "$prefix-filled" ;;
    esac
  done
  report
}

main
