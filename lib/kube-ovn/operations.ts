/**
 * The operations of Kube-OVN's `nat-gateway.sh`, in the forms of its releases 1.14 and later: from arguments to a request.
 * docs/kube-ovn.md lists them.
 */

import { GatewayError } from "../model/errors.ts";
import { reservedInterface } from "../model/names.ts";
import { checked } from "./checked.ts";
import {
  addressField,
  backendsField,
  cidrField,
  fieldsOf,
  interfaceAddressField,
  interfaceField,
  invalid,
  ipField,
  portField,
  protocolField,
  quoted,
  secondsField,
  wordField,
} from "./fields.ts";
import { dnatName, eipName, routeName, snatName } from "./names.ts";
import { deviceLimit, deviceLimitRemoval, eipLimit, eipLimitRemoval } from "./qos.ts";
import type { Devices, ObjectRequest, Request } from "./request.ts";

/** From one rule to what it asks for. Throws `invalid`. */
type RuleParser = (rule: string, devices: Devices) => ObjectRequest;

const ruleParsers: ReadonlyMap<string, RuleParser> = new Map<string, RuleParser>([
  ["eip-add", (rule) => ({ type: "bind", address: interfaceAddressField(rule) })],
  ["eip-del", (rule) => ({ type: "unbind", eip: addressField(rule) })],
  ["floating-ip-add", addFip],
  ["floating-ip-del", removeFip],
  ["snat-add", addSnat],
  ["snat-del", removeSnat],
  ["dnat-add", addDnat],
  ["dnat-del", removeDnat],
  ["nft-dnat-map-add", addBackends],
  ["nft-dnat-map-del", removeBackends],
  ["subnet-route-add", addRoute],
  ["subnet-route-del", removeRoute],
]);

/** These are allowed before `init`. */
const qosParsers: ReadonlyMap<string, RuleParser> = new Map<string, RuleParser>([
  ["eip-ingress-qos-add", (rule) => eipLimit("ingress", rule)],
  ["eip-egress-qos-add", (rule) => eipLimit("egress", rule)],
  ["eip-ingress-qos-del", (rule) => eipLimitRemoval("ingress", rule)],
  ["eip-egress-qos-del", (rule) => eipLimitRemoval("egress", rule)],
  ["qos-add", deviceLimit],
  ["qos-del", deviceLimitRemoval],
]);

/** The names of all operations except `get-iptables-version`, which needs no agent. */
export const operations: readonly string[] = ["init", ...ruleParsers.keys(), ...qosParsers.keys()];

/**
 * The request of a call. Throws `invalid`.
 *
 * @param args the operation and its rules, as the script got them
 * @param devices the gateway's interfaces
 */
export function parseCall([operation, ...rules]: readonly string[], devices: Devices): Request {
  if (operation === undefined) throw invalid("an operation is missing");
  if (operation === "init") return parseInit(rules);
  const parse = ruleParsers.get(operation) ?? qosParsers.get(operation);
  if (parse === undefined) throw invalid(`there is no operation ${quoted(operation)}`);
  if (rules.length === 0) throw invalid(`${operation}: a rule is missing`);
  const requests = rules.map((rule) =>
    within(`${operation} ${quoted(rule)}`, () => checked(parse(rule, devices))),
  );
  return { type: "objects", requests, isAllowedBeforeInit: qosParsers.has(operation) };
}

function parseInit(rules: readonly string[]): Request {
  const [rule, ...more] = rules;
  if (more.length > 0) throw invalid("init: there are too many arguments");
  if (rule === undefined) return { type: "init", interfaces: undefined };
  return within(`init ${quoted(rule)}`, () => {
    const [vpc, external] = fieldsOf(rule, "vpcInterface,externalInterface");
    const [vpcInterface, externalInterface] = [interfaceField(vpc), interfaceField(external)];
    if (vpcInterface === externalInterface) throw invalid("the two interfaces must differ");
    const why = reservedInterface(vpcInterface) ?? reservedInterface(externalInterface);
    if (why !== undefined) throw invalid(why);
    return { type: "init", interfaces: { vpcInterface, externalInterface } };
  });
}

function addFip(rule: string): ObjectRequest {
  const [first, second] = fieldsOf(rule, "eip,internal");
  const [eip, internalIp] = [ipField(first), ipField(second)];
  const spec = { name: eipName(eip), eip: eipName(eip), internalIp };
  return {
    type: "put",
    kind: "fip",
    spec,
    eip,
    refusal: (fip) => `${eip} already maps to ${fip.internalIp}`,
  };
}

