# shellcheck shell=bash
# Programs from the distribution: commands that are installed where they are missing, and servers that are only unpacked, because
# installing one starts it as a service. Sourced by scripts/tools.

for name in caddy docker-registry gh haproxy nginx skopeo squid; do pin "$name" debian; done # whatever the distribution ships

as_root() {
  if ((EUID == 0)); then "$@"; else sudo "$@"; fi
}

apt_lists() { # apt_lists NAME
  command -v apt-get >/dev/null || die "no apt-get here: please install $1 yourself"
  if [[ -z ${apt_updated:-} ]]; then
    quietly apt-update as_root apt-get update
    apt_updated=1
  fi
}

debian_command() { # debian_command COMMAND PACKAGE
  command -v "$1" >/dev/null && return
  apt_lists "$1"
  quietly "apt-$2" as_root env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$2"
  command -v "$1" >/dev/null || die "$1: the package $2 is installed, but there is no command $1"
}

# debian_unpacked NAME PACKAGE...: takes the packages apart into .tools/NAME. Dependencies are not looked for: what a fresh
# machine may lack has to be named.
debian_unpacked() {
  local name=$1 to=$tools/$1 package
  shift
  apt_lists "$name"
  rm -rf "$to" && mkdir -p "$to/packages"
  chmod 777 "$to/packages" # where apt's own user writes
  (cd "$to/packages" && quietly "$name" apt-get download "$@")
  for package in "$to"/packages/*.deb; do dpkg-deb --extract "$package" "$to"; done
  rm -rf "$to/packages"
}

# with_libraries NAME PROGRAM: a command that starts the unpacked program with the libraries unpacked beside it.
with_libraries() {
  local root=$tools/$1 libraries
  libraries=$(compgen -G "$root/usr/lib/*-linux-*") || die "$1: no library was unpacked"
  command_file "$1" env "LD_LIBRARY_PATH=$libraries" "$root/$2"
}

install_nginx() {
  debian_unpacked nginx nginx
  link nginx "$tools/nginx/usr/sbin/nginx"
  "$bin/nginx" -V 2>&1 | grep --quiet -e --with-http_auth_request_module ||
    die "nginx: it does not run here or has no auth_request; 'ldd $bin/nginx' tells which library is missing"
}

install_caddy() {
  debian_unpacked caddy caddy
  link caddy "$tools/caddy/usr/bin/caddy"
  "$bin/caddy" version >/dev/null || die "caddy: it does not run here; 'ldd $bin/caddy' tells which library is missing"
}

install_gh() {
  debian_unpacked gh gh
  link gh "$tools/gh/usr/bin/gh"
  "$bin/gh" --version >/dev/null || die "gh: it does not run here; 'ldd $bin/gh' tells which library is missing"
}

install_haproxy() {
  debian_unpacked haproxy haproxy liblua5.3-0 libopentracing-c-wrapper0 libopentracing1
  with_libraries haproxy usr/sbin/haproxy
  "$bin/haproxy" -vv | grep --quiet +LUA || die "haproxy: it does not run here or has no Lua, without which it can't ask anybody"
}

# Its pages and its certificate generator are in .tools/squid/usr/{share,lib}/squid: a configuration has to name them.
install_squid() {
  debian_unpacked squid squid-openssl squid-common squid-langpack libecap3 libltdl7 libnetfilter-conntrack3 libnfnetlink0
  with_libraries squid usr/sbin/squid
  "$bin/squid" -v >/dev/null || die "squid: it does not run here; 'ldd $tools/squid/usr/sbin/squid' tells which library is missing"
}

# It signs nothing here; GPG is what it is linked with.
install_skopeo() {
  debian_unpacked skopeo skopeo libgpgme11 libassuan0 libdevmapper1.02.1
  with_libraries skopeo usr/bin/skopeo
  "$bin/skopeo" --version >/dev/null || die "skopeo: it does not run here; 'ldd $tools/skopeo/usr/bin/skopeo' tells which library is missing"
}

install_docker-registry() {
  debian_unpacked docker-registry docker-registry
  link docker-registry "$tools/docker-registry/usr/bin/docker-registry"
  "$bin/docker-registry" --version >/dev/null
}
