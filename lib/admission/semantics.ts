/**
 * What a schema cannot say: values that no gateway could ever program, whatever else is stored. These refuse the
 * request (422); what depends on other objects or on the gateway is a clash and is judged elsewhere.
 */

import type { InputIssue } from "../model/errors.ts";
import {
  addressOf,
  type Cidr,
  type Ipv4,
  isUnicast,
  makeCidr,
  prefixLengthOf,
  toU32,
} from "../model/ipv4.ts";
import type { Kind } from "../model/names.ts";
import type { Dnat, Gateway, SpecOf } from "../model/schema.ts";

/** What is wrong with one spec; pointers are relative to it (`"/internalIp"`). Expects one that its schema has passed. */
export function semanticIssues<K extends Kind>(kind: K, spec: SpecOf[K]): readonly InputIssue[] {
  return judges[kind](spec);
}

/** What is wrong with the gateway's own settings; pointers are relative to it. */
export function gatewayIssues(gateway: Gateway): readonly InputIssue[] {
  return gateway.defaultGateway === undefined ? [] : hostIssues(gateway.defaultGateway, "/defaultGateway");
}

const judges: { readonly [K in Kind]: (spec: SpecOf[K]) => readonly InputIssue[] } = {
  eip: ({ address }) => [
    ...hostIssues(addressOf(address), "/address"),
    ...(prefixLengthOf(address) === 0
      ? [{ pointer: "/address", message: "a prefix length of 0 would make the whole Internet one subnet" }]
      : []),
  ],
  fip: ({ internalIp }) => hostIssues(internalIp, "/internalIp"),
  snat: ({ internalCIDR }) => networkIssues(internalCIDR, "/internalCIDR"),
  dnat: dnatIssues,
  route: ({ destination, via }) => [
    ...networkIssues(destination, "/destination"),
    ...hostIssues(via, "/via"),
  ],
};

function dnatIssues(spec: Dnat): readonly InputIssue[] {
  const { internalIp, internalPort, backends } = spec;
  const issues: InputIssue[] = [];
  if (internalIp !== undefined) issues.push(...hostIssues(internalIp, "/internalIp"));
  if (backends === undefined) {
    if (internalIp === undefined)
      issues.push({
        pointer: "/internalIp",
        message: "internalIp and internalPort, or backends, are needed",
      });
    else if (internalPort === undefined)
      issues.push({ pointer: "/internalPort", message: "internalIp needs an internalPort" });
  } else {
    if (internalIp !== undefined || internalPort !== undefined)
      issues.push({
        pointer: "/backends",
        message: "either backends, or internalIp and internalPort: not both",
      });
    const seen = new Set<string>();
    for (const [index, { ip, port }] of backends.entries()) {
      issues.push(...hostIssues(ip, `/backends/${index}/ip`));
      if (seen.has(`${ip}:${port}`))
        issues.push({ pointer: `/backends/${index}`, message: `${ip}:${port} is given twice` });
      seen.add(`${ip}:${port}`);
    }
  }
  return issues;
}

function hostIssues(address: Ipv4, pointer: string): readonly InputIssue[] {
  return isUnicast(address) ? [] : [{ pointer, message: `${address} can be no host's address` }];
}

/** A network without a single unicast address is refused; 0.0.0.0/0 and its halves hold plenty. */
function networkIssues(cidr: Cidr, pointer: string): readonly InputIssue[] {
  const prefixLength = prefixLengthOf(cidr);
  const network = addressOf(makeCidr(addressOf(cidr), prefixLength));
  const holdsHosts = isUnicast(network) || (prefixLength < 8 && toU32(network) < firstMulticast);
  return holdsHosts ? [] : [{ pointer, message: `${cidr} holds no host's address` }];
}

const firstMulticast = 0xe0000000;
