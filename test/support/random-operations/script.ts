/** Random operations on a gateway. Names and addresses are few, so that operations meet. */
import type { Kind, Spec } from "./clashes.ts";
import { networks } from "./expectation.ts";
import type { Model, Named, Write } from "./model.ts";

export type Random = () => number;

/** A request that no state admits. */
export interface Invalid {
  readonly do: "invalid";
  readonly method: "PUT" | "POST" | "DELETE";
  readonly path: string;
  readonly body?: unknown;
  readonly status: number;
  readonly code: string;
}

export type Operation =
  | Write
  | Invalid
  | { readonly do: "cut off"; readonly write: Write }
  | { readonly do: "kill" | "stop" | "damage" | "outage" | "expire" };

const namesOf: Readonly<Record<Kind, readonly string[]>> = {
  eip: ["e1", "e2", "e3", "e4", "e5", "e6"],
  fip: ["f1", "f2", "f3", "f4"],
  snat: ["s1", "s2", "s3", "s4", "s5"],
  dnat: ["d1", "d2", "d3", "d4", "d5"],
  limit: ["l1", "l2"],
  route: ["r1", "r2", "r3"],
};
const usualKinds = [
  "eip",
  "eip",
  "eip",
  "fip",
  "fip",
  "fip",
  "snat",
  "snat",
  "dnat",
  "dnat",
  "dnat",
  "route",
  "limit",
] as const;

/** Never an EIP: the kernel refuses a next hop that is an address of its own. */
const externalRouter = "203.0.113.9";

const invalid: readonly Omit<Invalid, "do">[] = [
  {
    method: "PUT",
    path: "/v1/fips/f1",
    body: { eip: "e1", internalIp: "10.0.1.300" },
    status: 422,
    code: "invalid",
  },
  {
    method: "PUT",
    path: "/v1/fips/f1",
    body: { eip: "e1", internalIp: "127.0.0.1" },
    status: 422,
    code: "invalid",
  },
  {
    method: "PUT",
    path: "/v1/fips/f1",
    body: { name: "f2", eip: "e1", internalIp: "10.0.1.21" },
    status: 422,
    code: "invalid",
  },
  {
    method: "PUT",
    path: "/v1/eips/e1",
    body: { address: "203.0.113.11/24", color: 1 },
    status: 422,
    code: "invalid",
  },
  {
    method: "PUT",
    path: "/v1/eips/e1?wait=long",
    body: { address: "203.0.113.11/24" },
    status: 422,
    code: "invalid",
  },
  { method: "PUT", path: "/v1/eips/e1", status: 400, code: "malformed-json" },
  {
    method: "PUT",
    path: "/v1/dnats/d1",
    body: { eip: "e1", protocol: "icmp", externalPort: 80, backends: [] },
    status: 422,
    code: "invalid",
  },
  {
    method: "PUT",
    path: "/v1/desired",
    body: { generation: 1_000_000, eips: [], fips: [], snats: [], dnats: [] },
    status: 422,
    code: "invalid",
  },
  {
    method: "POST",
    path: "/v1/batch",
    body: { upsert: { fips: [{ name: "f1", eip: "e1", internalIp: "10.0.1.21" }, { name: "F" }] } },
    status: 422,
    code: "invalid",
  },
  { method: "DELETE", path: "/v1/fips/f1?casacde=true", status: 422, code: "invalid" },
  { method: "DELETE", path: "/v1/fips/unknown", status: 404, code: "not-found" },
];

export class Script {
  readonly #random: Random;
  readonly #model: Model;
  #lastSet: (Write & { readonly do: "set" }) | undefined;

  constructor(random: Random, model: Model) {
    this.#random = random;
    this.#model = model;
  }

