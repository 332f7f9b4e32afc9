/**
 * From what is desired to what is to be programmed: clashes decided, references resolved, leases and conflicts taken
 * out. Pure and linear; runs in every pass.
 */
import { type Chunked, runSync } from "../chunked.ts";
import type { Block, Compilation, CompileContext, Idle } from "../kinds/compilation.ts";
import { recordOf } from "../kinds/registry.ts";
import { type Kind, kinds, type ObjectId, type ObjectName } from "../model/names.ts";
import type { Program } from "../model/program.ts";
import { type Desired, objectsOf } from "../state/desired.ts";
import { findClashesChunked } from "./clashes.ts";
import { usersByEip } from "./references.ts";

export interface Compiled {
  readonly program: Program;
  /** What stays out of the program, and why. */
  readonly blocked: ReadonlyMap<ObjectId, Block>;
  /** Objects that are in order without a rule of their own: Ready once their Eip is. */
  readonly idle: ReadonlyMap<ObjectId, Idle>;
  /** DNATs that no packet reaches, each with the FIP that takes all packets of its EIP. They are programmed all the same. */
  readonly shadowed: ReadonlyMap<ObjectId, ObjectId>;
  /** The stored users of each Eip's name, clashing ones too: FIPs, SNATs, DNATs, each by creation. */
  readonly usedBy: ReadonlyMap<ObjectName, readonly ObjectId[]>;
}

/** Every stored object comes out in exactly one place: in the program, blocked, or idle. */
export function compile(desired: Desired, context: CompileContext): Compiled {
  return runSync(compileChunked(desired, context));
}

/** The same in parts, of one kind at most. */
export function* compileChunked(desired: Desired, context: CompileContext): Chunked<Compiled> {
  // Asked for by few, and as dear as all the rest.
  let users: Compiled["usedBy"] | undefined;
  const compilation: Compilation = {
    context,
    clashes: yield* findClashesChunked(desired, context),
    blocked: new Map(),
    idle: new Map(),
    shadowed: new Map(),
    eips: new Map(),
    program: {
      family: context.family,
      vpcInterface: context.vpcInterface,
      externalInterface: context.externalInterface,
      defaultGateway: desired.gateway.defaultGateway ?? context.fallbackGateway,
      eips: [],
      fips: [],
      dnats: [],
      pools: [],
      routes: [],
    },
  };
  for (const kind of kinds) {
    yield;
    const part = compileKind(kind, desired, compilation);
    compilation.program = { ...compilation.program, ...part };
  }
  const { program, blocked, idle, shadowed } = compilation;
  return {
    program,
    blocked,
    idle,
    shadowed,
    get usedBy() {
      users ??= usersByEip(desired);
      return users;
    },
  };
}

function compileKind<K extends Kind>(kind: K, desired: Desired, compilation: Compilation): Partial<Program> {
  const record = recordOf(kind);
  return record.compile(record.parseAll(objectsOf(desired, kind)), compilation);
}
