# shellcheck shell=bash
# Images from local binaries, without a registry, and their way into the cluster.
#
# The project's Dockerfile builds its `runtime` stage from a tree that its `builder` stage leaves behind; here the same tree is
# made on this machine (image/tree.sh) and stands in for that stage, so no base image is needed.

image_build_and_load() { # NAME:TAG BINARY...: prints the reference of the image by its content, NAME:HASH
  [ $# -ge 2 ] || usage
  local name=$1 program work hash archive unique dockerfile=$checkout/Dockerfile
  shift
  for program in "$@"; do [ -x "$program" ] || die "There is no program $program; build it first."; done
  rig_prerequisites
  work=$(mktemp -d "$cache/.building-XXXXXX")
  "$rig_source/image/tree.sh" "$work/tree" "$@"
  if [ "$(basename "$1")" != weir ]; then
    dockerfile=$rig_source/image/Dockerfile
    ln -s "/usr/local/bin/$(basename "$1")" "$work/tree/program"
  fi
  hash=$(tar --sort=name --mtime=@0 --create --directory "$work" tree | hash_of "$dockerfile")
  unique=${name%:*}:$hash
  archive=$cache/images/$(tr '/:' '__' <<< "$name")-$hash.tar
  [ -f "$archive" ] || image_build "$dockerfile" "$work" "$unique" "$archive"
  rm -rf "$work"
  if process_lives "$state/run/containerd"; then image_load "$archive" "$name" "$unique"; fi
  printf '%s\n' "$unique"
}

image_build() { # DOCKERFILE FOLDER REFERENCE ARCHIVE: the tree in FOLDER stands in for the Dockerfile's stage `builder`
  local log=$state/logs/image.log
  say "building the image $3"
  mkdir -p "$cache/images" "$state/logs" "$2/empty"
  (set -e; oci_archive "$1" "$2/empty" "$3" "$2/image.tar" --target runtime --build-context "builder=$2/tree") > "$log" 2>&1 &
  wait $! || die "Building the image $3 failed; the tail of $log: $(tail -n 5 "$log" | tr '\n' ' ')"
  rm -f "${4%-*}"-*.tar
  mv "$2/image.tar" "$4"
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