  next(): Operation {
    const roll = this.#random() * 100;
    if (roll < 4) return { do: "invalid", ...this.#one(invalid) };
    if (roll < 12) return { do: "damage" };
    if (roll < 14) return { do: "kill" };
    if (roll < 16) return { do: "cut off", write: this.#write() };
    if (roll < 17) return { do: "stop" };
    if (roll < 18.5) return { do: "outage" };
    if (roll < 21) return { do: "expire" };
    const write = this.#write();
    // A renewal has no dry run and does not wait.
    if (write.do === "renew") return this.#chance(0.1) ? { ...write, ifMatch: "old" } : write;
    return { ...write, ...this.#options() };
  }

  /** A full set that any store accepts that was not given a later one. */
  firstSet(): Write {
    return this.#set("rising");
  }

  #options(): Pick<Write, "ifMatch" | "isDryRun" | "isWaiting"> {
    const roll = this.#random();
    const ifMatch =
      this.#random() < 0.85 ? undefined : this.#one(["current", "current", "old", "*"] as const);
    return {
      ...(ifMatch !== undefined && { ifMatch }),
      ...(roll < 0.1 && { isDryRun: true }),
      ...(roll > 0.85 && { isWaiting: true }),
    };
  }

  #write(): Write {
    const roll = this.#random() * 100;
    if (roll < 45) return { do: "put", ...this.#object() };
    if (roll < 65) return this.#delete();
    if (roll < 85) return this.#batch();
    if (roll < 92) return { do: "renew", names: this.#some(2, () => this.#one(namesOf.eip)) };
    return this.#set(
      this.#one(["rising", "rising", "rising", "replayed", "replayed", "stale", "changed"] as const),
    );
  }

  #delete(): Write {
    const kind = this.#one(usualKinds);
    const name = this.#one(namesOf[kind]);
    const stored = this.#model.of(kind).get(name)?.spec.uid;
    const uid = this.#chance(0.6) ? undefined : this.#chance(0.5) ? stored : this.#uid(name);
    return {
      do: "delete",
      kind,
      name,
      ...(uid !== undefined && { uid }),
      ...(kind === "eip" && this.#chance(0.3) && { isCascading: true }),
    };
  }

  #batch(): Write {
    const upsert = unique(this.#some(4, () => this.#named()));
    const remove = this.#some(3, () => {
      const kind = this.#one(usualKinds);
      return [kind, this.#one(namesOf[kind])] as const;
    });
    return { do: "batch", upsert, remove };
  }

  #set(how: "rising" | "replayed" | "stale" | "changed"): Write {
    const last = this.#lastSet;
    const { generation } = this.#model;
    if (how === "replayed" && last !== undefined) return last;
    const set: Write & { readonly do: "set" } = {
      do: "set",
      generation:
        how === "rising" || how === "replayed"
          ? generation + 1
          : how === "stale"
            ? Math.max(0, generation - 1)
            : generation,
      defaultGateway: this.#chance(0.8) ? "203.0.113.1" : "203.0.113.2",
      objects: unique([...this.#some(6, () => this.#named("eip")), ...this.#some(14, () => this.#named())]),
    };
    if (how === "rising") this.#lastSet = set;
    return set;
  }

  #named(kind?: Kind): Named {
    const object = this.#object(kind);
    return [object.kind, object.spec];
  }

  #object(kind: Kind = this.#one(usualKinds)): { readonly kind: Kind; readonly spec: Spec } {
    const name = this.#one(namesOf[kind]);
    const uid = this.#chance(0.3) ? { uid: this.#uid(name) } : {};
    return { kind, spec: { name, ...uid, ...this.#fields(kind) } };
  }

  #fields(kind: Kind): object {
    const eip = this.#one(namesOf.eip);
    const pod = this.#chance(0.04) ? "10.0.1.254" : `10.0.1.${21 + this.#below(4)}`;
    switch (kind) {
      case "eip":
        return this.#eip();
      case "fip":
        return { eip, internalIp: pod };
      case "snat": {
        const mapping = this.#one([{}, {}, { mapping: "preserve" }, { mapping: "random" }]);
        return { eip, internalCIDR: this.#one(networks), ...mapping };
      }
      case "dnat": {
        const service = {
          eip,
          protocol: this.#one(["tcp", "udp", "sctp"]),
          externalPort: this.#one([80, 81]),
        };
        if (this.#chance(0.5)) return { ...service, internalIp: pod, internalPort: 8080 };
        const backends = Array.from({ length: this.#below(4) }, (_, index) => ({
          ip: `10.0.2.${5 + index}`,
          port: 8080,
        }));
        return { ...service, backends, ...this.#one([{}, {}, { sessionAffinity: "ClientIP" }]) };
      }
      case "limit":
        return { eip, direction: this.#one(["ingress", "egress"]), rateMbit: 1 + this.#below(9) };
      case "route": {
        if (this.#chance(0.1)) return { destination: "203.0.113.0/24", via: "10.0.1.1" };
        if (this.#chance(0.2))
          return { destination: "198.18.0.0/16", via: externalRouter, interface: "external" };
        return {
          destination: this.#one(["10.8.0.0/16", "10.9.0.0/16"]),
          via: this.#one(["10.0.1.1", "10.0.1.5"]),
        };
      }
    }
  }

  /** Now and then one that the gateway cannot hold: its own, its next hop's, broadcast, or one in the VPC's subnet. */
  #eip(): object {
    const odd = ["203.0.113.254/24", "203.0.113.1/24", "203.0.113.255/24", "10.0.1.130/25"];
    const address = this.#chance(0.06)
      ? this.#one(odd)
      : `203.0.113.${11 + this.#below(8)}/${this.#chance(0.1) ? 32 : 24}`;
    return {
      address,
      ...(this.#chance(0.25) && { leaseSeconds: this.#chance(0.7) ? 1 : 3_600 }),
      ...(this.#chance(0.15) && { bound: this.#chance(0.3) }),
    };
  }

  /** A uid belongs to one name: `f1.2`. */
  #uid(name: string): string {
    return `${name}.${this.#below(12)}`;
  }

  #some<T>(most: number, make: () => T): readonly T[] {
    return Array.from({ length: 1 + this.#below(most) }, make);
  }

  #one<T>(values: readonly T[]): T {
    return values[this.#below(values.length)] as T;
  }

  #chance(share: number): boolean {
    return this.#random() < share;
  }

  #below(limit: number): number {
    return Math.floor(this.#random() * limit);
  }
}

/** The last one of each name. */
function unique(objects: readonly Named[]): readonly Named[] {
  return [...new Map(objects.map((object) => [`${object[0]}/${object[1].name}`, object])).values()];
}
