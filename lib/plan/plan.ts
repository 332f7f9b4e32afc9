/**
 * The complete planning pipeline in its plain form: the compiler and the planner of every subsystem, applied to the
 * desired set, the readings and the context. Passes, verification, `GET /v1/plan` and dry runs all use it.
 */

import { type Chunked, runSync } from "../chunked.ts";
import { type Compiled, compileChunked } from "../compile/compile.ts";
import type { CompileContext } from "../kinds/compilation.ts";
import { type ConnectedSubnet, connectedSubnets } from "../kinds/facts.ts";
import type { Change, SubsystemName } from "../model/change.ts";
import type { GatewayError } from "../model/errors.ts";
import type { GatewayConfig } from "../model/gateway-config.ts";
import type { Ip } from "../model/ip.ts";
import type { Ledger } from "../model/ledger.ts";
import type { InterfaceName } from "../model/names.ts";
import type { ObservedNetwork } from "../model/observed.ts";
import type { Program } from "../model/program.ts";
import type { Desired } from "../state/desired.ts";
import type { State } from "../state/state.ts";
import type { AddressPlan } from "./address-plan.ts";
import { planAddressesChunked } from "./network/addresses.ts";
import { leavingEipsChunked } from "./network/leaving-eips.ts";
import { ownAddressesChunked } from "./network/own-addresses.ts";
import { type Phase, phases } from "./phases.ts";
import type { PlanContext, PlanInput, Snapshot } from "./plan-input.ts";
import {
  type Obstacle,
  type Step,
  type SubsystemPlan,
  type SubsystemPlanner,
  subsystemPlan,
} from "./subsystem.ts";

export interface PlannedStep extends Step {
  readonly subsystem: SubsystemName;
}

/** Everything that a pass would do, as data. */
export interface Plan extends PlanInput, CompiledIn {
  readonly parts: ReadonlyMap<SubsystemName, SubsystemPlan>;
  /** In order of application. */
  readonly steps: readonly PlannedStep[];
  /** The changes of the steps, for people. */
  readonly changes: readonly Change[];
}

/** Pure. `state.ledger` is of this epoch. */
export function plan(
  state: State,
  snapshot: Snapshot,
  context: PlanContext,
  planners: readonly SubsystemPlanner[],
): Plan {
  const { facts } = snapshot;
  const { config } = context;
  const { desired, ledger } = state;
  const named = namedByRules(facts.eipsNamedByRules, context.knownOwn);
  const own = runSync(ownAddressesOf(facts.network, ledger, named, config));
  const missing = missingInterfaces(config, desired, facts.network);
  const subnets = connectedSubnets(facts.network, own);
  const compiled = compileIn(desired, context, own, missing, subnets);
  const held = addressesOf(compiled.compiled.program, facts.network, ledger, named, own, config);
  const addresses = runSync(held);
  const { program } = compiled.compiled;
  const leaving = runSync(leavingEipsChunked(program, facts.network, facts.eipsNamedByRules, ledger, own));
  const input = { program, facts, context, ledger, own, addresses, leaving };
  const parts = planners.map((planner) => {
    const error = snapshot.unread.get(planner.name);
    const part =
      error === undefined
        ? planner.plan(input, snapshot.observed.get(planner.name))
        : unreadPlan(planner, error);
    return [planner.name, part] as const;
  });
  return assemble(input, compiled, parts);
}

/** An address that was the gateway's own at the last reading does not become an EIP because of a stray rule. */
export function namedByRules(eips: ReadonlySet<Ip>, knownOwn: ReadonlySet<Ip>): ReadonlySet<Ip> {
  return eips.isDisjointFrom(knownOwn) ? eips : eips.difference(knownOwn);
}

export function ownAddressesOf(
  observed: ObservedNetwork,
  ledger: Ledger,
  ownedByRules: ReadonlySet<Ip>,
  { vpcInterface, family }: GatewayConfig,
): Chunked<ReadonlySet<Ip>> {
  return ownAddressesChunked({ observed, ledger, ownedByRules, vpcInterface, family });
}

