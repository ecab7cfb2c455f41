#!/usr/bin/env bash
# Checks the chart without a cluster: lint, the same output twice, refusals of its schema. Called by `make lint` and `make test`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

cache=${WEIR_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/weir}
found() { find "$cache" -maxdepth 2 -path "*/helm-*/helm" -type f | sort | tail -n 1; }
helm=$(command -v helm || found)
[ -n "$helm" ] || { tests/rig/rig.sh build; helm=$(found); }
failures=0

check() { # SENTENCE COMMAND...
  local sentence=$1
  shift
  if output=$("$@" 2>&1); then echo "ok: $sentence"; else echo "FAILED: $sentence"; echo "$output"; failures=$((failures + 1)); fi
}
render() { "$helm" template weir charts/weir --namespace weir-system --kube-version 1.34.4 "$@"; }
refuses() { ! render --set "$1" > /dev/null 2>&1; }
renders_the_same_twice() { [ "$(render | sha256sum)" = "$(render | sha256sum)" ]; }
holds() { render "${@:2}" | grep -- "$1"; }
holds_not() { ! holds "$@"; }

check "helm lint finds nothing" "$helm" lint --strict --quiet charts/weir
check "it renders" render
check "two renderings are the same" renders_the_same_twice
check "an unknown value is refused" refuses nosuchvalue=1
check "an unknown nested value is refused" refuses policy.nosuchvalue=true
check "a text where a truth value belongs is refused" refuses policy.allowPlaintext=maybe
check "a wrong digest is refused" refuses image.digest=sha256:1
check "an unknown log level is refused" refuses config.logLevel=chatty
check "the definitions survive an uninstall" holds 'helm.sh/resource-policy: keep'
check "the definitions can be left out" holds_not 'kind: CustomResourceDefinition' --set crds.enabled=false
check "all namespaces need a ClusterRole" holds 'name: weir-system-weir$'
check "one namespace needs no right to Secrets elsewhere" holds_not 'kind: ClusterRoleBinding' --set watchNamespace=team
check "a digest wins over a tag" holds 'image: "r/weir@sha256:'"$(printf '0%.0s' {1..64})"'"' \
  --set image.registry=r,image.tag=v1,image.digest=sha256:"$(printf '0%.0s' {1..64})"
check "the workers' image is the operator's" holds 'WEIR_WORKER_IMAGE, value: "r/weir:v7"' --set image.registry=r,image.tag=v7
[ "$failures" = 0 ] || { echo "$failures checks of the chart failed."; exit 1; }
