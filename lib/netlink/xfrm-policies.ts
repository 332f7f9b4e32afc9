/** IPsec policies: `struct xfrm_userpolicy_info` and XFRMA_* of include/uapi/linux/xfrm.h. */
import { GatewayError } from "../model/errors.ts";
import type { AddressValue, Family } from "../model/family.ts";
import { attributeEnd, attributeType, nextAttribute, requirePayload } from "./attributes.ts";
import type { NetlinkMessage } from "./message.ts";

/** XFRM_MSG_*: a dump is answered with `newPolicy`. */
export const xfrmType = { newPolicy: 0x13, getPolicy: 0x15, getDefaults: 0x28 } as const;

/** `in` for what the host gets, `out` for what leaves it, `fwd` for what it forwards. */
export type PolicyDirection = "in" | "out" | "fwd";

export interface XfrmPolicy {
  readonly direction: PolicyDirection;
  /** True if it is of type `sub`, which comes before `main`. */
  readonly isSub: boolean;
  /** Lower ones come first. */
  readonly priority: number;
  readonly action: "allow" | "block" | "unknown";
  readonly source: Prefix;
  readonly destination: Prefix;
  /** 0: any. */
  readonly protocol: number;
  /** For ICMP the type. */
  readonly sourcePort: Masked;
  /** For ICMP the code. */
  readonly destinationPort: Masked;
  /** Of the interface that packets leave by. 0: any. */
  readonly interfaceIndex: number;
  readonly mark: Masked;
  /** Not 0: only packets of the XFRM interface with this number. */
  readonly interfaceId: number;
  /** True if it is only for packets with a security label. */
  readonly hasLabel: boolean;
  readonly templates: readonly Template[];
}

export interface Prefix {
  readonly address: AddressValue;
  readonly length: number;
}

/** Matches what equals `value` in the bits of `mask`. */
export interface Masked {
  readonly value: number;
  readonly mask: number;
}

/** How IPsec has to protect the packets. */
export interface Template {
  readonly source: AddressValue;
  readonly destination: AddressValue;
  readonly protocol: number;
  readonly mode: number;
  /** True if packets without it pass, too. */
  readonly isOptional: boolean;
}

/** True for each direction whose packets are dropped if no policy matches. */
export type DefaultBlocks = Readonly<Record<PolicyDirection, boolean>>;

/** Above them are policies of single sockets. */
const directions: readonly PolicyDirection[] = ["in", "out", "fwd"];
const actions = ["allow", "block"] as const;
const XFRMA_TMPL = 5;
const XFRMA_SEC_CTX = 8;
const XFRMA_POLICY_TYPE = 16;
const XFRMA_MARK = 21;
const XFRMA_IF_ID = 31;
const XFRM_POLICY_TYPE_SUB = 1;
const XFRM_USERPOLICY_BLOCK = 1;

/** Offsets in `struct xfrm_userpolicy_info`. Its first part is `struct xfrm_selector`. */
const at = {
  destination: 0,
  source: 16,
  destinationPort: 32,
  sourcePort: 36,
  family: 40,
  destinationLength: 42,
  sourceLength: 43,
  protocol: 44,
  interfaceIndex: 48,
  priority: 152,
  direction: 160,
  action: 161,
  attributes: 168,
} as const;

/** Bytes of `struct xfrm_user_tmpl`, and offsets in it. */
const templateBytes = 64;
const inTemplate = { destination: 0, protocol: 20, source: 28, mode: 48, optional: 50 } as const;

/** Requests all policies of all families. The newest come first. */
export function dumpPolicies(): NetlinkMessage {
  return { type: xfrmType.getPolicy, flags: 0, payload: new Uint8Array(0) };
}

/** Decodes one XFRM_MSG_NEWPOLICY. `undefined` for one of another family, or of a single socket. */
export function decodePolicy(
  view: DataView,
  start: number,
  end: number,
  family: Family,
): XfrmPolicy | undefined {
  if (end - start < at.attributes)
    throw new GatewayError("unreadable", `XFRM policy of ${end - start} bytes`);
  const direction = directions[view.getUint8(start + at.direction)];
  if (view.getUint16(start + at.family, true) !== family.number || direction === undefined) return undefined;
  let isSub = false;
  let mark: Masked = { value: 0, mask: 0 };
  let interfaceId = 0;
  let hasLabel = false;
  const templates: Template[] = [];
  for (let from = start + at.attributes; from < end; from = nextAttribute(view, from, end)) {
    switch (attributeType(view, from)) {
      case XFRMA_POLICY_TYPE:
        isSub = view.getUint8(requirePayload(view, from, end, 1)) === XFRM_POLICY_TYPE_SUB;
        break;
      case XFRMA_MARK: {
        const payload = requirePayload(view, from, end, 8);
        mark = { value: view.getUint32(payload, true), mask: view.getUint32(payload + 4, true) };
        break;
      }
      case XFRMA_IF_ID:
        interfaceId = view.getUint32(requirePayload(view, from, end, 4), true);
        break;
      case XFRMA_SEC_CTX:
        hasLabel = true;
        break;
      case XFRMA_TMPL: {
        const stop = attributeEnd(view, from, end);
        for (
          let part = requirePayload(view, from, end, templateBytes);
          part + templateBytes <= stop;
          part += templateBytes
        )
          templates.push(decodeTemplate(view, part, family));
        break;
      }
    }
  }
  const masked = (offset: number): Masked => ({
    value: view.getUint16(start + offset),
    mask: view.getUint16(start + offset + 2),
  });
  const prefix = (offset: number, lengthAt: number): Prefix => ({
    address: family.read(view, start + offset),
    length: view.getUint8(start + lengthAt),
  });
  return {
    direction,
    isSub,
    priority: view.getUint32(start + at.priority, true),
    action: actions[view.getUint8(start + at.action)] ?? "unknown",
    source: prefix(at.source, at.sourceLength),
    destination: prefix(at.destination, at.destinationLength),
    protocol: view.getUint8(start + at.protocol),
    sourcePort: masked(at.sourcePort),
    destinationPort: masked(at.destinationPort),
    interfaceIndex: view.getInt32(start + at.interfaceIndex, true),
    mark,
    interfaceId,
    hasLabel,
    templates,
  };
}

function decodeTemplate(view: DataView, start: number, family: Family): Template {
  return {
    source: family.read(view, start + inTemplate.source),
    destination: family.read(view, start + inTemplate.destination),
    protocol: view.getUint8(start + inTemplate.protocol),
    mode: view.getUint8(start + inTemplate.mode),
    isOptional: view.getUint8(start + inTemplate.optional) !== 0,
  };
}

/** Requests what happens to packets without a policy. EINVAL before Linux 5.15, where they pass. */
export function getDefaultBlocks(): NetlinkMessage {
  return { type: xfrmType.getDefaults, flags: 0, payload: new Uint8Array(4) };
}

/** Decodes `struct xfrm_userpolicy_default`. */
export function decodeDefaultBlocks(view: DataView, start: number): DefaultBlocks {
  const blocks = (offset: number) => view.getUint8(start + offset) === XFRM_USERPOLICY_BLOCK;
  return { in: blocks(0), fwd: blocks(1), out: blocks(2) };
}
