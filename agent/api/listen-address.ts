/**
 * Where the API may listen. An EIP is a local address of this namespace, so a wildcard would be the Internet, and
 * so would be an address on the external interface.
 */
import { BlockList, isIPv6 } from "node:net";
import type { NetworkInterfaceInfo } from "node:os";
import { GatewayError } from "../../lib/model/errors.ts";
import type { Endpoint } from "../config/values.ts";

export function formatEndpoint({ host, port }: Endpoint): string {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`;
}

/** True for addresses that only this namespace's own processes reach. */
export function isLoopbackHost(host: string): boolean {
  return loopback.check(host, familyOf(host));
}

/**
 * Refuses wildcards, what stands on the external interface now, and EIPs: one that is bound by route stands nowhere.
 *
 * @param networkInterfaces as `os.networkInterfaces()` gives them.
 * @param eips those that are desired, as dotted quads
 * @throws `bad-config`.
 */
export function refuseUnsafe(
  endpoints: readonly Endpoint[],
  networkInterfaces: Readonly<Record<string, readonly Pick<NetworkInterfaceInfo, "address">[] | undefined>>,
  externalInterface: string,
  eips: readonly string[],
): void {
  const external = listOf((networkInterfaces[externalInterface] ?? []).map(({ address }) => address));
  const floating = listOf(eips);
  for (const endpoint of endpoints) {
    if (wildcards.check(endpoint.host, familyOf(endpoint.host))) {
      throw refusal(endpoint, "is a wildcard and would answer on every EIP");
    }
    if (external.check(endpoint.host, familyOf(endpoint.host))) {
      throw refusal(endpoint, `is an address on the external interface ${externalInterface}`);
    }
    if (floating.check(endpoint.host, familyOf(endpoint.host))) throw refusal(endpoint, "is an EIP");
  }
}

/** A BlockList knows an IPv4 address in IPv6 clothes, and every spelling of an IPv6 one. */
const wildcards = listOf(["0.0.0.0", "::"]);
const loopback = listOf(["::1"]);
loopback.addSubnet("127.0.0.0", 8, "ipv4");

function listOf(addresses: readonly string[]): BlockList {
  const list = new BlockList();
  for (const address of addresses) list.addAddress(address, familyOf(address));
  return list;
}

function familyOf(host: string): "ipv4" | "ipv6" {
  return isIPv6(host) ? "ipv6" : "ipv4";
}

function refusal(endpoint: Endpoint, why: string): GatewayError {
  return new GatewayError("bad-config", `NATGW_LISTEN: ${formatEndpoint(endpoint)} ${why}`);
}
