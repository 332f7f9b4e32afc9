/** IPsec policies as values, and as the kernel sends them. */
import { ipv4 } from "../../lib/model/ipv4.ts";
import { bytesAttribute, concatBytes, u32Attribute } from "../../lib/netlink/attributes.ts";
import type { DefaultBlocks, Prefix, XfrmPolicy } from "../../lib/netlink/xfrm-policies.ts";
import { toIp } from "./network-values.ts";

export const noDefaultBlocks: DefaultBlocks = { in: false, fwd: false, out: false };

/** What a policy has besides its addresses and direction. */
export type PolicyParts = Partial<Omit<XfrmPolicy, "source" | "destination" | "direction">>;

/** One that blocks: `fwd 10.0.1.0/24 > 0.0.0.0/0`. */
export function policyOf(text: string, parts: PolicyParts = {}): XfrmPolicy {
  const [, direction = "", source = "", destination = ""] = /^(in|out|fwd) (\S+) > (\S+)$/.exec(text) ?? [];
  return {
    direction: direction as XfrmPolicy["direction"],
    source: prefixOf(source),
    destination: prefixOf(destination),
    isSub: false,
    priority: 0,
    action: "block",
    protocol: 0,
    sourcePort: { value: 0, mask: 0 },
    destinationPort: { value: 0, mask: 0 },
    interfaceIndex: 0,
    mark: { value: 0, mask: 0 },
    interfaceId: 0,
    hasLabel: false,
    templates: [],
    ...parts,
  };
}

export function prefixOf(text: string): Prefix {
  const [address = "", length] = text.split("/");
  return { address: ipv4.toValue(toIp(address)), length: Number(length) };
}

/** A template that protects packets between two gateways. */
export function templateOf(isOptional = false): XfrmPolicy["templates"][number] {
  return {
    source: ipv4.toValue(toIp("203.0.113.254")),
    destination: ipv4.toValue(toIp("192.0.2.1")),
    protocol: 50,
    mode: 1,
    isOptional,
  };
}

/** The payload of XFRM_MSG_NEWPOLICY. */
export function encodePolicy(policy: XfrmPolicy): Uint8Array {
  const view = new DataView(new ArrayBuffer(168));
  ipv4.write(new Uint8Array(view.buffer), 0, policy.destination.address);
  ipv4.write(new Uint8Array(view.buffer), 16, policy.source.address);
  const ports = [policy.destinationPort, policy.sourcePort].flatMap(({ value, mask }) => [value, mask]);
  for (const [at, number] of ports.entries()) view.setUint16(32 + 2 * at, number);
  view.setUint16(40, ipv4.number, true);
  view.setUint8(42, policy.destination.length);
  view.setUint8(43, policy.source.length);
  view.setUint8(44, policy.protocol);
  view.setInt32(48, policy.interfaceIndex, true);
  view.setUint32(152, policy.priority, true);
  view.setUint8(160, ["in", "out", "fwd"].indexOf(policy.direction));
  view.setUint8(161, ["allow", "block"].indexOf(policy.action));
  const { mark, interfaceId, templates, isSub } = policy;
  const marks = new Uint8Array(Uint32Array.of(mark.value, mark.mask).buffer);
  return concatBytes(
    new Uint8Array(view.buffer),
    ...(templates.length === 0 ? [] : [bytesAttribute(5, concatBytes(...templates.map(encodeTemplate)))]),
    bytesAttribute(16, Uint8Array.of(isSub ? 1 : 0, 0, 0, 0, 0, 0)),
    ...(mark.mask === 0 ? [] : [bytesAttribute(21, marks)]),
    ...(interfaceId === 0 ? [] : [u32Attribute(31, interfaceId)]),
  );
}

function encodeTemplate(template: XfrmPolicy["templates"][number]): Uint8Array {
  const bytes = new Uint8Array(64);
  ipv4.write(bytes, 0, template.destination);
  bytes[20] = template.protocol;
  ipv4.write(bytes, 28, template.source);
  bytes[48] = template.mode;
  bytes[50] = template.isOptional ? 1 : 0;
  return bytes;
}
