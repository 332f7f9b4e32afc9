/** The agent's own NAT rules as one packet meets them: as the kernel has them, not as they should be. */
import type { Chunked } from "../chunked.ts";
import type { HookName } from "../netfilter/chain.ts";
import type { Endpoint, Packet } from "./packet.ts";

/** A rule that translates a packet. */
export interface Hit {
  /** In the words of its tool. */
  readonly rule: string;
  readonly side: "source" | "destination";
  /** What it becomes: one of these, drawn at random. At least one. */
  readonly to: readonly [Endpoint, ...Endpoint[]];
  /** True if the client's address decides which one it is. */
  readonly isSticky?: boolean;
}

/** A chain of nf_tables that only the agent has. */
export interface OwnHook {
  readonly hook: HookName;
  readonly priority: number;
  translate(packet: Packet): Chunked<Hit | undefined>;
}

export interface OwnRules {
  /** What happens to a packet that jumps to an owned chain of the nat table. */
  enter(chain: string, packet: Packet): Chunked<Hit | undefined>;
  readonly hooks: readonly OwnHook[];
  /** True if packets from the VPC get the mark that hairpin rules look for. */
  readonly marksVpc: boolean;
  /** Rules in owned chains that are none of the agent's. */
  readonly strange: readonly string[];
}
