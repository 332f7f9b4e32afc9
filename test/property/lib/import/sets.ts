/** Random sets with the names that an import gives. */
import fc from "fast-check";
import type { Kind } from "../../../../lib/model/names.ts";
import type { Typed } from "../../../support/model-kernel/script.ts";

const eips = ["203.0.113.10", "203.0.113.11", "203.0.113.12", "203.0.113.13"] as const;
const eip = fc.constantFrom(...eips);
const pod = fc.constantFrom("10.0.1.5", "10.0.1.6", "10.0.1.7");
/** Nested, and none is covered by the others. In a small pool each member has more than one client. */
const cidr = fc.constantFrom(
  "0.0.0.0/0",
  "10.0.0.0/16",
  "10.0.1.0/24",
  "10.0.1.128/25",
  "10.0.1.0/29",
  "10.0.1.5/32",
  "10.0.1.9/32",
);
const port = fc.constantFrom(80, 81);
const backend = fc.record({ ip: pod, port });

const eipSpec = fc
  .record({ address: eip, bound: fc.constantFrom(true, true, false) })
  .map(({ address, bound }) => ({
    name: address,
    address: `${address}/24`,
    ...(!bound && { bound }),
  }));
const fipSpec = fc.record({ eip, internalIp: pod }).map((spec) => ({ name: spec.eip, ...spec }));
const snatSpec = fc
  .record({ eip, internalCIDR: cidr, mapping: fc.constantFrom("random", "preserve") })
  .map(({ mapping, ...spec }) => ({
    name: `${spec.eip}-${spec.internalCIDR.replace("/", "-")}`,
    ...spec,
    ...(mapping === "preserve" && { mapping }),
  }));
const service = { eip, protocol: fc.constantFrom("tcp", "udp", "sctp"), externalPort: port };
const selector = (one: { readonly ip: string; readonly port: number }) => `${one.ip} ${one.port}`;
const dnatSpec = fc
  .oneof(
    fc.record({ ...service, internalIp: pod, internalPort: port }),
    fc
      .record({
        ...service,
        backends: fc.uniqueArray(backend, { minLength: 1, maxLength: 4, selector }),
        isSticky: fc.boolean(),
      })
      .map(({ isSticky, ...spec }) => ({
        ...spec,
        ...(isSticky && { sessionAffinity: "ClientIP" as const }),
      })),
  )
  .map((spec) => ({ name: `${spec.eip}-${spec.protocol}-${spec.externalPort}`, ...spec }));
const routeSpec = fc.constantFrom(
  { name: "10.8.0.0-16", destination: "10.8.0.0/16", via: "10.0.1.1" },
  { name: "198.51.100.0-24", destination: "198.51.100.0/24", via: "203.0.113.1", interface: "external" },
);

function some<S extends { readonly name: string }>(kind: Kind, spec: fc.Arbitrary<S>, maxLength: number) {
  return fc
    .uniqueArray(spec, { maxLength, selector: ({ name }) => name })
    .map((list) => list.map((one): Typed => ({ kind, spec: one }) as Typed));
}

/** Every object's Eip is among them. */
export const sets: fc.Arbitrary<readonly Typed[]> = fc
  .tuple(
    fc.uniqueArray(eipSpec, { minLength: 4, maxLength: 4, selector: ({ name }) => name }),
    some("fip", fipSpec, 4),
    some("snat", snatSpec, 9),
    some("dnat", dnatSpec, 5),
    some("route", routeSpec, 2),
  )
  .map(([all, ...rest]) => [...all.map((spec): Typed => ({ kind: "eip", spec }) as Typed), ...rest.flat()]);
