/** Random rate limits on three devices. */
import fc from "fast-check";
import type { Cidr, Ip } from "../../lib/model/ip.ts";
import type { InterfaceName, ObjectId } from "../../lib/model/names.ts";
import type { ProgramLimit } from "../../lib/model/program.ts";

export const limitedDevices = {
  vpc: "eth0" as InterfaceName,
  external: "net1" as InterfaceName,
  other: "net2" as InterfaceName,
} as const;
const { vpc, external, other } = limitedDevices;

const target: fc.Arbitrary<Pick<ProgramLimit, "target" | "interface">> = fc.oneof(
  fc.record({
    target: fc.nat(5).map((at) => ({ kind: "eip" as const, eip: `203.0.113.${10 + at}` as Ip })),
    interface: fc.constantFrom(external, other),
  }),
  fc.record({
    target: fc.record({
      kind: fc.constant("network" as const),
      side: fc.constantFrom("source", "destination"),
      cidr: fc.constantFrom("198.51.100.0/24", "198.51.100.128/25", "192.0.2.1/32") as fc.Arbitrary<Cidr>,
    }),
    interface: fc.constantFrom(vpc, external, other),
  }),
  fc.record({
    target: fc.constant({ kind: "all" as const }),
    interface: fc.constantFrom(vpc, external, other),
  }),
);
export const limits: fc.Arbitrary<readonly ProgramLimit[]> = fc
  .uniqueArray(
    fc.record({
      place: target,
      direction: fc.constantFrom("ingress", "egress"),
      rate: fc.constantFrom(125, 1_250_000, 6_250_000, 125_000_000_000),
      burst: fc.option(fc.constantFrom(1_049, 1_048_576), { nil: undefined }),
      priority: fc.option(fc.nat(3), { nil: undefined }),
    }),
    { maxLength: 10, selector: ({ place, direction }) => JSON.stringify([place, direction]) },
  )
  .map((all) =>
    all.map(({ place, direction, rate, burst, priority }, at) => ({
      id: `limits/l${at}` as ObjectId,
      direction,
      rate,
      ...place,
      ...(burst !== undefined && { burst }),
      ...(priority !== undefined && { priority }),
    })),
  );
