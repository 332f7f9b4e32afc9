/** What FIPs, SNATs and DNATs have in common: they come down to rules that name an Eip. */
import { type ObjectName, objectId } from "../model/names.ts";
import type { ProgramEip } from "../model/program.ts";
import { acceptedBlock, clashBlock, quarantineBlock } from "./blocks.ts";
import type { Block, Compilation } from "./compilation.ts";
import type { AddressOf, AnySpec, Parsed } from "./kind.ts";

type UserSpec = AnySpec & { readonly eip: ObjectName };

/** The Eip that a user's rules are to name; `undefined` where something keeps the user out, which is then blocked. */
export function eipFor({ id, spec }: Parsed<UserSpec>, compilation: Compilation): ProgramEip | undefined {
  const eip = compilation.eips.get(spec.eip);
  const block =
    clashBlock(id, compilation) ?? (eip ? quarantineBlock(id, compilation) : eipBlock(spec.eip, compilation));
  if (block === undefined) return eip;
  compilation.blocked.set(id, block);
  return undefined;
}

/** What keeps the users of an Eip out that rules may not name. Every stored Eip that they may not is blocked. */
function eipBlock(name: ObjectName, { blocked }: Compilation): Block {
  const block = blocked.get(objectId("eip", name));
  if (block === undefined) return acceptedBlock("EipNotFound", `eip ${name} does not exist`);
  if (block.reason === "LeaseExpired" || block.reason === "Pending") return block;
  return acceptedBlock("EipNotReady", `eip ${name} is not programmed: ${block.message}`);
}

/** The Eip of a user as people know it: its address, else its name. */
export function eipText(name: ObjectName, addressOf: AddressOf): string {
  return addressOf(name) ?? name;
}
