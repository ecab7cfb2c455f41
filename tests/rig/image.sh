# shellcheck shell=bash
# Images from local binaries, without a registry, and their way into the cluster.
#
# The project's Dockerfile builds its `runtime` stage from a tree that its `builder` stage leaves behind; here the same tree is
# made on this machine (image/tree.sh) and stands in for that stage, so no base image is needed.

image_build_and_load() { # NAME:TAG BINARY...: prints the reference of the image by its content, NAME:HASH
  [ $# -ge 2 ] || usage
  local name=$1 first hash archive dockerfile=$checkout/Dockerfile work unique
  shift
  for first in "$@"; do [ -x "$first" ] || die "There is no program $first; build it first."; done
  [ "$(basename "$1")" = weir ] || dockerfile=$rig_source/image/Dockerfile
  rig_prerequisites
  hash=$(image_hash "$dockerfile" "$@")
  unique=${name%:*}:$hash
  archive=$cache/images/$(tr '/:' '__' <<< "$name")-$hash.tar
  if [ ! -f "$archive" ]; then
    say "building $name"
    mkdir -p "$cache/images" "$state/logs"
    work=$(mktemp -d "$cache/.building-XXXXXX")
    (set -e; image_build "$dockerfile" "$work" "$unique" "$@") > "$state/logs/image.log" 2>&1 &
    wait $! || die "Building $name failed; the tail of $state/logs/image.log: $(tail -n 5 "$state/logs/image.log" | tr '\n' ' ')"
    rm -f "$cache/images/$(tr '/:' '__' <<< "$name")"-*.tar
    mv "$work/image.tar" "$archive"
    rm -rf "$work"
  fi
  if process_lives "$state/run/containerd"; then image_load "$archive" "$name" "$unique"; fi
  printf '%s\n' "$unique"
}

image_hash() { # DOCKERFILE BINARY...
  hash_of "$@" "$rig_source/image/tree.sh" <<< "${*##*/}"
}

image_build() { # DOCKERFILE FOLDER REFERENCE BINARY...
  local dockerfile=$1 folder=$2 reference=$3
  shift 3
  "$rig_source/image/tree.sh" "$folder/tree" "$@"
  if [ "$dockerfile" != "$checkout/Dockerfile" ]; then ln -s "/usr/local/bin/$(basename "$1")" "$folder/tree/program"; fi
  mkdir "$folder/empty"
  oci_archive "$dockerfile" "$folder/empty" "$reference" "$folder/image.tar" --target runtime --build-context "builder=$folder/tree"
}

oci_archive() { # DOCKERFILE CONTEXT REFERENCE ARCHIVE [BUILD_OPTION...]
  local dockerfile=$1 context=$2 reference=$3 archive=$4 store
  shift 4
  store=$(mktemp -d "$cache/.building-XXXXXX")
  local buildah=(buildah --root "$store/root" --runroot "$store/run" --storage-driver vfs)
  "${buildah[@]}" bud --quiet --isolation chroot --timestamp 0 --file "$dockerfile" --tag "$reference" "$@" "$context"
  "${buildah[@]}" push --quiet --disable-compression "$reference" "oci-archive:$archive:$reference"
  rm -rf "$store"
}

image_load() { # ARCHIVE NAME:TAG UNIQUE_REFERENCE: makes both references point at the image, once
  if [ "$(image_digest "$2")" = "$(image_digest "$3")" ] && [ -n "$(image_digest "$3")" ]; then return 0; fi
  ctr_rig image import "$1" > /dev/null
  ctr_rig image tag --force "$3" "$2" > /dev/null
}

image_digest() { ctr_rig image ls "name==$1" | awk 'NR == 2 {print $3}'; } # REFERENCE

rig_load() { # ARCHIVE NAME:TAG
  [ $# -eq 2 ] || usage
  process_lives "$state/run/containerd" || die "The rig is down; start it with 'rig.sh up'."
  ctr_rig image import "$1" > /dev/null
  [ -n "$(image_digest "$2")" ] || die "The archive $1 holds no image named $2."
}
