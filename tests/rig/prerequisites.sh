# shellcheck shell=bash
# What the machine must offer: Debian packages for the rig and for building the project. Called by `up`, `build` and `prerequisites`.

# A command or a file, and the Debian 12 package that brings it.
required_packages() {
  cat <<'TABLE'
/usr/bin/containerd          containerd
/usr/sbin/runc               runc
/usr/bin/buildah             buildah
/usr/lib/cni/bridge          containernetworking-plugins
/usr/sbin/iptables           iptables
/sbin/ip                     iproute2
/sbin/sysctl                 procps
/usr/bin/flock               util-linux
/bin/mount                   mount
/usr/bin/openssl             openssl
/etc/ssl/certs/ca-certificates.crt ca-certificates
/usr/bin/jq                  jq
cc                           gcc
c++                          g++
make                         make
cmake                        cmake
pkg-config                   pkg-config
/usr/include/openssl/ssl.h   libssl-dev
/usr/include/zlib.h          zlib1g-dev
/usr/include/stdio.h         libc6-dev
java                         openjdk-17-jdk-headless
javac                        openjdk-17-jdk-headless
mvn                          maven
TABLE
}

rig_prerequisites() {
  local probe package missing=()
  while read -r probe package; do
    case $probe in
      /*) [ -e "$probe" ] || missing+=("$package") ;;
      *) command -v "$probe" > /dev/null || missing+=("$package") ;;
    esac
  done < <(required_packages)
  if [ ${#missing[@]} -gt 0 ]; then install_packages "${missing[@]}"; fi
  require_go
}

install_packages() { # PACKAGE...
  local log="$state/logs/packages.log"
  [ "$(id -u)" = 0 ] || die "These Debian packages are missing and only root can install them: $*."
  command -v apt-get > /dev/null || die "This is not a Debian machine; install what corresponds to these packages: $*."
  say "installing Debian packages: $*"
  mkdir -p "$state/logs"
  { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"; } > "$log" 2>&1 9>&- ||
    die "Installing the packages $* failed; apt-get's words are in $log."
  stop_packaged_containerd
}

# Debian's containerd package starts a service of its own where systemd runs; the rig runs its own and needs no second one.
stop_packaged_containerd() {
  if [ -d /run/systemd/system ]; then systemctl disable --now containerd.service > /dev/null 2>&1 || true; fi
}

require_go() {
  local version
  version=$(go env GOVERSION 2>/dev/null) || die "Go 1.24 or newer is needed to build Kubernetes; install it from https://go.dev/dl/."
  case $version in
    go1.[0-9] | go1.[0-9].* | go1.1[0-9] | go1.1[0-9].* | go1.20*)
      die "Go 1.24 or newer is needed to build Kubernetes, but this machine has $version; install a newer one from https://go.dev/dl/." ;;
  esac
}
