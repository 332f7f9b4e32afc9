/** What of the API the kernel is to keep closed, from where it listens. */
import { once } from "node:events";
import { createServer } from "node:net";
import type { ApiGuard, OpenEndpoint } from "../../lib/model/api-guard.ts";
import { GatewayError } from "../../lib/model/errors.ts";
import type { InterfaceName } from "../../lib/model/names.ts";
import type { Endpoint } from "../config/values.ts";
import type { InterfaceAddresses } from "../kernel/network/interface-addresses.ts";
import { formatEndpoint, isLoopbackHost, isSameAddress } from "./listen-address.ts";

/**
 * All ports are closed, but for the addresses beyond loopback, over the interface that has them. An address that no interface has,
 * or the external one, stays closed.
 */
export function apiGuardOf(
  endpoints: readonly Endpoint[],
  interfaces: InterfaceAddresses,
  externalInterface: InterfaceName,
): ApiGuard {
  const open = endpoints.flatMap(({ host, port }): readonly OpenEndpoint[] => {
    if (isLoopbackHost(host)) return [];
    const name = Object.entries(interfaces).find(([, addresses]) =>
      addresses.some((address) => isSameAddress(address, host)),
    )?.[0];
    if (name === undefined || name === externalInterface) return [];
    return [{ interface: name as InterfaceName, address: host.split("%")[0] ?? host, port }];
  });
  return { ports: [...new Set(endpoints.map(({ port }) => port))].sort((one, other) => one - other), open };
}

/**
 * Puts a free port in place of each port 0: the kernel has to keep it closed before the API listens on it.
 * @throws `bad-config` if the address cannot be used
 */
export function withPorts(endpoints: readonly Endpoint[]): Promise<readonly Endpoint[]> {
  return Promise.all(
    endpoints.map(async (endpoint) =>
      endpoint.port === 0 ? { ...endpoint, port: await freePort(endpoint) } : endpoint,
    ),
  );
}

/** Whoever connects in between is hung up on. */
async function freePort(endpoint: Endpoint): Promise<number> {
  const server = createServer((socket) => socket.destroy());
  server.listen({ ...endpoint, ipv6Only: true });
  try {
    await once(server, "listening");
  } catch (cause) {
    const message = cause instanceof Error ? cause.message : String(cause);
    throw new GatewayError(
      "bad-config",
      `NATGW_LISTEN: cannot listen on ${formatEndpoint(endpoint)}: ${message}`,
      {
        cause,
      },
    );
  }
  const bound = server.address();
  server.close();
  await once(server, "close");
  return typeof bound === "object" && bound !== null ? bound.port : endpoint.port;
}
