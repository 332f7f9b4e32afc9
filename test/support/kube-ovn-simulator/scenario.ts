/** What a controller does with one gateway, chosen at random: its objects, the order of its calls, and what disturbs them. */
import type { CallingForm } from "../nat-gateway.ts";

export type Random = () => number;

/** The pods that a controller makes of a gateway, each as far as the agent notices. */
export const pods = ["StatefulSet", "HA", "noDefaultEIP", "other interfaces"] as const;
export type Pod = (typeof pods)[number];

export interface Call {
  readonly args: readonly string[];
  /** The version of iptables is asked for first, outside of the lock. */
  readonly isAfterVersion?: boolean;
  /** The first attempt is killed then. */
  readonly killAfterMs?: number;
  /** Made twice at once: as by an old and a new leader. */
  readonly isDoubled?: boolean;
}

/** The calls for one resource, in their order. */
export type Item = readonly Call[];

/** One item after the other. Queues run in parallel. */
export interface Queue {
  readonly name: string;
  readonly delayMs: number;
  readonly items: readonly Item[];
}

export interface Disturbance {
  /** How many calls have succeeded. */
  readonly afterCalls: number;
  /**
   * `crash`: process 1 starts the agent again. `restart`: the kubelet starts the container again, without its state.
   * `new pod`: the same, but the controller deletes the pod then.
   */
  readonly what: "crash" | "restart" | "new pod";
}

export interface Scenario {
  readonly pod: Pod;
  readonly form: CallingForm;
  /** Kube-OVN's HEAD makes one call at a time. */
  readonly isLocked: boolean;
  readonly init: { readonly call: Call; readonly delayMs: number };
  readonly queues: readonly Queue[];
  readonly disturbances: readonly Disturbance[];
}

/** An SNAT that stays: every pod is translated in the end, so nothing of a pod may ever leave untranslated. */
export const everything = "10.0.0.0/16";

export function scenarioOf(random: Random, pod: Pod, form: CallingForm): Scenario {
  const choose = new Choices(random);
  const addresses = choose.shuffled(externalAddresses).slice(0, 4 + choose.below(4));
  const ips = addresses.map((address) => address.split("/")[0] ?? "");
  const queues: Queue[] = [
    {
      name: "gateway",
      delayMs: 0,
      items: [...deviceLimitItems(choose, pod), ...gatewayItems(choose)],
    },
    ...Object.entries({
      eip: [...addresses.map((address) => eipItem(choose, address)), choose.chance(0.3) ? passingEip : []],
      fip: fipItems(choose, ips),
      snat: snatItems(choose, ips),
      dnat: dnatItems(choose, ips),
      limit: limitItems(choose, ips),
    }).map(([name, items]) => ({
      name,
      delayMs: choose.below(300),
      items: choose.shuffled(items.filter((item) => item.length > 0)),
    })),
  ].map((queue) => ({ ...queue, items: queue.items.map((item) => item.map((call) => choose.flawed(call))) }));
  // Any gateway may have replicas.
  const isHa = pod === "HA" || (pod !== "StatefulSet" && choose.chance(0.6));
  const restart = isHa ? ("restart" as const) : ("new pod" as const);
  const total = queues.flatMap(({ items }) => items.flat()).length;
  return {
    pod,
    form,
    isLocked: form === "argv",
    init: {
      call: choose.flawed({ args: pod === "other interfaces" ? ["init", "vpc0,ext0"] : ["init"] }),
      delayMs: choose.below(250),
    },
    queues,
    disturbances: choose
      .some(3, () => ({
        afterCalls: choose.below(total),
        what: choose.chance(0.4) ? ("crash" as const) : restart,
      }))
      .toSorted((a, b) => a.afterCalls - b.afterCalls),
  };
}

/** One is of another subnet than net1's. */
const externalAddresses = [
  ...Array.from({ length: 9 }, (_, index) => `203.0.113.${10 + index}/24`),
  "198.51.100.10/24",
];

/** All routes in one call. Now and then a subnet has another router then, and another one is gone. */
function gatewayItems(choose: Choices): readonly Item[] {
  const cidrs = choose.shuffled(["10.2.0.0/16", "10.3.0.0/16", "10.4.5.0/24"]).slice(0, 1 + choose.below(3));
  const by = (router: string) => ({
    args: ["subnet-route-add", ...cidrs.map((cidr) => `${cidr},${router}`)],
  });
  const change = [by("10.0.1.6"), { args: ["subnet-route-del", cidrs[0] ?? ""] }];
  return [[by("10.0.1.5"), ...(choose.chance(0.4) ? change : [])]];
}

/** An EIP that comes and goes. */
const passingEip: Item = ["eip-add", "eip-del"].map((operation) => ({
  args: [operation, "203.0.113.30/24"],
}));

/** Now and then it is removed while rules name it, and added again. */
function eipItem(choose: Choices, address: string): Item {
  const add = { args: ["eip-add", address] };
  return [add, ...(choose.chance(0.3) ? [{ args: ["eip-del", address] }, add] : [])];
}

/** Limits of EIPs: now and then before the EIP, changed, or removed. */
function limitItems(choose: Choices, ips: readonly string[]): readonly Item[] {
  return ips.flatMap((ip) =>
    ["ingress", "egress"]
      .filter(() => choose.chance(0.35))
      .map((direction): Item => {
        const set = () => ({
          args: [`eip-${direction}-qos-add`, `${ip},${1 + choose.below(5)},${rates(choose)}`],
        });
        const remove = { args: [`eip-${direction}-qos-del`, ip] };
        const roll = choose.below(10);
        if (roll < 6) return [set()];
        return roll < 8 ? [set(), set()] : roll < 9 ? [set(), remove, set()] : [set(), remove];
      }),
  );
}

