/**
 * Inspects every frame that leaves the gateway to the outside, on the bridge's side: none may carry a pod's address.
 */

import { runIn } from "../support/in-namespace.ts";
import type { Lab } from "../support/lab.ts";

/** The bridge sees frames for any host. Rules by interface name survive a recreated cable. */
const ruleset = `
table bridge wire_watch {
  set leaked { type ipv4_addr . ipv4_addr . inet_proto; flags dynamic; size 4096; counter; }
  counter translated { }
  chain pre {
    type filter hook prerouting priority -300; policy accept;
    iifname "gw-out" ip saddr 10.0.0.0/8 add @leaked { ip saddr . ip daddr . ip protocol }
    iifname "gw-out" ip saddr { 198.51.100.0/24, 203.0.113.0/24 } counter name translated
  }
}
`;

export class WireWatch {
  readonly #wire: string;

  constructor(lab: Lab) {
    this.#wire = `${lab.name}-wire`;
  }

  /** Active when it resolves; ends with the lab. */
  async start(): Promise<void> {
    await this.#nft(["-f", "-"], ruleset);
  }

  /** Packets that left with a pod's own address, one line each: source, destination, protocol and number of packets. */
  async leaks(): Promise<readonly string[]> {
    const text = await this.#nft(["list", "set", "bridge", "wire_watch", "leaked"]);
    return Array.from(text.matchAll(/(\S+ \. \S+ \. \S+) counter (packets \d+)/g), ([line]) => line);
  }

  /** What left until now does not count. */
  async forget(): Promise<void> {
    await this.#nft(["flush", "set", "bridge", "wire_watch", "leaked"]);
  }

  /** Packets that left with an external address: proof that the watch works. */
  async translated(): Promise<number> {
    const text = await this.#nft(["list", "counter", "bridge", "wire_watch", "translated"]);
    return Number(/packets (\d+)/.exec(text)?.[1]);
  }

  /**
   * Removes the gateway's cable, like the teardown of a pod before its namespace ends: a dying namespace loses its NAT
   * before its links, and packets in between cannot be translated.
   */
  async unplug(): Promise<void> {
    await runIn(this.#wire, ["ip", "link", "delete", "gw-out"]);
  }

  #nft(args: readonly string[], input = ""): Promise<string> {
    return runIn(this.#wire, ["nft", ...args], { input });
  }
}
