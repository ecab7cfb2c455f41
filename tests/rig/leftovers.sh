# shellcheck shell=bash
# Removes what a rig leaves outside its folder when it ends, however it ended: pods' processes, shims, mounts, links, rules, cgroups.
#
# Everything here is found by something only this rig makes: its cgroup, its socket, its folder, its bridge. Rules are the
# exception: the chains KUBE-* and CNI-* belong to whichever Kubernetes runs on the machine, which is why there can be one only.

rig_bridge=weir0
rig_cgroup=weir-rig
rig_network=weir-rig

sweep_leftovers() {
  kill_shims
  kill_pod_processes
  unmount_state
  remove_links
  remove_rules iptables
  remove_rules ip6tables
  remove_cgroups
  remove_traces
}

# Shims are children of nobody once containerd is dead; their arguments name the rig's own socket.
shim_ids() {
  local file pid
  while read -r file; do
    pid=${file#/proc/} pid=${pid%/cmdline}
    case $(readlink "/proc/$pid/exe") in *containerd-shim*) printf '%s\n' "$pid" ;; esac
  done < <(grep -lzF -- "$state/cluster/containerd/containerd.sock" /proc/[0-9]*/cmdline 2>/dev/null)
}

kill_shims() {
  local pid
  for pid in $(shim_ids); do kill -9 "$pid" 2>/dev/null || true; done
}

cgroup_roots() { # every hierarchy's folder of the rig that exists, version 1 or 2
  local folder
  for folder in /sys/fs/cgroup/"$rig_cgroup" /sys/fs/cgroup/*/"$rig_cgroup"; do
    if [ -d "$folder" ]; then printf '%s\n' "$folder"; fi
  done
}

pod_process_ids() {
  local root
  for root in $(cgroup_roots); do find "$root" -name cgroup.procs -exec cat {} + 2>/dev/null; done | sort -u
}

no_pod_process() {
  local pid
  for pid in $(pod_process_ids); do kill -9 "$pid" 2>/dev/null || true; done
  [ -z "$(pod_process_ids)" ]
}

kill_pod_processes() {
  local freezer
  for freezer in $(find /sys/fs/cgroup/freezer/"$rig_cgroup" -name freezer.state 2>/dev/null); do echo THAWED > "$freezer" || true; done
  wait_until 20 "the end of the pods' processes" no_pod_process
}

mounts_below_state() { awk -v folder="$state/" 'index($2, folder) == 1 {print $2}' /proc/mounts | sort -r; }

unmount_state() {
  local mount
  while read -r mount; do umount -l "$mount" 2>/dev/null || true; done < <(mounts_below_state)
  [ -z "$(mounts_below_state)" ] || die "Mounts are left below $state that do not go away; unmount them by hand (see /proc/mounts)."
}

remove_links() {
  local link
  for link in $(ip -o link show master "$rig_bridge" 2>/dev/null | awk -F': ' '{sub(/@.*/, "", $2); print $2}'); do
    ip link del "$link" 2>/dev/null || true
  done
  ip link del "$rig_bridge" 2>/dev/null || true
}

remove_rules() { # iptables or ip6tables
  local rules
  rules=$("$1-save" 2>/dev/null) || return 0
  if grep -qE '(KUBE|CNI)-' <<< "$rules"; then
    grep -vE '(KUBE|CNI)-' <<< "$rules" | "$1-restore" || say "Some $1 rules of the rig could not be removed."
  fi
}

no_cgroup() {
  local root
  for root in $(cgroup_roots); do find "$root" -depth -type d -exec rmdir {} \; 2>/dev/null || true; done
  [ -z "$(cgroup_roots)" ]
}

remove_cgroups() { wait_until 10 "the removal of the cgroups named $rig_cgroup" no_cgroup; }

remove_traces() { # small files that containerd, its network library and the kubelet keep at fixed places
  local bundle result pod link
  for bundle in "$state"/cluster/containerd/state/io.containerd.runtime.v2.task/k8s.io/*/address; do
    if [ -f "$bundle" ]; then rm -f "$(sed 's#^unix://##' "$bundle")"; fi
  done
  for result in /var/lib/cni/results/"$rig_network"-*-eth0; do
    pod=${result##*/"$rig_network"-} pod=${pod%-eth0}
    rm -f "$result" "/var/lib/cni/results/cni-loopback-$pod-lo"
  done
  for link in /var/log/containers/*; do
    case $(readlink "$link") in "$state"/*) rm -f "$link" ;; esac
  done
}
