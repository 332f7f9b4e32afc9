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

# Sends the arguments, each with a NUL at its end, and prints the answer. Ends with 75 if the call can be repeated: the agent did not
# accept it, or the connection was lost. Perl is in every Debian and starts faster than curl; modules would take longer than the call.
# shellcheck disable=SC2016 # Perl's own dollars
client='
  my ($path, $seconds, @arguments) = @ARGV;
  sub end { my ($status, $text) = @_; print $text; exit $status }
  my $body = join "", map { "$_\0" } @arguments;
  my $length = length $body;
  my $request = join "\r\n", "POST /v1/kube-ovn/nat-gateway HTTP/1.0", "content-type: application/octet-stream",
    "content-length: $length", "", $body;
  my ($local, $stream, $answer) = (1, 1, "");
  end(1, "the path is too long") if length $path > 107;
  $SIG{PIPE} = "IGNORE";
  $SIG{ALRM} = sub { end(1, "no answer within $seconds s") };
  alarm $seconds;
  socket(my $agent, $local, $stream, 0) or end(1, $!);
  connect($agent, pack("Sa108", $local, $path)) or end(75, $!);
  # An agent that refuses the call may answer before it has read all of it.
  while (my $sent = syswrite $agent, $request) { substr($request, 0, $sent) = "" }
  while (sysread $agent, $answer, 65536, length $answer) {}
  my ($head, $text) = split /\r\n\r\n/, $answer, 2;
  my ($expected) = ($head // "") =~ /^content-length: *(\d+)/im;
  end(75, "the connection was lost") if !defined $expected or length $text < $expected;
  end(75, "the agent is stopping") if $text eq "again\n";
  print $text;
'
# Of a locale that is not installed it would warn.
ask() { LC_ALL=C perl -C0 -e "$client" "$socket" "$answer_seconds" "$@" 2>&1; }

# The pods of Kube-OVN 1.14 have no GATEWAY_V4, so nothing has started the agent yet. Returns at once.
start_agent() {
  started=yes
  [[ -n ${GATEWAY_V4+set} ]] || ! type -P natgw-supervisor >/dev/null || natgw-supervisor start
}

started=
while true; do
  answer=$(ask "$@")
  status=$?
  ((status == 75 && SECONDS < start_seconds)) || break
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

# The agent is IPv4 only. An EIP brings the default route of IPv6 along, on the interface that holds it.
add_default_v6() {
  local device
  [[ $GATEWAY_V6 =~ ^[0-9a-fA-F:.]+$ ]] || fail "GATEWAY_V6: not an address: ${GATEWAY_V6@Q}"
  # "local 203.0.113.10 dev net1 …": also of an EIP that is bound by a route.
  read -r _ _ _ device _ <<<"$(ip -4 route show table local "${1%%/*}")"
  [[ -n $device && $(cat "/proc/sys/net/ipv6/conf/$device/disable_ipv6" 2>/dev/null) == 0 ]] || return 0
  [[ -n $(ip -6 route show default via "$GATEWAY_V6" dev "$device") ]] ||
    ip -6 route replace default via "$GATEWAY_V6" dev "$device" onlink || exit 1
}

[[ $code != 0 || ${1-} != eip-add || -z ${GATEWAY_V6-} ]] || add_default_v6 "$2"
exit "$code"
