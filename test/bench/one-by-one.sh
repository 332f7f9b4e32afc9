#!/usr/bin/env bash
# Programs a FIP as gateways are programmed by remote control: one command an exec; each looks whether its rule is
# there in a dump of all rules, and appends it where it is not. Here for comparison alone.
#   one-by-one.sh eip-add 198.18.0.1/15
#   one-by-one.sh floating-ip-add 198.18.0.1 10.64.0.1
# ARPING=1 announces a new address three times and waits for it, as is usual.
set -euo pipefail

append_once() {
  local chain=$1
  shift
  if ! iptables-nft-save -t nat | grep -qF -- "-A $chain $*"; then
    iptables-nft -t nat -A "$chain" "$@"
  fi
}

case $1 in
  eip-add)
    ip address replace "$2" dev net1
    address=${2%/*}
    [ -z "${ARPING:-}" ] || arping -q -c 3 -U -I net1 "$address" || true
    append_once HAIRPIN_SNAT -o eth0 -m mark --mark 0x1/0x1 -m conntrack --ctstate DNAT --ctorigdst "$address" \
      -j SNAT --to-source "$address" --random-fully
    ;;
  floating-ip-add)
    append_once EXCLUSIVE_DNAT -d "$2/32" -j DNAT --to-destination "$3"
    append_once EXCLUSIVE_SNAT -s "$3/32" -j SNAT --to-source "$2"
    ;;
  *) exit 2 ;;
esac
