# shellcheck shell=bash
# The arguments and configuration files of the cluster's components. cluster.sh decides when they are used.
#
# Client rates are raised for many short tests. Nothing survives `down`, so etcd need not sync to disk.

arguments_of_etcd() {
  cat <<ARGUMENTS
--data-dir=$cluster/etcd
--unsafe-no-fsync
--listen-client-urls=http://127.0.0.1:2379
--advertise-client-urls=http://127.0.0.1:2379
--listen-peer-urls=http://127.0.0.1:2380
--log-level=warn
ARGUMENTS
}

arguments_of_kube_apiserver() {
  cat <<ARGUMENTS
--etcd-servers=http://127.0.0.1:2379
--advertise-address=$node_ip
--tls-cert-file=$cluster/pki/apiserver.crt
--tls-private-key-file=$cluster/pki/apiserver.key
--client-ca-file=$cluster/pki/ca.crt
--service-account-key-file=$cluster/pki/service-account.key
--service-account-signing-key-file=$cluster/pki/service-account.key
--service-account-issuer=https://kubernetes.default.svc
--service-cluster-ip-range=$service_cidr
--authorization-mode=Node,RBAC
--enable-admission-plugins=NodeRestriction
--kubelet-client-certificate=$cluster/pki/admin.crt
--kubelet-client-key=$cluster/pki/admin.key
--kubelet-preferred-address-types=InternalIP
--requestheader-client-ca-file=$cluster/pki/ca.crt
--requestheader-allowed-names=front-proxy-client
--requestheader-username-headers=X-Remote-User
--requestheader-group-headers=X-Remote-Group
--requestheader-extra-headers-prefix=X-Remote-Extra-
--allow-privileged=true
--profiling=false
--audit-policy-file=$cluster/audit-policy.yaml
--audit-log-path=$state/audit.log
--audit-log-maxsize=4096
ARGUMENTS
}

arguments_of_kube_controller_manager() {
  cat <<ARGUMENTS
--leader-elect=false
--use-service-account-credentials
--kubeconfig=$cluster/controller-manager.kubeconfig
--authentication-kubeconfig=$cluster/controller-manager.kubeconfig
--authorization-kubeconfig=$cluster/controller-manager.kubeconfig
--root-ca-file=$cluster/pki/ca.crt
--service-account-private-key-file=$cluster/pki/service-account.key
--cluster-signing-cert-file=$cluster/pki/ca.crt
--cluster-signing-key-file=$cluster/pki/ca.key
--kube-api-qps=200
--kube-api-burst=400
--profiling=false
ARGUMENTS
}

arguments_of_kube_scheduler() {
  cat <<ARGUMENTS
--leader-elect=false
--kubeconfig=$cluster/scheduler.kubeconfig
--authentication-kubeconfig=$cluster/scheduler.kubeconfig
--authorization-kubeconfig=$cluster/scheduler.kubeconfig
--kube-api-qps=200
--kube-api-burst=400
--profiling=false
ARGUMENTS
}

arguments_of_containerd() { echo "--config=$cluster/containerd/config.toml"; }

arguments_of_kubelet() {
  cat <<ARGUMENTS
--config=$cluster/kubelet/config.yaml
--kubeconfig=$cluster/kubelet.kubeconfig
--cert-dir=$cluster/kubelet/pki
--hostname-override=node
--node-ip=$node_ip
--root-dir=$cluster/kubelet
ARGUMENTS
}

arguments_of_kube_proxy() { echo "--config=$cluster/kube-proxy.yaml"; }

cluster_configuration() {
  audit_policy > "$cluster/audit-policy.yaml"
  containerd_configuration > "$cluster/containerd/config.toml"
  network_configuration > "$cluster/cni/10-$rig_network.conflist"
  kubelet_configuration > "$cluster/kubelet/config.yaml"
  proxy_configuration > "$cluster/kube-proxy.yaml"
}

# Every request once, when it is answered, so that tests can count writes; reads of events are noise.
audit_policy() {
  cat <<'YAML'
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
omitManagedFields: true
rules:
  - {level: None, verbs: [get, list, watch], resources: [{group: "", resources: [events]}, {group: events.k8s.io, resources: [events]}]}
  - {level: None, nonResourceURLs: ["/readyz*", "/livez*", "/healthz*"]}
  - {level: Metadata}
YAML
}

# restrict_oom_score_adj: without CAP_SYS_RESOURCE runc cannot lower a score and every sandbox would fail to start.
# netns_mounts_under_state_dir: the pods' network namespaces are mounts below the rig's folder, where the sweep finds them.
containerd_configuration() {
  cat <<TOML
version = 2
root = "$cluster/containerd/root"
state = "$cluster/containerd/state"
disabled_plugins = ["io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = "$cluster/containerd/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "$cluster/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "localhost/pause:1"
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "$cluster/cni"
TOML
}

# The default route in ipam lets pods reach service addresses. Pods have no way out of the machine and need none.
network_configuration() {
  cat <<JSON
{"cniVersion": "0.4.0", "name": "$rig_network", "plugins": [
  {"type": "bridge", "bridge": "$rig_bridge", "isGateway": true, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$cluster/cni-state",
            "ranges": [[{"subnet": "$pod_cidr", "gateway": "$node_ip"}]], "routes": [{"dst": "0.0.0.0/0"}]}}]}
JSON
}

kubelet_configuration() {
  cat <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $cluster/pki/ca.crt}}
authorization: {mode: Webhook}
cgroupDriver: cgroupfs
cgroupRoot: /$rig_cgroup
failCgroupV1: false
failSwapOn: false
containerRuntimeEndpoint: unix://$cluster/containerd/containerd.sock
podLogsDir: $cluster/pod-logs
evictionHard: {}
imageGCHighThresholdPercent: 100
localStorageCapacityIsolation: false
maxPods: 200
serializeImagePulls: false
kubeAPIQPS: 200
kubeAPIBurst: 400
eventRecordQPS: 0
YAML
}

# masqueradeAll: an answer from a pod to a pod of the same bridge goes back through the service, with or without br_netfilter.
# conntrack zeros: the machine's connection tracking limits stay as they are.
proxy_configuration() {
  cat <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
mode: iptables
hostnameOverride: node
clusterCIDR: $pod_cidr
clientConnection: {kubeconfig: $cluster/proxy.kubeconfig, qps: 200, burst: 400}
iptables: {masqueradeAll: true, minSyncPeriod: 100ms, syncPeriod: 30s}
conntrack: {maxPerCore: 0, min: 0}
YAML
}