/** Interfaces named by the settings or an Eip that do not exist in this namespace. */
export function missingInterfaces(
  { vpcInterface, externalInterface }: GatewayConfig,
  { eips }: Desired,
  { links }: ObservedNetwork,
): ReadonlySet<InterfaceName> {
  const missing = new Set([vpcInterface, externalInterface]);
  for (const { spec } of eips.values()) if (spec.interface !== undefined) missing.add(spec.interface);
  for (const { name } of links) missing.delete(name);
  return missing;
}

/** The compiler's result and its input. */
export interface CompiledIn {
  readonly compiled: Compiled;
  readonly compileContext: CompileContext;
}

export function compileIn(...given: Parameters<typeof compileInChunked>): CompiledIn {
  return runSync(compileInChunked(...given));
}

/** The same in parts. */
export function* compileInChunked(
  desired: Desired,
  { config, expiredLeases, probing, addressConflicts, quarantined }: PlanContext,
  ownAddresses: ReadonlySet<Ip>,
  missingInterfaces: ReadonlySet<InterfaceName>,
  subnets: readonly ConnectedSubnet[],
): Chunked<CompiledIn> {
  const known = { expiredLeases, probing, addressConflicts, quarantined };
  const compileContext = { ...config, ...known, ownAddresses, missingInterfaces, connectedSubnets: subnets };
  return { compileContext, compiled: yield* compileChunked(desired, compileContext) };
}

export function* addressesOf(
  program: Program,
  observed: ObservedNetwork,
  ledger: Ledger,
  ownedByRules: ReadonlySet<Ip>,
  own: ReadonlySet<Ip>,
  { eipBinding: binding }: GatewayConfig,
): Chunked<AddressPlan> {
  return yield* planAddressesChunked({
    program,
    observed,
    ledger,
    ownedByRules,
    own,
    keep: noAddresses,
    binding,
  });
}

const noAddresses: ReadonlySet<Ip> = new Set();

/** What cannot be read is not Ready, and nothing is written there. */
export function unreadPlan({ title, serves }: SubsystemPlanner, error: GatewayError): SubsystemPlan {
  const message = `cannot read ${title}: ${error.message}`;
  const obstacle: Obstacle = { condition: "Programmed", reason: "KernelUnreadable", message };
  const kinds = new Map(serves.map((kind) => [kind, obstacle]));
  const notices = [{ reason: "KernelUnreadable" as const, message }];
  return subsystemPlan([], () => ({ objects: new Map(), kinds }), { notices, isUnfinished: true });
}

/** Orders the steps of all subsystems. Within a phase the subsystems keep their order. */
export function assemble(...given: Parameters<typeof assembleChunked>): Plan {
  return runSync(assembleChunked(...given));
}

/** Takes a few milliseconds. */
const assembledAtOnce = 10_000;

/** The same in parts. */
export function* assembleChunked(
  input: PlanInput,
  compiled: CompiledIn,
  parts: readonly (readonly [SubsystemName, SubsystemPlan])[],
): Chunked<Plan> {
  const byPhase = new Map(phases.map((phase): [Phase, PlannedStep[]] => [phase, []]));
  let seen = 0;
  for (const [subsystem, part] of parts) {
    for (const step of part.steps) {
      if (++seen % assembledAtOnce === 0) yield;
      byPhase.get(step.phase)?.push({ ...step, subsystem });
    }
  }
  const steps = [...byPhase.values()].flat();
  yield;
  const changes: Change[] = [];
  for (const [index, step] of steps.entries()) {
    if (index % assembledAtOnce === assembledAtOnce - 1) yield;
    for (const change of step.changes) changes.push(change);
  }
  return { ...input, ...compiled, parts: new Map(parts), steps, changes };
}
