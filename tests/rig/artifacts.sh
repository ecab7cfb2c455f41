# shellcheck shell=bash
# What is built once and kept in the cache: Kubernetes, Helm, Kafka's jars and their class archive, the pause image.
#
# Every artifact lives in a folder named after a hash of its inputs. It is built elsewhere and moved into place in one step,
# so a folder that exists is whole, and a build that was killed leaves only a `.building-` folder, which the next one removes.

kubernetes_version=1.34.4
helm_version=3.22.0
go_linker_flags="-s -w -X k8s.io/component-base/version.gitVersion=v$kubernetes_version"
go_linker_flags+=" -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=34"

hash_of() { # [FILE...] (and the text on standard input): twelve hexadecimal digits
  cat "$@" - | sha256sum | cut -c1-12
}

artifact_folders() { # sets the variables that the other parts read
  local go_sources=("$rig_source"/kubernetes/{go.mod,go.sum,main.go})
  kubernetes_folder=$cache/kubernetes-$kubernetes_version-$(hash_of "${go_sources[@]}" <<< "$go_linker_flags")
  helm_folder=$cache/helm-$helm_version
  kafka_folder=$cache/kafka-$(hash_of "$rig_source"/kafka/{pom.xml,Acls.java,quiet.properties} <<< "$(declare -f build_kafka)")
  class_archive_folder=$cache/kafka-classes-$(hash_of <<< "$kafka_folder $(java_release) $(declare -f build_class_archive)")
  # Short runs: a small heap, no optimizing compiler, classes from the archive.
  java_tool=(java -Xmx256m -XX:TieredStopAtLevel=1 "-XX:SharedArchiveFile=$class_archive_folder/kafka.jsa"
    "-Dlog4j2.configurationFile=$kafka_folder/quiet.properties" -cp "$kafka_folder/libs/*")
  pause_folder=$cache/pause-$(hash_of "$rig_source"/image/pause.c <<< "$(declare -f build_pause)")
}

rig_build() {
  rig_prerequisites
  artifact_folders # again, as Java may only now be there
  rm -rf "$cache"/.building-*
  artifact "$kafka_folder" "Kafka's jars" build_kafka
  artifact "$class_archive_folder" "the archive of Kafka's classes" build_class_archive
  artifact "$pause_folder" "the pause image" build_pause
  artifact "$kubernetes_folder" "Kubernetes $kubernetes_version (several minutes, once)" build_kubernetes
  artifact "$helm_folder" "Helm $helm_version (some minutes, once)" build_helm
}

artifact() { # FOLDER WHAT FUNCTION: calls FUNCTION with an empty folder unless FOLDER exists
  local folder=$1 what=$2 build=$3 temporary log="$state/logs/build.log" began=$SECONDS
  [ ! -d "$folder" ] || return 0
  say "building $what"
  mkdir -p "$state/logs"
  temporary=$(mktemp -d "$cache/.building-XXXXXX")
  chmod 755 "$temporary"
  # A subshell of its own, not a condition: `set -e` must hold inside the build.
  (set -e; "$build" "$temporary") > "$log" 2>&1 &
  wait $! || die "Building $what failed; the tail of $log: $(tail -n 5 "$log" | tr '\n' ' ')"
  mv -T "$temporary" "$folder"
  say "built $what in $((SECONDS - began)) s"
}

build_kubernetes() { # FOLDER
  cd "$rig_source/kubernetes"
  CGO_ENABLED=0 GOWORK=off GOFLAGS=-mod=readonly go build -trimpath -ldflags "$go_linker_flags" -o "$1/kubernetes" .
}

build_helm() { # FOLDER
  CGO_ENABLED=0 GOWORK=off GOFLAGS='' GOBIN="$1" go install -trimpath \
    -ldflags "-s -w -X helm.sh/helm/v3/internal/version.version=v$helm_version" "helm.sh/helm/v3/cmd/helm@v$helm_version"
}

build_kafka() { # FOLDER
  cp "$rig_source"/kafka/quiet.properties "$1/"
  mvn -q -B -f "$rig_source/kafka/pom.xml" dependency:copy-dependencies -DoutputDirectory="$1/libs"
  mkdir "$1/classes"
  javac -d "$1/classes" -cp "$1/libs/*" "$rig_source/kafka/Acls.java"
  jar --create --file "$1/libs/weir-rig-acls.jar" -C "$1/classes" .
  rm -r "$1/classes"
}

build_pause() { # FOLDER
  mkdir "$1/tree"
  cc -O2 -static -o "$1/tree/pause" "$rig_source/image/pause.c"
  printf 'FROM scratch\nCOPY pause /pause\nUSER 65535:65535\nENTRYPOINT ["/pause"]\n' > "$1/Dockerfile"
  oci_archive "$1/Dockerfile" "$1/tree" localhost/pause:1 "$1/pause.tar"
}

artifact_folders
