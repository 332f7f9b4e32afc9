/** What the user can do where the agent cannot be reached. */
import type { ConnectionError, Target } from "../client/client.ts";

const untrusted = "--ca must name the authority that signed the agent's certificate";

/** By the code of the error. */
const hints: Readonly<Record<string, string>> = {
  ENOENT: "no socket is there: the agent does not run, or --socket (NATGW_SOCKET) names another path",
  ECONNREFUSED: "nobody listens there: the agent does not run, or is just starting",
  EACCES: "the socket is only for its owner: run natgwctl as root",
  SELF_SIGNED_CERT_IN_CHAIN: untrusted,
  DEPTH_ZERO_SELF_SIGNED_CERT: untrusted,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: untrusted,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: untrusted,
  ERR_TLS_CERT_ALTNAME_INVALID: "--server must have a name or an address that the agent's certificate has",
  CERT_HAS_EXPIRED: "the agent needs a new certificate; its socket works without one",
  EPROTO: "that port does not speak TLS: the agent's has http:// on loopback alone",
};

/** What usually is the reason. */
export function hintsOf({ cause }: ConnectionError, target: Target): readonly string[] {
  const hint = cause instanceof Error ? hintOf(cause, target) : undefined;
  return hint === undefined ? [] : [hint];
}

function hintOf(cause: Error, target: Target): string | undefined {
  if (cause.name === "TimeoutError") return "the agent is busy, or hangs: --request-timeout waits longer";
  const code = "code" in cause ? String(cause.code) : "";
  const isPlain = "server" in target && target.server.startsWith("http:");
  return code === "ECONNRESET" && isPlain ? "the port may want TLS: use https://" : hints[code];
}
