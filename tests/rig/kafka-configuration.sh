# shellcheck shell=bash
# The brokers' addresses, principals, certificates and properties. kafka.sh decides when they are used.
#
# Each broker N listens three times: without authentication on 127.0.0.1:1909N (host tools, the other brokers; pods cannot reach it),
# with SASL_SSL on the node address at port 2909N (host and pods), and without authentication on the node address at 4909N for pods.
# A stopped broker may register again when its session has ended: a short session makes restarts short.
# Whoever comes without authentication is ANONYMOUS, a super user: rights are only tested through SASL_SSL.

principals=(admin weir worker app nobody)
password_of() { printf '%s-secret' "$1"; } # PRINCIPAL: fixed and simple, the rig guards nothing

kafka_plain=127.0.0.1:19091,127.0.0.1:19092,127.0.0.1:19093
kafka_sasl_ssl=$node_ip:29091,$node_ip:29092,$node_ip:29093
kafka_plain_pods=$node_ip:49091,$node_ip:49092,$node_ip:49093

kafka_configuration() {
  local id name
  for id in "${brokers[@]}"; do broker_properties "$id" > "$kafka/broker-$id.properties"; done
  mkdir -p "$kafka/clients"
  for name in "${principals[@]}"; do client_properties "$name" > "$kafka/clients/$name.properties"; done
  sed -e 's/^rootLogger.level=.*/rootLogger.level=INFO/' -e 's/SYSTEM_ERR/SYSTEM_OUT/' \
    -e 's/^\(appender.console.layout.pattern\)=.*/\1=%d %p %c{1} %m%n/' -e '1s/.*/# Logging of the brokers./' \
    "$kafka_folder/quiet.properties" > "$kafka/log4j2.properties"
}

kafka_certificates() { # an authority, one key store for all brokers, and an authority that signed nothing
  local pki=$kafka/pki
  kafka_authority ca weir-rig-kafka
  kafka_authority other-ca weir-rig-stranger
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=kafka \
    -keyout "$pki/broker.key" -out "$pki/broker.csr" 2> /dev/null
  openssl x509 -req -in "$pki/broker.csr" -CA "$pki/ca.crt" -CAkey "$pki/ca.key" -CAcreateserial -days 365 -out "$pki/broker.crt" \
    -extfile <(echo "subjectAltName=IP:127.0.0.1,IP:$node_ip,DNS:localhost,DNS:kafka") 2> /dev/null
  cat "$pki/broker.key" "$pki/broker.crt" "$pki/ca.crt" > "$pki/broker.pem"
}

kafka_authority() { # NAME SUBJECT
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 -subj "/CN=$2" \
    -keyout "$kafka/pki/$1.key" -out "$kafka/pki/$1.crt" 2> /dev/null
}

plain_users() { # the users of the PLAIN mechanism, which the broker keeps in its own configuration
  local name
  for name in "${principals[@]}"; do printf ' user_%s="%s"' "$name" "$(password_of "$name")"; done
}

client_properties() { # PRINCIPAL: for `--command-config` of Kafka's tools against the SASL_SSL listener
  cat <<PROPERTIES
security.protocol=SASL_SSL
sasl.mechanism=SCRAM-SHA-512
sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required username="$1" password="$(password_of "$1")";
ssl.truststore.type=PEM
ssl.truststore.location=$kafka/pki/ca.crt
PROPERTIES
}

broker_properties() { # ID
  cat <<PROPERTIES
process.roles=broker,controller
node.id=$1
controller.quorum.voters=1@127.0.0.1:24091,2@127.0.0.1:24092,3@127.0.0.1:24093
listeners=PLAIN://127.0.0.1:1909$1,SECURE://$node_ip:2909$1,PODS://$node_ip:4909$1,CONTROLLER://127.0.0.1:2409$1
advertised.listeners=PLAIN://127.0.0.1:1909$1,SECURE://$node_ip:2909$1,PODS://$node_ip:4909$1
listener.security.protocol.map=PLAIN:PLAINTEXT,SECURE:SASL_SSL,PODS:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAIN
controller.listener.names=CONTROLLER
ssl.keystore.type=PEM
ssl.keystore.location=$kafka/pki/broker.pem
ssl.truststore.type=PEM
ssl.truststore.location=$kafka/pki/ca.crt
sasl.enabled.mechanisms=SCRAM-SHA-512,SCRAM-SHA-256,PLAIN
listener.name.secure.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.secure.scram-sha-256.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.secure.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required$(plain_users);
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:admin
log.dirs=$kafka/data-$1
offsets.topic.num.partitions=6
offsets.topic.replication.factor=3
transaction.state.log.num.partitions=6
transaction.state.log.replication.factor=3
transaction.state.log.min.isr=2
share.coordinator.state.topic.num.partitions=3
share.coordinator.state.topic.replication.factor=3
share.coordinator.state.topic.min.isr=2
group.initial.rebalance.delay.ms=0
broker.heartbeat.interval.ms=1000
broker.session.timeout.ms=6000
auto.create.topics.enable=false
delete.topic.enable=true
default.replication.factor=3
min.insync.replicas=2
PROPERTIES
}
