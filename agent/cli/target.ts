/** Where the agent is, from options and environment. */
import { isIP } from "node:net";
import type { Target } from "../client/client.ts";
import { UsageFailure } from "./failures.ts";

export interface TargetOptions {
  readonly socket?: string;
  readonly server?: string;
  readonly tokenFile?: string;
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
}

export const defaultSocket = "/run/natgw/agent.sock";

/** Options win over the environment. @throws UsageFailure where they contradict each other */
export function targetOf(
  { socket, server, tokenFile, ca, cert, key }: TargetOptions,
  environment: Readonly<Record<string, string | undefined>>,
): Target {
  if (server === undefined) {
    const needing = Object.entries({ "--token-file": tokenFile, "--ca": ca, "--cert": cert, "--key": key });
    const [given] = needing.find(([, value]) => value !== undefined) ?? [];
    if (given !== undefined) throw new UsageFailure(`${given} needs --server`);
    return { socket: socket ?? (environment.NATGW_SOCKET || defaultSocket) };
  }
  if (socket !== undefined) throw new UsageFailure("--socket and --server: give one of them");
  if ((cert === undefined) !== (key === undefined))
    throw new UsageFailure("--cert needs --key, and --key needs --cert");
  const url = URL.parse(server);
  if (url === null || !["https:", "http:"].includes(url.protocol) || url.hostname === "")
    throw new UsageFailure(`--server must be a URL such as https://10.0.0.5:9477, not ${server}`);
  if (url.pathname !== "/" || url.search !== "" || url.username !== "")
    throw new UsageFailure(`--server must have nothing but a host and a port, not ${server}`);
  if (url.protocol === "http:" && !isLoopback(url.hostname))
    throw new UsageFailure("--server with http:// is for loopback addresses: use https://");
  if (url.protocol === "http:" && [ca, cert, key].some((file) => file !== undefined))
    throw new UsageFailure("--ca, --cert and --key need https://");
  return { server, tokenFile, ca, cert, key };
}

/** Nobody else can listen to what goes there. */
function isLoopback(host: string): boolean {
  return host === "localhost" || host === "[::1]" || (isIP(host) === 4 && host.split(".")[0] === "127");
}
