#!/usr/bin/env bash
# `make test`: everything that is checked, lane after lane, cheap ones first. The first lane that fails ends the run.
#
# The rig is taken down at the end, also after a failure, unless KEEP=1. The last line counts the tests of all lanes.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

release=(--release --locked)
rig=tests/rig/rig.sh
weir=$CARGO_TARGET_DIR/release/weir
log=target/test.log
began=$SECONDS
failed=''
mkdir -p target
: > "$log"

lane() { # NAME COMMAND...
  local name=$1 start=$SECONDS
  shift
  printf '\n=== %s\n' "$name"
  failed=$name
  # Not a condition: `set -e` must hold inside the lane.
  "$@" 2>&1 | tee -a "$log"
  failed=''
  printf '=== %s: passed in %s s\n' "$name" "$((SECONDS - start))"
}

finish() {
  local code=$? passed wrong
  trap - EXIT
  if [ -z "${KEEP:-}" ]; then "$rig" down || code=1; fi
  [ -z "$failed" ] || printf '\n=== %s: FAILED; all output is in %s\n' "$failed" "$log"
  passed=$(sum_of passed)
  wrong=$(sum_of failed)
  if [ "$code" != 0 ] && [ "$wrong" = 0 ]; then wrong=1; fi
  printf '\nAll lanes together took %s s.\n%s passed, %s failed\n' "$((SECONDS - began))" "$passed" "$wrong"
  exit "$code"
}

sum_of() { # WORD: adds up what the test programs, and the checks of the chart, reported
  local ok=0
  if [ "$1" = passed ]; then ok=$(grep -c '^ok: ' "$log" || true); fi
  sed -nE "s/^test result: .* ([0-9]+) $1.*/\1/p" "$log" | awk -v sum="$ok" '{sum += $1} END {print sum + 0}'
}

generated_files() {
  local made wrong=0
  made=$(mktemp -d)
  "$weir" crds --output "$made/crds"
  "$weir" reference --output "$made/reference"
  compare_generated "$made/crds" crds || wrong=1
  compare_generated "$made/crds" charts/weir/files/crds || wrong=1
  compare_generated "$made/reference" docs/reference || wrong=1
  rm -r "$made"
  return "$wrong"
}

compare_generated() { # MADE FOLDER
  if diff -r "$1" "$2"; then echo "ok: $2 is what the Rust types say"; return 0; fi
  echo "FAILED: $2 is not what the Rust types say; run 'make crds' and commit the result."
  return 1
}

# Always the whole workspace: another choice of packages unifies features otherwise and compiles dependencies again.
on_rig() { # CARGO_TEST_ARGUMENT...
  local exports
  exports=$("$rig" env)
  eval "$exports"
  WEIR_IMAGE=$(< target/images/weir) cargo test "${release[@]}" "$@"
}

licenses_and_advisories() { cargo deny --offline check bans licenses sources; }

trap finish EXIT
lane "prerequisites" make prerequisites
lane "formatting" cargo fmt --all --check
lane "clippy" cargo clippy "${release[@]}" --workspace --all-targets -- -D warnings
lane "programs" make build
lane "tests without the rig" cargo test "${release[@]}" --workspace --lib --bins --test decisions --test generated --test mock
lane "generated files" generated_files
if cargo deny --version > /dev/null 2>&1; then lane "dependencies" licenses_and_advisories; fi
lane "rig" "$rig" up
lane "chart" tests/support/chart.sh
lane "images" make image
lane "contract with the brokers" on_rig --workspace --features weir-kafka/rig --test contract
lane "integration" on_rig --workspace --test integration
