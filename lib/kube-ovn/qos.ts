/** The QoS operations: rate limits on an EIP or on a device. */

import { type InterfaceName, parseInterfaceName } from "../model/names.ts";
import {
  addressField,
  cidrField,
  decimalField,
  fieldsOf,
  interfaceField,
  ipField,
  priorityField,
  wordField,
} from "./fields.ts";
import { type Direction, deviceLimitName, eipLimitName, eipName } from "./names.ts";
import type { Devices, ObjectRequest } from "./request.ts";

const maxRateMbit = 1_000_000;
const maxBurstMB = 4_095;

export function eipLimit(direction: Direction, rule: string): ObjectRequest {
  const [first, priority, rate, burst] = fieldsOf(rule, "ip,priority,rateMbit,burstMB");
  const eip = ipField(first);
  return {
    type: "put",
    kind: "limit",
    spec: {
      name: eipLimitName(eip, direction),
      direction,
      rateMbit: decimalField(rate, maxRateMbit),
      burstMB: decimalField(burst, maxBurstMB),
      priority: priorityField(priority),
      eip: eipName(eip),
    },
    eip,
  };
}

export function eipLimitRemoval(direction: Direction, rule: string): ObjectRequest {
  return { type: "remove", kind: "limit", name: eipLimitName(addressField(rule), direction) };
}

export function deviceLimit(rule: string, devices: Devices): ObjectRequest {
  const { rate, burst, priority, ...target } = deviceRule(rule, devices);
  const { direction, device, match } = target;
  return {
    type: "put",
    kind: "limit",
    spec: {
      name: deviceLimitName(device, direction, match),
      direction,
      rateMbit: decimalField(rate, maxRateMbit),
      burstMB: decimalField(burst, maxBurstMB),
      priority: priorityField(priority),
      interface: device,
      ...(match !== undefined && { match: { [match.side]: match.cidr } }),
    },
  };
}

/** Rate and burst may be left out: they are not part of the identity. */
export function deviceLimitRemoval(rule: string, devices: Devices): ObjectRequest {
  const { direction, device, match } = deviceRule(rule, devices, deviceTarget);
  return { type: "remove", kind: "limit", name: deviceLimitName(device, direction, match) };
}

const deviceTarget = "ingress|egress,dev,prio,u32|matchall,ip,src|dst,cidr";

/** @param shapes that are allowed beside the one with rate and burst */
function deviceRule(rule: string, devices: Devices, ...shapes: readonly string[]) {
  const fields = fieldsOf(rule, `${deviceTarget},rate,burst`, ...shapes);
  const [first, dev, priority, classifier, type, side, cidr, rate, burst] = fields;
  const direction = wordField(first, "ingress", "egress");
  const device = deviceOf(dev, direction, devices);
  const isAll = wordField(classifier, "u32", "matchall") === "matchall";
  if (!isAll) wordField(type, "ip");
  const match = isAll ? undefined : { side: wordField(side, "src", "dst"), cidr: cidrField(cidr) };
  return { direction, device, match, priority, rate, burst };
}

const aliases = {
  vpc: parseInterfaceName("vpc") as InterfaceName,
  external: parseInterfaceName("external") as InterfaceName,
};

/** One name for one device, whether the rule names it or not. */
function deviceOf(text: string | undefined, direction: Direction, devices: Devices): InterfaceName {
  if (text === "") return direction === "egress" ? aliases.external : aliases.vpc;
  const device = interfaceField(text);
  if (device === devices.vpcInterface) return aliases.vpc;
  return device === devices.externalInterface ? aliases.external : device;
}
