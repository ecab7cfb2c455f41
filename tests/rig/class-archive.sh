# shellcheck shell=bash
# An archive of Kafka's loaded classes, which halves the start of a broker and of a tool (Java's class data sharing).
#
# It is made from the classes that one broker and the tools load in a run of their own. It names the jars by their full paths,
# so it is an artifact apart from them; a Java that cannot use it starts without it and says nothing.

build_class_archive() { # FOLDER
  local folder=$1 lists=$1/lists broker
  mkdir "$lists"
  training_properties "$folder" > "$folder/training.properties"
  train_with "$lists/format" kafka.tools.StorageTool format --cluster-id "$cluster_id" --config "$folder/training.properties" \
    --add-scram 'SCRAM-SHA-512=[name=training,password=training]'
  timeout 120 java -XX:DumpLoadedClassList="$lists/broker" -Xmx512m -Dlog4j2.configurationFile="$kafka_folder/quiet.properties" \
    -cp "$kafka_folder/libs/*" kafka.Kafka "$folder/training.properties" &
  broker=$!
  train_with "$lists/rights" Acls 127.0.0.1:19191 1 "$rig_source/kafka/acls"
  train_with "$lists/topics" org.apache.kafka.tools.TopicCommand --bootstrap-server 127.0.0.1:19191 --create --topic training
  train_with "$lists/offsets" org.apache.kafka.tools.GetOffsetShell --bootstrap-server 127.0.0.1:19191 --topic training
  kill "$broker"
  wait "$broker" || true
  # Classes of other loaders and the numbers of one run do not fit into a list for several.
  grep -hv ' source: ' "$lists"/* | sed 's/ id: [0-9]*$//' | awk '!seen[$0]++' > "$folder/classes"
  java -Xshare:dump -Xlog:cds=error -XX:SharedClassListFile="$folder/classes" -XX:SharedArchiveFile="$folder/kafka.jsa" -cp "$kafka_folder/libs/*"
  rm -rf "$lists" "$folder"/data "$folder"/training.properties
}

train_with() { # LIST CLASS ARGUMENTS...
  local list=$1
  shift
  java -XX:DumpLoadedClassList="$list" -Dlog4j2.configurationFile="$kafka_folder/quiet.properties" -cp "$kafka_folder/libs/*" "$@"
}

training_properties() { # FOLDER: one broker on ports that nothing else of the rig uses
  cat <<PROPERTIES
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:39191
listeners=PLAIN://127.0.0.1:19191,CONTROLLER://127.0.0.1:39191
listener.security.protocol.map=PLAIN:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAIN
controller.listener.names=CONTROLLER
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
log.dirs=$1/data
PROPERTIES
}

java_release() { # what tells one Java from another without starting it
  local java
  java=$(readlink -f "$(command -v java)") || return 0
  printf '%s ' "$java"
  cat "${java%/bin/java}/release" 2> /dev/null || true
}
