/** Reasons that keep objects of several kinds out of the program. */
import type { InterfaceName, ObjectId } from "../model/names.ts";
import type { Reason } from "../model/status.ts";
import type { Block, Compilation, CompileContext } from "./compilation.ts";

export function clashBlock(id: ObjectId, { clashes }: Compilation): Block | undefined {
  if (clashes.size === 0) return undefined;
  const clash = clashes.get(id);
  return clash && { isAccepted: false, reason: "Conflict", message: clash.message };
}

export function quarantineBlock(id: ObjectId, { context }: Compilation): Block | undefined {
  if (context.quarantined.size === 0) return undefined;
  const error = context.quarantined.get(id);
  return error === undefined ? undefined : acceptedBlock("Quarantined", error);
}

export function interfaceBlock(name: InterfaceName, context: CompileContext): Block | undefined {
  if (!context.missingInterfaces.has(name)) return undefined;
  return acceptedBlock("InterfaceNotFound", `interface ${name} does not exist`);
}

export function acceptedBlock(reason: Reason, message: string): Block {
  return { isAccepted: true, reason, message };
}
