# shellcheck shell=bash
# Processes that outlive the shell that starts them, known by a record of process id and start time.
#
# A record that a later process happens to share the id of never leads to a signal: the start time differs.
# Records are written by the process itself before it becomes the program, so a rig killed in between loses none.

process_start_time() { # PID: prints the start time in clock ticks since boot; fails for none and for a zombie
  local stat
  read -r stat 2>/dev/null < "/proc/$1/stat" || return 1
  stat=${stat##*) }
  # shellcheck disable=SC2086 # the fields of proc(5) stat from the third on
  set -- $stat
  [ "$1" != Z ] && printf '%s\n' "${20}"
}

process_id() { # RECORD: prints the id of the recorded process; fails unless it lives
  local pid started
  read -r pid started 2>/dev/null < "$1" || return 1
  [ "$(process_start_time "$pid")" = "$started" ] && printf '%s\n' "$pid"
}

process_lives() { process_id "$1" > /dev/null; } # RECORD

process_is_paused() { # RECORD
  local pid
  pid=$(process_id "$1") && grep -q '^State:[[:space:]]*T' "/proc/$pid/status"
}

process_start() { # RECORD LOG COMMAND ARGUMENTS...
  local record=$1 log=$2
  shift 2
  rm -f "$record"
  # shellcheck disable=SC2016 # expanded by the new shell
  setsid bash -c '
    record=$1; shift
    read -r stat < "/proc/$$/stat"; fields=(${stat##*) })
    printf "%s %s\n" "$$" "${fields[19]}" > "$record.new" && mv "$record.new" "$record"
    exec "$@"' start "$record" "$@" < /dev/null > "$log" 2>&1 9>&- &
  wait_until 10 "the start of ${record##*/}" test -s "$record"
}

process_signal() { # RECORD SIGNAL: nothing happens when the process does not live
  local pid
  if pid=$(process_id "$1"); then kill "-$2" "$pid" 2>/dev/null || true; fi
}

process_is_gone() { ! process_lives "$1"; } # RECORD

process_stop() { # RECORD GRACE_SECONDS: asks, then insists
  process_signal "$1" CONT
  process_signal "$1" TERM
  until_deadline "$2" process_is_gone "$1" || process_signal "$1" KILL
  until_deadline 10 process_is_gone "$1" || die "Process $(process_id "$1") (${1##*/}) does not die; look at it by hand."
  rm -f "$1"
}

until_deadline() { # SECONDS COMMAND...: polls the command ten times a second, fails at the deadline
  local deadline=$((SECONDS + $1 + 1))
  shift
  until "$@"; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.1
  done
}

wait_until() { # SECONDS WHAT COMMAND...
  local seconds=$1 what=$2
  shift 2
  until_deadline "$seconds" "$@" || die "Waited $seconds s for $what in vain; the logs are in $state/logs."
}

port_answers() { (exec 3<> "/dev/tcp/$1/$2") 2> /dev/null; } # ADDRESS PORT