/** With an internal IP only the FIP to it: the next one may be there already. */
function removeFip(rule: string): ObjectRequest {
  const [first, second] = fieldsOf(rule, "eip", "eip,internal");
  const name = eipName(ipField(first));
  if (second === undefined) return { type: "remove", kind: "fip", name };
  const internalIp = ipField(second);
  return { type: "remove", kind: "fip", name, isMeant: (fip) => fip.internalIp === internalIp };
}

function addSnat(rule: string): ObjectRequest {
  const [first, second, third] = fieldsOf(rule, "eip,cidr", "eip,cidr,--random-fully");
  const [eip, internalCIDR] = [ipField(first), cidrField(second)];
  const isRandom = third !== undefined && wordField(third, "--random-fully") === third;
  const mapping = isRandom ? ("random" as const) : ("preserve" as const);
  const spec = { name: snatName(eip, internalCIDR), eip: eipName(eip), internalCIDR, mapping };
  return { type: "put", kind: "snat", spec, eip };
}

function removeSnat(rule: string): ObjectRequest {
  const [eip, cidr] = fieldsOf(rule, "eip,cidr");
  return { type: "remove", kind: "snat", name: snatName(ipField(eip), cidrField(cidr)) };
}

function addDnat(rule: string): ObjectRequest {
  const [first, second, third, fourth, fifth] = fieldsOf(rule, "eip,port,proto,ip,iport");
  const [eip, externalPort, protocol] = [ipField(first), portField(second), protocolField(third)];
  const [internalIp, internalPort] = [ipField(fourth), portField(fifth)];
  const name = dnatName(eip, protocol, externalPort);
  return {
    type: "put",
    kind: "dnat",
    spec: { name, eip: eipName(eip), protocol, externalPort, internalIp, internalPort },
    eip,
    refusal({ internalIp, internalPort }) {
      const target = internalIp === undefined ? "a list of backends" : `${internalIp}:${internalPort}`;
      return `${protocol} port ${externalPort} of ${eip} already leads to ${target}`;
    },
  };
}

/** Leaves a list of backends alone, and with five fields also a DNAT to another target: the next one may be there already. */
function removeDnat(rule: string): ObjectRequest {
  const [eip, port, protocol, fourth, fifth] = fieldsOf(rule, "eip,port,proto", "eip,port,proto,ip,iport");
  const name = dnatName(ipField(eip), protocolField(protocol), portField(port));
  if (fourth === undefined)
    return { type: "remove", kind: "dnat", name, isMeant: ({ backends }) => backends === undefined };
  const [internalIp, internalPort] = [ipField(fourth), portField(fifth)];
  return {
    type: "remove",
    kind: "dnat",
    name,
    isMeant: (dnat) => dnat.internalIp === internalIp && dnat.internalPort === internalPort,
  };
}

function addBackends(rule: string): ObjectRequest {
  const later = "eip,port,proto,affinity,seconds,backends";
  const fields = fieldsOf(rule, "eip,port,proto,backends", later);
  const [first, second, third, affinity, seconds] = fields;
  const [eip, externalPort, protocol] = [ipField(first), portField(second), protocolField(third)];
  const isSticky = fields.length > 4 && wordField(affinity, "none", "clientip") === "clientip";
  // A client keeps its backend without a time limit.
  if (isSticky) secondsField(seconds);
  const backends = backendsField(fields.at(-1));
  const name = dnatName(eip, protocol, externalPort);
  return {
    type: "put",
    kind: "dnat",
    spec: {
      name,
      eip: eipName(eip),
      protocol,
      externalPort,
      backends,
      ...(isSticky && { sessionAffinity: "ClientIP" as const }),
    },
    eip,
  };
}

function removeBackends(rule: string): ObjectRequest {
  const [eip, port, protocol] = fieldsOf(rule, "eip,port,proto");
  const name = dnatName(ipField(eip), protocolField(protocol), portField(port));
  return { type: "remove", kind: "dnat", name, isMeant: ({ backends }) => backends !== undefined };
}

function addRoute(rule: string): ObjectRequest {
  const [first, second] = fieldsOf(rule, "cidr,gw");
  const [destination, via] = [cidrField(first), ipField(second)];
  return { type: "put", kind: "route", spec: { name: routeName(destination), destination, via } };
}

function removeRoute(rule: string): ObjectRequest {
  return { type: "remove", kind: "route", name: routeName(cidrField(rule)) };
}

/** Runs `parse`; an error says where it is. */
function within<T>(where: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (error instanceof GatewayError) throw invalid(`${where}: ${error.message}`);
    throw error;
  }
}
