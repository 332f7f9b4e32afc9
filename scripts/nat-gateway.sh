#!/bin/bash
# Kube-OVN's controller runs this in a gateway pod: nat-gateway.sh OPERATION RULE...
# It passes its arguments to the agent, and prints what the agent answers. docs/kube-ovn.md describes the operations.
set -uo pipefail

socket=${NATGW_SOCKET:-/run/natgw/agent.sock}
# Seconds to wait for an agent that starts, and for an answer. The agent itself answers within about 35.
start_seconds=10
answer_seconds=120

fail() {
  printf '%s\n' "$*" >&2
  exit 1
}

# Outside the controller's lock, up to 12 at once. Anything on stderr would cost the SNATs their --random-fully.
if [[ ${1-} == get-iptables-version ]]; then
  version=$(iptables --version 2>/dev/null) || fail "iptables --version failed"
  printf '%s\n' "$version"
  exit 0
fi

# The arguments each end with NUL, which no argument can contain.
ask() {
  printf '%s\0' "$@" |
    curl --disable --silent --show-error --noproxy '*' --unix-socket "$socket" --max-time "$answer_seconds" \
      --header 'content-type: application/octet-stream' --header 'expect:' \
      --data-binary @- http://localhost/v1/kube-ovn/nat-gateway 2>&1
}

# The pods of Kube-OVN 1.14 have no GATEWAY_V4, so nothing has started the agent yet. Returns at once.
start_agent() {
  started=yes
  [[ -n ${GATEWAY_V4+set} ]] || ! type -P natgw-supervisor >/dev/null || natgw-supervisor start
}

# Calls can be repeated: so is one that the agent did not accept (7) or whose connection was lost (52, 56).
started=
while true; do
  answer=$(ask "$@")
  status=$?
  case $status in
    7 | 52 | 56) ((SECONDS < start_seconds)) || break ;;
    *) break ;;
  esac
  [[ -n $started ]] || start_agent
  sleep 0.1
done
((status == 0)) || fail "the agent does not answer on $socket: $answer"

code=
while IFS= read -r line; do
  case $line in
    'out '*) printf '%s\n' "${line#out }" ;;
    'err '*) printf '%s\n' "${line#err }" >&2 ;;
    'exit '[0-9]) code=${line#exit } ;;
    *) fail "the agent refused the call: $line" ;;
  esac
done <<<"$answer"
# Without its last line the answer was cut.
[[ -n $code ]] || fail "the agent's answer is not complete"
exit "$code"
