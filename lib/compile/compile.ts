/**
 * Compiles the desired set into the program: decides clashes, resolves references, takes out expired leases and address
 * conflicts. Pure and linear. Runs in every pass.
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
  /** Objects that are not in the program, and why. */
  readonly blocked: ReadonlyMap<ObjectId, Block>;
  /** Valid objects without a rule of their own. They are Ready when their Eip is. */
  readonly idle: ReadonlyMap<ObjectId, Idle>;
  /**
   * DNATs that get no packets, each with the FIP that takes all packets of its EIP. They are programmed all the same.
   */
  readonly shadowed: ReadonlyMap<ObjectId, ObjectId>;
  /** FIPs, SNATs and DNATs by the name of their Eip, including clashing ones. Each kind in order of creation. */
  readonly usedBy: ReadonlyMap<ObjectName, readonly ObjectId[]>;
}

/**
 * Every stored object ends in exactly one place: in the program, in `blocked` or in `idle`. The exception is an Eip with
 * `bound: false`: it is blocked, and its IP is in `program.unboundEips` for the rules that use it.
 */
export function compile(desired: Desired, context: CompileContext): Compiled {
  return runSync(compileChunked(desired, context));
}

/** The same in parts. */
export function* compileChunked(desired: Desired, context: CompileContext): Chunked<Compiled> {
  // Few callers need it, and it costs as much as all the rest.
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
    const part = yield* compileKind(kind, desired, compilation);
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

function* compileKind<K extends Kind>(
  kind: K,
  desired: Desired,
  compilation: Compilation,
): Chunked<Partial<Program>> {
  const record = recordOf(kind);
  return yield* record.compile(yield* record.parseAll(objectsOf(desired, kind)), compilation);
}
