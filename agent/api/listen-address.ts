/**
 * Where the API may listen. EIPs are local addresses of this namespace, so a wildcard, or an address on the external
 * interface, is reachable from the Internet.
 */
import { BlockList, isIPv6 } from "node:net";
import { GatewayError } from "../../lib/model/errors.ts";
import { addressOf, type Ip } from "../../lib/model/ip.ts";
import type { State } from "../../lib/state/state.ts";
import type { Endpoint } from "../config/values.ts";
import { type InterfaceAddresses, readInterfaceAddresses } from "../kernel/network/interface-addresses.ts";

export function formatEndpoint({ host, port }: Endpoint): string {
  return isIPv6(host) ? `[${host}]:${port}` : `${host}:${port}`;
}

/** True for addresses that only processes of this namespace can reach. */
export function isLoopbackHost(host: string): boolean {
  return loopback.check(host, familyOf(host));
}

/** The kernel closes the API's ports to all who are not admitted: it must not close BGP. */
const bgpPort = 179;

/** True if the kernel tells by which interface a connection to the address came in. */
export function hasArrival(host: string): boolean {
  return familyOf(host) === "ipv4";
}

/** True for two spellings of one address. */
export function isSameAddress(one: string, other: string): boolean {
  const [plain, otherPlain] = [one, other].map((text) => text.split("%")[0] ?? "");
  return (
    plain !== undefined && otherPlain !== undefined && listOf([plain]).check(otherPlain, familyOf(otherPlain))
  );
}

/**
 * Refuses wildcards, addresses currently on the external interface, and EIPs (an EIP bound by route is on no
 * interface).
 *
 * @param eips desired EIPs as dotted quads
 * @throws `bad-config`
 */
export function refuseUnsafe(
  endpoints: readonly Endpoint[],
  interfaces: InterfaceAddresses,
  externalInterface: string,
  eips: readonly string[],
): void {
  const external = listOf(interfaces[externalInterface] ?? []);
  const floating = listOf(eips);
  for (const endpoint of endpoints) {
    if (wildcards.check(endpoint.host, familyOf(endpoint.host))) {
      throw refusal(endpoint, "is a wildcard and includes every EIP");
    }
    if (external.check(endpoint.host, familyOf(endpoint.host))) {
      throw refusal(endpoint, `is an address on the external interface ${externalInterface}`);
    }
    if (floating.check(endpoint.host, familyOf(endpoint.host))) throw refusal(endpoint, "is an EIP");
    if (endpoint.port === bgpPort) throw refusal(endpoint, "is BGP's port, which the kernel keeps open");
  }
}

/**
 * The EIPs that this namespace holds or may come to hold. An Eip with an address that an interface has, and that the agent never put
 * there, clashes with the gateway's own: a set that has one must not keep the agent from starting.
 */
export function eipsToAvoid(
  { desired, ledger }: Pick<State, "desired" | "ledger">,
  interfaces: InterfaceAddresses,
): readonly Ip[] {
  const held = new Set(Object.values(interfaces).flat());
  const owned = new Set(ledger.addresses.values().map(({ address }) => address));
  return Array.from(desired.eips.values(), ({ spec }) => addressOf(spec.address)).filter(
    (address) => !held.has(address) || owned.has(address),
  );
}

/**
 * Refuses an external interface of the desired set on which the API listens: the agent could not start with it, and nobody could
 * tell it to take another.
 *
 * @throws `conflict`
 */
export async function refuseOutside(
  endpoints: readonly Endpoint[],
  externalInterface: string | undefined,
  read = readInterfaceAddresses,
): Promise<void> {
  if (externalInterface === undefined) return;
  const interfaces = await read();
  try {
    refuseUnsafe(endpoints, interfaces, externalInterface, []);
  } catch (cause) {
    if (!(cause instanceof GatewayError)) throw cause;
    throw new GatewayError("conflict", `gateway/externalInterface: ${cause.message}`, { cause });
  }
}

/**
 * Refuses addresses that others than this namespace reach, unless callers are asked for credentials.
 * @throws `bad-config`
 */
export function refuseUnguarded(endpoints: readonly Endpoint[], hasCredentials: boolean): void {
  if (hasCredentials) return;
  for (const endpoint of endpoints)
    if (!isLoopbackHost(endpoint.host))
      throw refusal(endpoint, "is not on loopback: it needs NATGW_TOKEN_FILE or NATGW_TLS_CLIENT_CA_FILE");
}

/** A BlockList also matches IPv4-mapped IPv6 addresses and every spelling of an IPv6 address. */
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
