/** IPsec policies in the words of `ip xfrm policy`. */
import { ipv4 } from "../model/ipv4.ts";
import type { Masked, Prefix, Template, XfrmPolicy } from "../netlink/xfrm-policies.ts";
import { protocolName } from "./iptables-chains.ts";

/**
 * `src 10.0.0.0/8 dst 0.0.0.0/0 dir fwd action block priority 0`. It tells all that decides what the policy does.
 *
 * @param device the name of its interface
 */
export function policyText(policy: XfrmPolicy, device: string | undefined): string {
  const { direction, action, priority, isSub, protocol, mark, hasLabel, templates } = policy;
  const [source, destination] = protocol === icmp ? ["type", "code"] : ["sport", "dport"];
  const parts = [
    `src ${prefixText(policy.source)} dst ${prefixText(policy.destination)}`,
    ...(protocol === 0 ? [] : [`proto ${protocolText(protocol)}`]),
    ...portText(source, policy.sourcePort),
    ...portText(destination, policy.destinationPort),
    ...(device === undefined ? [] : [`dev ${device}`]),
    `dir ${direction} action ${action} priority ${priority}`,
    ...(isSub ? ["ptype sub"] : []),
    ...(mark.mask === 0 ? [] : [`mark 0x${mark.value.toString(16)}/0x${mark.mask.toString(16)}`]),
    ...(hasLabel ? ["ctx"] : []),
    ...templates.map(templateText),
  ];
  return parts.join(" ");
}

const icmp = 1;

function prefixText({ address, length }: Prefix): string {
  return `${ipv4.format(address)}/${length}`;
}

function portText(word: string, { value, mask }: Masked): readonly string[] {
  if (mask === 0) return [];
  return [`${word} ${value}${mask === 0xffff ? "" : `/0x${mask.toString(16)}`}`];
}

function templateText({ source, destination, protocol, mode, isOptional }: Template): string {
  const words = `tmpl src ${ipv4.format(source)} dst ${ipv4.format(destination)} proto ${protocolText(protocol)} mode ${modes[mode] ?? mode}`;
  return isOptional ? `${words} level use` : words;
}

/** XFRM_MODE_*. */
const modes = ["transport", "tunnel", "ro", "in_trigger", "beet"] as const;
const protocols: Readonly<Record<number, string>> = { 50: "esp", 51: "ah", 108: "comp" };

function protocolText(number: number): string {
  return protocols[number] ?? protocolName(String(number));
}
