/** Row 7: the time from a change by another program to its repair. */

import { inNamespace } from "../../support/in-namespace.ts";
import { run } from "../../support/run.ts";
import { type DataplaneName, iptablesOf } from "../dataplanes.ts";
import { EventWatch } from "../event-watch.ts";
import type { Measurement, Row } from "../measurement.ts";
import type { Plant } from "../plant.ts";
import { eipAddress, eipPrefixLength, fip, fipsOnly, vpcRoute } from "../scenario.ts";

/** A manual change, and how the monitors report it and its repair. */
interface Damage {
  readonly what: string;
  readonly tool: "nft" | "ip";
  readonly argv: readonly string[];
  readonly done: RegExp;
  readonly repaired: RegExp;
}

const mostMs = 60;
const fewObjects = 100;

export const repairRow: Row = {
  id: "7",
  title: "outside change to repair",
  dataplanes: ["iptables-nft", "nftables"],
  async measure(bench) {
    const { objects, runs } = bench.settings;
    const few = await bench.plant();
    await few.load(fipsOnly(fewObjects));
    const found: Measurement[] = [];
    const sites: readonly (readonly [Plant, number])[] = [
      [few, fewObjects],
      ...(objects > fewObjects ? [[await bench.loaded(), objects] as const] : []),
    ];
    for (const [plant, count] of sites) {
      bench.say(`repairs at ${count} objects`);
      found.push(...(await plant.profiled(`repair-${count}`, () => measure(plant, count, runs))));
    }
    return found;
  },
};

async function measure(plant: Plant, count: number, runs: number): Promise<readonly Measurement[]> {
  const watches = {
    nft: await EventWatch.start(plant.gateway, ["nft", "monitor"]),
    ip: await EventWatch.start(plant.gateway, ["ip", "monitor", "address", "route"]),
  };
  try {
    const found: Measurement[] = [];
    const addressDamage = (_: DataplaneName, number: number) => addressTaken("an address", count - number);
    for (const damagesOf of [ruleDamage, addressDamage, firstAddressDamage, routeDamage]) {
      const samples: number[] = [];
      const { what } = damagesOf(plant.dataplane, 1);
      for (let number = 1; number <= runs; number++) {
        const damage = damagesOf(plant.dataplane, number);
        const watch = watches[damage.tool];
        const seen = watch.next(damage.done, damage.repaired);
        const [file = "ip", ...args] = inNamespace(plant.gateway, damage.argv);
        await run(file, args);
        samples.push(await seen);
        // Repaired, verified and idle before the next one.
        await plant.api.reconcile();
      }
      found.push({
        what: `${what} taken away at ${count} EIPs and FIPs`,
        unit: "ms",
        samples,
        ...(damagesOf !== firstAddressDamage && { allowed: mostMs }),
      });
    }
    return found;
  } finally {
    for (const watch of Object.values(watches)) watch.stop();
  }
}

function ruleDamage(dataplane: DataplaneName, number: number): Damage {
  const eip = eipAddress(number);
  const iptables = iptablesOf(dataplane);
  const address = eip.replaceAll(".", "\\.");
  if (iptables === undefined) {
    return {
      what: "an nftables element",
      tool: "nft",
      argv: ["nft", "delete", "element", "ip", "natgw", "fip_in", `{ ${eip} }`],
      done: new RegExp(`^delete element ip natgw fip_in \\{ ${address} `),
      repaired: new RegExp(`^add element ip natgw fip_in \\{ ${address} `),
    };
  }
  const { internalIp } = fip(number);
  const rule = ["-d", `${eip}/32`, "-j", "DNAT", "--to-destination", internalIp];
  return {
    what: "a rule",
    tool: "nft",
    argv: [iptables, "-t", "nat", "-D", "EXCLUSIVE_DNAT", ...rule],
    done: /^delete rule ip nat EXCLUSIVE_DNAT /,
    repaired: new RegExp(`^add rule ip nat EXCLUSIVE_DNAT .*${address} `),
  };
}

/** Then the kernel promotes the next one, and moves the routes of all: at 10,000 it holds its lock for half a second. */
function firstAddressDamage(_: DataplaneName, number: number): Damage {
  return addressTaken("the first address of all", number);
}

function addressTaken(what: string, eipNumber: number): Damage {
  const address = `${eipAddress(eipNumber)}/${eipPrefixLength}`;
  return {
    what,
    tool: "ip",
    argv: ["ip", "address", "delete", address, "dev", "net1"],
    done: new RegExp(`^Deleted .* inet ${address} `),
    repaired: new RegExp(`^\\d.* inet ${address} `),
  };
}

function routeDamage(): Damage {
  return {
    what: "a route",
    tool: "ip",
    argv: ["ip", "route", "delete", vpcRoute.destination],
    done: new RegExp(`^Deleted ${vpcRoute.destination} `),
    repaired: new RegExp(`^${vpcRoute.destination} `),
  };
}
