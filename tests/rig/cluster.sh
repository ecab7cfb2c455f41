# shellcheck shell=bash
# One real Kubernetes node: etcd, API server, controllers, scheduler, containerd, kubelet and kube-proxy as plain processes.

pod_cidr=10.244.0.0/24
service_cidr=10.96.0.0/16
cluster=$state/cluster
control_plane=(etcd kube-apiserver kube-controller-manager kube-scheduler)
node_agents=(containerd kubelet kube-proxy)

cluster_up() {
  mkdir -p "$cluster"/{pki,etcd,cni,kubelet,containerd}
  cluster_certificates
  cluster_configuration
  cluster_cgroups
  cluster_process etcd
  cluster_process containerd
  cluster_process kube-apiserver
  wait_until 60 "the API server" apiserver_is_ready
  cluster_process kube-controller-manager
  cluster_process kube-scheduler
  cluster_process kubelet
  cluster_process kube-proxy
  wait_until 20 "containerd" containerd_answers
  ctr_rig image import "$pause_folder/pause.tar" > /dev/null
  wait_until 60 "the node to be ready" node_is_ready
  wait_until 60 "the default service account" rig_kubectl -n default get serviceaccount default
}

cluster_process() { # NAME: starts one component with its record and its log
  local command=("$state/bin/$1")
  [ "$1" != containerd ] || command=(containerd)
  mapfile -t -O 1 command < <("arguments_of_${1//-/_}")
  keep_log "$1"
  process_start "$state/run/$1" "$state/logs/$1.log" "${command[@]}"
}

keep_log() { # NAME: the log of the process's previous life stays beside the new one
  if [ -s "$state/logs/$1.log" ]; then mv "$state/logs/$1.log" "$state/logs/$1.previous.log"; fi
}

rig_kubectl() { "$state/bin/kubectl" --kubeconfig "$state/admin.kubeconfig" --request-timeout=5s "$@" > /dev/null 2>&1; }
# A look at the port costs nothing, a kubectl a tenth of a second of CPU.
apiserver_is_ready() { port_answers "$node_ip" 6443 && rig_kubectl get --raw /readyz; }
node_is_ready() { rig_kubectl wait --for=condition=Ready node/node --timeout=2s; }
containerd_answers() { ctr_rig version > /dev/null 2>&1; }
ctr_rig() { ctr --address "$cluster/containerd/containerd.sock" --namespace k8s.io "$@"; }

apiserver_control() { # ACTION
  local record=$state/run/kube-apiserver
  case $1 in
    stop) process_stop "$record" 5 ;; # it would wait for its watchers for a minute
    kill) process_signal "$record" KILL; wait_until 10 "the API server's end" process_is_gone "$record" ;;
    start) process_lives "$record" || cluster_process kube-apiserver; wait_until 60 "the API server" apiserver_is_ready ;;
    restart) apiserver_control stop; apiserver_control start ;;
    pause) process_signal "$record" STOP ;;
    resume) process_signal "$record" CONT; wait_until 60 "the API server" apiserver_is_ready ;;
    *) usage ;;
  esac
}

cluster_health() { # prints what is wrong, nothing when all is well
  local name
  for name in "${control_plane[@]}" "${node_agents[@]}"; do
    if process_is_paused "$state/run/$name"; then echo "$name is paused"; continue; fi
    process_lives "$state/run/$name" || echo "$name does not run"
  done
  apiserver_is_ready || { echo "the API server is not ready"; return 0; }
  node_is_ready || echo "the node is not ready"
}

cluster_network() { # the node address; everything advertises it, so it comes first
  ip link show "$rig_bridge" > /dev/null 2>&1 || ip link add "$rig_bridge" type bridge
  ip addr replace "$node_ip/24" dev "$rig_bridge"
  ip link set "$rig_bridge" up
  sysctl -qw net.ipv4.ip_forward=1
}

# The kubelet keeps all pods below this cgroup, which must exist; so the sweep knows what is the rig's.
cluster_cgroups() {
  local hierarchy cpuset
  if [ -f /sys/fs/cgroup/cgroup.controllers ]; then
    mkdir -p "/sys/fs/cgroup/$rig_cgroup"
    return
  fi
  for hierarchy in /sys/fs/cgroup/*/; do
    if grep -q " ${hierarchy%/} cgroup" /proc/mounts; then mkdir -p "$hierarchy$rig_cgroup"; fi
  done
  cpuset=/sys/fs/cgroup/cpuset
  if [ -d "$cpuset/$rig_cgroup" ]; then
    cat "$cpuset/cpuset.cpus" > "$cpuset/$rig_cgroup/cpuset.cpus"
    cat "$cpuset/cpuset.mems" > "$cpuset/$rig_cgroup/cpuset.mems"
  fi
}

cluster_certificates() {
  local pki=$cluster/pki
  openssl ecparam -name prime256v1 -genkey -noout -out "$pki/ca.key"
  openssl req -x509 -new -key "$pki/ca.key" -days 365 -subj /CN=weir-rig -out "$pki/ca.crt"
  openssl genrsa -out "$pki/service-account.key" 2048 2> /dev/null
  cluster_identity apiserver /CN=kube-apiserver
  cluster_identity admin /O=system:masters/CN=admin
  cluster_identity kubelet /O=system:nodes/CN=system:node:node
  cluster_identity controller-manager /CN=system:kube-controller-manager
  cluster_identity scheduler /CN=system:kube-scheduler
  cluster_identity proxy /CN=system:kube-proxy
  # One file that can be copied: certificates inside, no paths.
  "$state/bin/kubectl" --kubeconfig "$cluster/admin.kubeconfig" config view --flatten --raw > "$state/admin.kubeconfig"
  chmod 600 "$state/admin.kubeconfig"
}

cluster_identity() { # NAME SUBJECT: key, certificate and kubeconfig
  local pki=$cluster/pki
  openssl ecparam -name prime256v1 -genkey -noout -out "$pki/$1.key"
  openssl req -new -key "$pki/$1.key" -subj "$2" |
    openssl x509 -req -CA "$pki/ca.crt" -CAkey "$pki/ca.key" -CAcreateserial -days 365 -out "$pki/$1.crt" -extfile <(
      echo "subjectAltName=IP:127.0.0.1,IP:10.96.0.1,IP:$node_ip,DNS:localhost,DNS:kubernetes.default.svc"
    ) 2> /dev/null
  cat > "$cluster/$1.kubeconfig" <<YAML
apiVersion: v1
kind: Config
clusters: [{name: weir-rig, cluster: {server: "https://$node_ip:6443", certificate-authority: $pki/ca.crt}}]
users: [{name: $1, user: {client-certificate: $pki/$1.crt, client-key: $pki/$1.key}}]
contexts: [{name: weir-rig, context: {cluster: weir-rig, user: $1}}]
current-context: weir-rig
YAML
}
