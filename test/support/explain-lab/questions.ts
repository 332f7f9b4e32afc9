/** Random desired sets, and random packets that such a gateway may meet. */
import type { Question } from "../../../lib/explain/explanation.ts";
import type { Ip } from "../../../lib/model/ip.ts";
import type { SampleSet } from "../api-client.ts";
import type { Target } from "../host-program.ts";
import type { HostName } from "../lab.ts";
import { eip, eipAddress, gateway } from "../targets.ts";

/** The addresses of each host. The first one is the lab's own. */
export const addressesOf = {
  outside: ["203.0.113.1", "198.51.100.7"],
  pod1: ["10.0.1.5", "10.0.1.15"],
  pod2: ["10.0.1.6", "10.0.1.16", "10.0.2.6"],
} as const satisfies Partial<Record<HostName, readonly string[]>>;
type Sender = keyof typeof addressesOf;
const senders = ["outside", "pod1", "pod2"] as const;

export function ownerOf(address: string): Sender | undefined {
  return senders.find((name) => addressesOf[name].some((one) => one === address));
}

/** A packet: who sends it, and what the gateway is asked about it. */
export interface Case {
  readonly sender: Sender;
  readonly target: Target;
  readonly question: Question;
}

export class Dice {
  readonly #random: () => number;

  constructor(random: () => number) {
    this.#random = random;
  }

  below(count: number): number {
    return Math.floor(this.#random() * count);
  }

  pick<T>(items: readonly T[]): T {
    const item = items[this.below(items.length)];
    if (item === undefined) throw new Error("nothing to pick from");
    return item;
  }

  isTrue(share: number): boolean {
    return this.#random() < share;
  }
}

/** EIPs 10 to 16; some have a FIP, some DNATs, some SNATs, some nothing. */
export const eipNumbers = [10, 11, 12, 13, 14, 15, 16] as const;

export function randomSet(dice: Dice, generation: number): SampleSet {
  const numbers = [...eipNumbers];
  const take = () => numbers.splice(dice.below(numbers.length), 1)[0] ?? 10;
  const pods = [...addressesOf.pod1, ...addressesOf.pod2];
  const takePod = () => pods.splice(dice.below(pods.length), 1)[0] ?? "10.0.1.5";
  const fips = Array.from({ length: 1 + dice.below(2) }, (_, at) => ({
    name: `fip-${at}`,
    eip: `eip-${take()}`,
    internalIp: takePod(),
  }));
  const [first, second] = [take(), take()];
  const snats = [
    {
      name: "one",
      eip: `eip-${first}`,
      internalCIDR: dice.pick(["10.0.1.0/24", "10.0.0.0/16", "10.0.1.16/28"]),
    },
    ...(dice.isTrue(0.5) ? [{ name: "two", eip: `eip-${second}`, internalCIDR: "10.0.1.0/24" }] : []),
    ...(dice.isTrue(0.3)
      ? [{ name: "three", eip: `eip-${second}`, internalCIDR: "10.0.2.0/24", mapping: "preserve" }]
      : []),
  ];
  const backend = () => ({ ip: dice.pick([...addressesOf.pod1, ...addressesOf.pod2]), port: 80 });
  const shared = take();
  const dnats = [
    {
      name: "web",
      eip: `eip-${shared}`,
      protocol: "tcp",
      externalPort: 8080,
      internalIp: backend().ip,
      internalPort: 80,
    },
    {
      name: "dns",
      eip: `eip-${first}`,
      protocol: "udp",
      externalPort: 5353,
      internalIp: backend().ip,
      internalPort: 53,
    },
    {
      name: "list",
      eip: `eip-${shared}`,
      protocol: "tcp",
      externalPort: 8081,
      backends: [...new Map([backend(), backend(), backend()].map((one) => [one.ip, one])).values()],
    },
    ...(dice.isTrue(0.5)
      ? [
          {
            name: "vain",
            eip: fips[0]?.eip ?? "",
            protocol: "tcp",
            externalPort: 80,
            internalIp: backend().ip,
            internalPort: 81,
          },
        ]
      : []),
  ];
  const routes = [{ name: "behind", destination: "10.0.2.0/24", via: "10.0.1.6" }];
  return { generation, gateway, eips: eipNumbers.map(eip), fips, snats, dnats, routes };
}

let lastPort = 10_000;

/** A packet with a source port of its own. */
export function randomCase(dice: Dice): Case {
  const sender = dice.isTrue(0.45) ? "outside" : dice.pick(["pod1", "pod2"] as const);
  const from = dice.pick<string>(addressesOf[sender]);
  const [to, services] = destinationFor(sender, dice);
  const { transport, port } = dice.pick(services);
  lastPort = lastPort >= 32_000 ? 10_000 : lastPort + 1;
  return caseOf(sender, { transport, address: to, port, from, fromPort: lastPort, isConnected: true });
}

function caseOf(sender: Sender, target: Required<Target>): Case {
  const question: Question = {
    from: target.from as Ip,
    to: target.address as Ip,
    protocol: target.transport,
    port: target.port,
    sourcePort: target.fromPort,
  };
  return { sender, target, question };
}

type Service = Pick<Target, "transport" | "port">;
const served: readonly Service[] = [
  { transport: "tcp", port: 80 },
  { transport: "tcp", port: 81 },
  { transport: "udp", port: 53 },
];
const mapped: readonly Service[] = [
  ...served,
  { transport: "tcp", port: 8080 },
  { transport: "tcp", port: 8081 },
  { transport: "udp", port: 5353 },
];

function destinationFor(
  sender: Sender,
  dice: Dice,
): readonly [address: string, services: readonly Service[]] {
  const anEip = () => eipAddress(dice.pick(eipNumbers));
  if (sender === "outside")
    return dice.isTrue(0.8)
      ? [anEip(), mapped]
      : [dice.pick(["10.0.1.5", "10.0.1.16", "10.0.2.6", "203.0.113.254"]), served];
  const share = dice.below(10);
  if (share < 6) return [dice.pick(addressesOf.outside), served];
  if (share < 9) return [anEip(), mapped];
  return [sender === "pod1" ? "10.0.2.6" : "10.0.1.254", served];
}