/** Limits of the gateway itself, of all packets and of a peer's. */
function deviceLimitItems(choose: Choices, pod: Pod): readonly Item[] {
  const device = choose.one(["", pod === "other interfaces" ? "ext0" : "net1"]);
  return ["ingress", "egress"]
    .flatMap((direction) => {
      const side = direction === "ingress" ? "src" : "dst";
      const ways = ["matchall,,,", `u32,ip,${side},198.51.100.7/32`];
      return ways.map((way): readonly [string, string] => [`${direction},${device},`, way]);
    })
    .filter(() => choose.chance(0.3))
    .map(([head, way]): Item => {
      const rule = () => `${head}${1 + choose.below(9)},${way},${rates(choose)}`;
      const [first, second] = [rule(), rule()];
      const add = (text: string) => ({ args: ["qos-add", text] });
      return choose.chance(0.3) ? [add(first), { args: ["qos-del", first] }, add(second)] : [add(first)];
    });
}

/** Rate in Mbit/s and burst in MB, high enough for what the pods send. */
function rates(choose: Choices): string {
  return choose.one(["2.5,0.3", "10,1", "50,5", "2,0.06", "100,10"]);
}

function fipItems(choose: Choices, ips: readonly string[]): readonly Item[] {
  return ips
    .filter(() => choose.chance(0.5))
    .map((ip, index) => {
      const [now, before] = [`${ip},10.0.1.${5 + index}`, `${ip},10.0.1.${105 + index}`];
      return changed(choose, ["floating-ip-add", now], ["floating-ip-add", before], ["floating-ip-del", ip]);
    });
}

function snatItems(choose: Choices, ips: readonly string[]): readonly Item[] {
  const cidrs = choose.shuffled(["10.0.0.0/17", "10.0.1.0/24", "10.0.1.0/28", "10.0.2.7/32", "10.3.0.0/16"]);
  const add = (eip: string, cidr: string) => ["snat-add", `${eip},${cidr},--random-fully`];
  return [
    [{ args: add(ips[0] ?? "", everything), isAfterVersion: true }],
    ...cidrs.slice(0, choose.below(4)).map((cidr) => {
      const [eip, other] = [choose.one(ips), choose.one(ips)];
      return changed(choose, add(eip, cidr), add(other, cidr), ["snat-del", `${other},${cidr}`]).map(
        (call) => ({ ...call, isAfterVersion: call.args[0] === "snat-add" }),
      );
    }),
  ];
}

/**
 * Every second one is shared: each of its backends has a call of its own, with those before it. An affinity is in all calls or in
 * none, but now and then the first one has another.
 */
function dnatItems(choose: Choices, ips: readonly string[]): readonly Item[] {
  return Array.from({ length: 1 + choose.below(4) }, (_, index) => {
    const eip = choose.one(ips);
    const service = `${eip},${80 + index},${choose.one(["tcp", "TCP", "udp"])}`;
    if (choose.chance(0.5)) {
      const rule = (port: number) => ["dnat-add", `${service},10.0.1.5,${port}`];
      return changed(choose, rule(8080), rule(8081), ["dnat-del", service]);
    }
    const backends = Array.from({ length: 1 + choose.below(3) }, (_, last) => `10.0.1.${5 + last}:80`);
    const forms = ["", "none,0,", "none,10800,", "clientip,10800,"];
    const [first, form] = [choose.one(forms), choose.one(forms)];
    const grown = backends.map((_, last) => ({
      args: [
        "nft-dnat-map-add",
        `${service},${last === 0 ? first : form}${backends.slice(0, last + 1).join("@")}`,
      ],
    }));
    return choose.chance(0.2) ? [...grown, { args: ["nft-dnat-map-del", service] }] : grown;
  });
}

/** What is asked for in the end; before it, now and then, something else that is removed; or nothing stays. */
function changed(
  choose: Choices,
  now: readonly string[],
  before: readonly string[],
  remove: readonly string[],
): Item {
  const roll = choose.below(10);
  if (roll < 6) return [{ args: now }];
  if (roll < 8) return [{ args: before }, { args: remove }, { args: now }];
  return [{ args: before }, { args: remove }];
}

class Choices {
  readonly #random: Random;

  constructor(random: Random) {
    this.#random = random;
  }

  /** A call that may go wrong. */
  flawed(call: Call): Call {
    const roll = this.below(100);
    if (roll < 10) return { ...call, killAfterMs: 5 + this.below(100) };
    return roll < 18 ? { ...call, isDoubled: true } : call;
  }

  below(limit: number): number {
    return Math.floor(this.#random() * limit);
  }

  chance(share: number): boolean {
    return this.#random() < share;
  }

  one<T>(values: readonly T[]): T {
    return values[this.below(values.length)] as T;
  }

  /** Fewer than `limit`. */
  some<T>(limit: number, make: () => T): readonly T[] {
    return Array.from({ length: this.below(limit) }, make);
  }

  shuffled<T>(values: readonly T[]): readonly T[] {
    const rest = [...values];
    return values.map(() => rest.splice(this.below(rest.length), 1)[0] as T);
  }
}
