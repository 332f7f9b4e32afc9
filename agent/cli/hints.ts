/** What the user can do where the agent cannot be reached. */
import type { ConnectionError, Target } from "../client/client.ts";

/** What usually is the reason. */
export function hintsOf({ cause }: ConnectionError, target: Target): readonly string[] {
  if (cause instanceof Error && cause.name === "TimeoutError")
    return ["the agent is busy, or hangs: --request-timeout waits longer"];
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
  switch (code) {
    case "ENOENT":
      return ["no socket is there: the agent does not run, or --socket (NATGW_SOCKET) names another path"];
    case "ECONNREFUSED":
      return ["nobody listens there: the agent does not run, or is just starting"];
    case "EACCES":
      return ["the socket is only for its owner: run natgwctl as root"];
    case "SELF_SIGNED_CERT_IN_CHAIN":
    case "DEPTH_ZERO_SELF_SIGNED_CERT":
    case "UNABLE_TO_VERIFY_LEAF_SIGNATURE":
    case "UNABLE_TO_GET_ISSUER_CERT_LOCALLY":
      return ["--ca must name the authority that signed the agent's certificate"];
    case "ERR_TLS_CERT_ALTNAME_INVALID":
      return ["--server must have a name or an address that the agent's certificate has"];
    case "CERT_HAS_EXPIRED":
      return ["the agent needs a new certificate; its socket works without one"];
    case "EPROTO":
      return ["that port does not speak TLS: the agent's has http:// on loopback alone"];
    case "ECONNRESET":
      return "server" in target && target.server.startsWith("http:")
        ? ["the port may want TLS: use https://"]
        : [];
    default:
      return [];
  }
}
