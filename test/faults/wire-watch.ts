/** Every frame that leaves the gateway by the outside wire, looked at on the wire's own side: none may carry a pod's address. */
import type { Lab } from "../support/lab.ts";
import { inNamespace } from "../support/namespaces.ts";
import { run } from "../support/run.ts";

/** The bridge sees a frame whoever it is for; rules by name outlive a cable that is drawn anew. */
const ruleset = `
table bridge wire_watch {
  set leaked { type ipv4_addr . ipv4_addr . inet_proto; flags dynamic; size 4096; counter; }
  counter translated { }
  chain pre {
    type filter hook prerouting priority -300; policy accept;
    iifname "gw-out" ip saddr 10.0.0.0/8 add @leaked { ip saddr . ip daddr . ip protocol }
    iifname "gw-out" ip saddr 203.0.113.0/24 counter name translated
  }
}
`;

export class WireWatch {
  readonly #wire: string;

  constructor(lab: Lab) {
    this.#wire = `${lab.name}-wire`;
  }

  /** From the moment it resolves; ends with the lab. */
  async start(): Promise<void> {
    await this.#nft(["-f", "-"], ruleset);
  }

  /** What left under a pod's own address, a line each: source, destination, protocol and how many packets. */
  async leaks(): Promise<readonly string[]> {
    const text = await this.#nft(["list", "set", "bridge", "wire_watch", "leaked"]);
    return Array.from(text.matchAll(/(\S+ \. \S+ \. \S+) counter (packets \d+)/g), ([line]) => line);
  }

  /** Packets that left under an address of the outside: proof that the watch sees what leaves. */
  async translated(): Promise<number> {
    const text = await this.#nft(["list", "counter", "bridge", "wire_watch", "translated"]);
    return Number(/packets (\d+)/.exec(text)?.[1]);
  }

  /**
   * Takes the gateway's cable off, as a pod's teardown does before its namespace goes: a namespace that dies loses its NAT
   * before its links, and what passes in between is nobody's to translate any more.
   */
  async unplug(): Promise<void> {
    await run("ip", ["-n", this.#wire, "link", "delete", "gw-out"]);
  }

  #nft(args: readonly string[], input = ""): Promise<string> {
    const [command = "ip", ...argv] = inNamespace(this.#wire, ["nft", ...args]);
    return run(command, argv, { input });
  }
}
