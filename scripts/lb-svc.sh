#!/bin/bash
# Kube-OVN's controller runs this in the pod of a load-balancer Service: lb-svc.sh OPERATION RULE...
#   init                                                   packets from net1 and eth0 are routed by table 100
#   eip-add   ip/len,gateway                               the address on net1, its routes in table 100
#   dnat-add  ip,port,proto,clusterIP,targetPort,gateway   the port leads to the cluster IP, by the gateway on eth0
#   dnat-del  ip,port,proto,clusterIP,targetPort
# No agent runs in these pods: the script writes to the kernel itself. Every operation can be repeated.
set -euo pipefail

external=net1
cluster=eth0
table=100
forwarding=/proc/sys/net/ipv4/ip_forward

fail() {
  printf '%s\n' "$*" >&2
  exit 1
}

# Arguments become commands only if they are exactly what they should be. $1 is the value, $2 what it belongs to.
octet='(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])'
address="$octet(\.$octet){3}"

check_ip() { [[ $1 =~ ^${address}$ ]] || fail "$2: not an address: ${1@Q}"; }

check_cidr() { [[ $1 =~ ^${address}/(3[0-2]|[12]?[0-9])$ ]] || fail "$2: not address/prefix length: ${1@Q}"; }

check_port() {
  [[ $1 =~ ^[1-9][0-9]{0,4}$ ]] || fail "$2: not a port: ${1@Q}"
  (($1 <= 65535)) || fail "$2: not a port: ${1@Q}"
}

# Splits the rule $1 of $2 fields into the array `fields`. Where subnets have both families, the controller passes the addresses
# of both. Those of IPv6 are left out.
split() {
  local rest=$1,
  fields=()
  while [[ -n $rest ]]; do
    [[ ${rest%%,*} == *:* ]] || fields+=("${rest%%,*}")
    rest=${rest#*,}
  done
  ((${#fields[@]} == $2)) || fail "$operation: ${1@Q} must have $2 fields"
}

nat() { iptables --wait 5 --table nat "$@"; }

# The rules of a chain of nat. While it lists, iptables-nft warns of tables of iptables-legacy, and the controller takes a call for
# failed if there is anything on stderr. Only what fails may speak.
rules_in() { nat --list-rules "$1" 2>/dev/null || nat --list-rules "$1"; }

# Adds a rule at the end of a chain of nat if it is not there.
ensure_rule() { nat --check "$@" 2>/dev/null || nat --append "$@"; }

# Removes a rule as often as it is there.
remove_rule() { while nat --check "$@" 2>/dev/null; do nat --delete "$@"; done; }

# The network of ip/len.
network_of() {
  local ip=${1%/*} length=${1#*/} value=0 part
  local -a parts
  IFS=. read -ra parts <<<"$ip"
  for part in "${parts[@]}"; do value=$((value << 8 | part)); done
  value=$((length == 0 ? 0 : value & (0xffffffff << (32 - length) & 0xffffffff)))
  network=$((value >> 24)).$((value >> 16 & 255)).$((value >> 8 & 255)).$((value & 255))/$length
}

init() {
  local interface rules
  rules=$(ip -4 rule show)
  for interface in "$external" "$cluster"; do
    [[ -e /sys/class/net/$interface ]] || fail "init: interface $interface does not exist"
    [[ $rules == *"iif $interface lookup $table"* ]] || ip -4 rule add iif "$interface" lookup "$table"
  done
  [[ $(<"$forwarding") == 1 ]] || printf '1\n' >"$forwarding"
}

add_eip() {
  local network
  split "$1" 2
  check_cidr "${fields[0]}" "$operation"
  check_ip "${fields[1]}" "$operation"
  init
  ip -4 address replace "${fields[0]}" dev "$external"
  network_of "${fields[0]}"
  ip -4 route replace "$network" dev "$external" table "$table"
  ip -4 route replace default via "${fields[1]}" dev "$external" onlink table "$table"
  # The kernel asks who has the gateway's address. From that the router learns the MAC of this pod.
  ip -4 neighbor replace "${fields[1]}" dev "$external" use 2>/dev/null || true
}

# Sets `dnat`: the rule of a port, and `dnat_prefix`: how a DNAT of this port begins when it is listed.
rules_of() {
  local ip=${fields[0]} port=${fields[1]} protocol=${fields[2],,} to=${fields[3]} to_port=${fields[4]}
  check_ip "$ip" "$operation"
  check_port "$port" "$operation"
  [[ $protocol == tcp || $protocol == udp || $protocol == sctp ]] ||
    fail "$operation: not tcp, udp or sctp: ${fields[2]@Q}"
  check_ip "$to" "$operation"
  check_port "$to_port" "$operation"
  dnat=(PREROUTING --destination "$ip/32" --protocol "$protocol" --match "$protocol" --destination-port "$port"
    --jump DNAT --to-destination "$to:$to_port")
  dnat_prefix="-A PREROUTING -d $ip/32 -p $protocol -m $protocol --dport $port -j DNAT --to-destination "
}

# Removes the DNATs of the port to other targets. They would come first: the controller forgets a change while it restarts.
remove_other_dnats() {
  local rules rule other target=${dnat[-1]}
  rules=$(rules_in PREROUTING)
  while IFS= read -r rule; do
    [[ $rule == "$dnat_prefix"* && $rule != "$dnat_prefix$target" ]] || continue
    other=${rule#"$dnat_prefix"}
    nat --delete "${dnat[@]::${#dnat[@]}-1}" "$other"
    leave_target "${other%%:*}"
  done <<<"$rules"
}

# Removes what leads to a cluster IP, unless other ports lead there.
leave_target() {
  local rules
  rules=$(rules_in PREROUTING)
  [[ $rules != *"--to-destination $1:"* ]] || return 0
  remove_rule POSTROUTING --destination "$1/32" --jump MASQUERADE
  [[ -z $(ip -4 route show table "$table" exact "$1/32" 2>/dev/null) ]] ||
    ip -4 route del "$1/32" dev "$cluster" table "$table"
}

add_dnat() {
  local -a dnat
  local dnat_prefix
  split "$1" 6
  check_ip "${fields[5]}" "$operation"
  rules_of
  init
  ip -4 route replace "${fields[3]}/32" via "${fields[5]}" dev "$cluster" onlink table "$table"
  ensure_rule "${dnat[@]}"
  remove_other_dnats
  ensure_rule POSTROUTING --destination "${fields[3]}/32" --jump MASQUERADE
}

remove_dnat() {
  local -a dnat
  local dnat_prefix
  split "$1" 5
  rules_of
  remove_rule "${dnat[@]}"
  leave_target "${fields[3]}"
}

operation=${1-}
(($# > 0)) && shift
case $operation in
  init) (($# == 0)) || fail "init takes no rule" ;;
  eip-add | dnat-add | dnat-del) (($# > 0)) || fail "$operation: a rule is missing" ;;
  *) fail "there is no operation ${operation@Q}" ;;
esac

case $operation in
  init) init ;;
  eip-add) for rule in "$@"; do add_eip "$rule"; done ;;
  dnat-add) for rule in "$@"; do add_dnat "$rule"; done ;;
  dnat-del) for rule in "$@"; do remove_dnat "$rule"; done ;;
esac
