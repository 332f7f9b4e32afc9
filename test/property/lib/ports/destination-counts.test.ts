/** Bounded counts against exact ones: never too high, too low by at most what they say, and exact while all fit. */
import fc from "fast-check";
import t from "tap";
import type { AddressKey, AddressValue } from "../../../../lib/model/family.ts";
import { ipv4 } from "../../../../lib/model/ipv4.ts";
import { DestinationCounts } from "../../../../lib/ports/destination-counts.ts";

const flow = fc.record({
  eip: fc.nat(1),
  protocol: fc.nat(1),
  // Few destinations have most flows.
  address: fc.oneof(fc.nat(2), fc.nat(60)),
  port: fc.constantFrom(53, 443),
  client: fc.oneof(fc.nat(2), fc.nat(40)),
  isClosing: fc.boolean(),
});
type Flow = typeof flow extends fc.Arbitrary<infer F> ? F : never;

const limits = fc.record({
  destinations: fc.integer({ min: 1, max: 40 }),
  clients: fc.integer({ min: 1, max: 60 }),
});

const destinationOf = ({ eip, protocol, address, port }: Flow) => `${eip} ${protocol} ${address} ${port}`;

function countBy(flows: readonly Flow[], keyOf: (flow: Flow) => string): Map<string, number> {
  const counts = new Map<string, number>();
  for (const one of flows) counts.set(keyOf(one), (counts.get(keyOf(one)) ?? 0) + 1);
  return counts;
}

t.test("counts are bounded, and their error is known", async () => {
  fc.assert(
    fc.property(fc.array(flow, { maxLength: 600 }), limits, (flows, limits) => {
      const counts = new DestinationCounts(ipv4.keyOf, limits);
      const value = (number: number) => number as number & AddressValue;
      for (const { eip, protocol, address, port, client, isClosing } of flows) {
        counts.add(eip as number & AddressKey, protocol, value(address), port, value(client), isClosing);
        const { destinations, clients } = counts.size;
        if (destinations > limits.destinations || clients > limits.clients) return false;
      }
      const exact = countBy(flows, destinationOf);
      for (const [key, total] of exact) {
        const [eip = 0, protocol = 0, address = 0, port = 0] = key.split(" ").map(Number);
        const found = counts.find(eip as number & AddressKey, protocol, value(address), port);
        const counted = (found?.live ?? 0) + (found?.closing ?? 0);
        if (counted > total || counted < total - counts.level) return false;
      }
      const live = flows.filter(({ isClosing }) => !isClosing);
      const pairs = countBy(live, (one) => `${destinationOf(one)} ${one.client}`);
      let [destinations, clients] = [0, 0];
      for (const eip of [0, 1]) {
        for (const { protocolIndex, address, port, clients: ofOne } of counts.of(
          eip as number & AddressKey,
        )) {
          destinations++;
          for (const [client, { ports }] of ofOne) {
            clients++;
            if (ports > (pairs.get(`${eip} ${protocolIndex} ${address} ${port} ${client}`) ?? 0))
              return false;
          }
        }
      }
      if (counts.level === 0 && counts.clientLevel === 0)
        return clients === pairs.size && destinations === exact.size;
      return destinations === counts.size.destinations && clients === counts.size.clients;
    }),
    { numRuns: 300 },
  );
});
