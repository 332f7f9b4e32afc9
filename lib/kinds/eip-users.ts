/** What FIPs, SNATs and DNATs have in common: their rules use the address of an Eip. */
import { type ObjectName, objectId } from "../model/names.ts";
import type { ProgramEip } from "../model/program.ts";
import { acceptedBlock, clashBlock, quarantineBlock } from "./blocks.ts";
import type { Block, Compilation } from "./compilation.ts";
import type { AddressOf, AnySpec, Parsed } from "./kind.ts";

type UserSpec = AnySpec & { readonly eip: ObjectName };

/**
 * The Eip for the rules of a FIP, SNAT or DNAT. `undefined` if something keeps the object out; it is then recorded as
 * blocked.
 */
export function eipFor({ id, spec }: Parsed<UserSpec>, compilation: Compilation): ProgramEip | undefined {
  const eip = compilation.eips.get(spec.eip);
  const block =
    clashBlock(id, compilation) ?? (eip ? quarantineBlock(id, compilation) : eipBlock(spec.eip, compilation));
  if (block === undefined) return eip;
  compilation.blocked.set(id, block);
  return undefined;
}

/** Why the users of a blocked or missing Eip are blocked. Every stored Eip that rules may not use is blocked itself. */
function eipBlock(name: ObjectName, { blocked }: Compilation): Block {
  const block = blocked.get(objectId("eip", name));
  if (block === undefined) return acceptedBlock("EipNotFound", `eip ${name} does not exist`);
  if (block.reason === "LeaseExpired" || block.reason === "Pending") return block;
  return acceptedBlock("EipNotReady", `eip ${name} is not programmed: ${block.message}`);
}

/** The Eip of an object for people: its address if known, else its name. */
export function eipText(name: ObjectName, addressOf: AddressOf): string {
  return addressOf(name) ?? name;
}
