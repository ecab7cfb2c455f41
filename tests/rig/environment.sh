# shellcheck shell=bash
# What others need to use the rig: exports for a shell, the same for programs as JSON, and commands on the path.

# Command, class, and whether it takes `--bootstrap-server`, which the command adds when it is not given.
kafka_commands() {
  cat <<'TABLE'
kafka-topics                org.apache.kafka.tools.TopicCommand
kafka-get-offsets           org.apache.kafka.tools.GetOffsetShell
kafka-consumer-groups       org.apache.kafka.tools.consumer.group.ConsumerGroupCommand
kafka-console-consumer      org.apache.kafka.tools.consumer.ConsoleConsumer
kafka-console-producer      org.apache.kafka.tools.ConsoleProducer
kafka-configs               kafka.admin.ConfigCommand
kafka-acls                  org.apache.kafka.tools.AclCommand
TABLE
}

environment_write() {
  local command class
  mkdir -p "$state/bin"
  while read -r command class; do kafka_command "$class" > "$state/bin/$command"; chmod +x "$state/bin/$command"; done < <(kafka_commands)
  environment_exports > "$state/env"
  environment_json > "$state/rig.json"
}

environment_commands() { # kubectl and the components by their names, and helm
  local name
  mkdir -p "$state/bin"
  for name in etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl; do
    ln -sfn "$kubernetes_folder/kubernetes" "$state/bin/$name"
  done
  ln -sfn "$helm_folder/helm" "$state/bin/helm"
}

kafka_command() { # CLASS: a script on the path; it speaks to the plain listeners as super user unless told otherwise
  cat <<SCRIPT
#!/usr/bin/env bash
# Kafka's own $1, speaking to the rig's plain listeners unless --bootstrap-server is given.
case " \$* " in
  *" --bootstrap-server"*) server=() ;;
  *) server=(--bootstrap-server "$kafka_plain") ;;
esac
exec ${java_tool[*]@Q} $1 "\${server[@]}" "\$@"
SCRIPT
}

environment_exports() {
  cat <<EXPORTS
export KUBECONFIG='$state/admin.kubeconfig'
export PATH='$state/bin':"\$PATH"
export WEIR_RIG='$state'
export KAFKA_PLAIN='$kafka_plain'
export KAFKA_SASL_SSL='$kafka_sasl_ssl'
export KAFKA_PLAIN_PODS='$kafka_plain_pods'
export KAFKA_CA='$kafka/pki/ca.crt'
export KAFKA_OTHER_CA='$kafka/pki/other-ca.crt'
export KAFKA_CLIENTS='$kafka/clients'
EXPORTS
}

environment_json() {
  local name separator=''
  cat <<JSON
{
  "kubeconfig": "$state/admin.kubeconfig",
  "bin": "$state/bin",
  "state": "$state",
  "node_address": "$node_ip",
  "audit_log": "$state/audit.log",
  "kafka": {
    "plain": "$kafka_plain",
    "sasl_ssl": "$kafka_sasl_ssl",
    "plain_pods": "$kafka_plain_pods",
    "ca": "$kafka/pki/ca.crt",
    "other_ca": "$kafka/pki/other-ca.crt",
    "cluster_id": "$cluster_id",
    "principals": {
JSON
  for name in "${principals[@]}"; do
    printf '%s      "%s": "%s"' "$separator" "$name" "$(password_of "$name")"
    separator=$',\n'
  done
  printf '\n    }\n  }\n}\n'
}

rig_env() {
  if [ -f "$state/env" ] && [ "$(phase)" = up ]; then cat "$state/env"; else die "The rig is down; start it with 'make rig-up'."; fi
}
