/** Explains what becomes of a packet, over a fresh reading of the kernel. Writes nothing. */
import { type FlowEnd, hasEndOf } from "../../../lib/conntrack/ends.ts";
import type { Flow } from "../../../lib/conntrack/flow.ts";
import { compileContradictsChunked } from "../../../lib/conntrack/permits.ts";
import { explainChunked } from "../../../lib/explain/explain.ts";
import type { Explanation, Question } from "../../../lib/explain/explanation.ts";
import { flowsOf, numberOf } from "../../../lib/explain/flows.ts";
import { eipNamesOf } from "../../../lib/explain/objects.ts";
import { subnetsOf } from "../../../lib/explain/subnets.ts";
import type { FoundFlows, ObjectReason, World } from "../../../lib/explain/world.ts";
import { GatewayError } from "../../../lib/model/errors.ts";
import type { Ip } from "../../../lib/model/ip.ts";
import type { ObjectId } from "../../../lib/model/names.ts";
import type { Chain } from "../../../lib/netfilter/chain.ts";
import { tableLabel } from "../../../lib/nftables/family.ts";
import { filterTableNames } from "../../../lib/nftables/filter-table-names.ts";
import { outsideInterfaces } from "../../../lib/plan/gate/filter-tables.ts";
import type { NetfilterObserved } from "../../../lib/plan/netfilter/observed.ts";
import type { Snapshot } from "../../../lib/plan/plan-input.ts";
import type { ReachObserved } from "../../../lib/plan/reach/planner.ts";
import { compileRouteLookup } from "../../../lib/plan/reach/route-lookup.ts";
import { isClosing } from "../../../lib/ports/flow-state.ts";
import type { State } from "../../../lib/state/state.ts";
import type { ConntrackDriver, ImportableDataplane } from "../../kernel/drivers.ts";
import { Mutex } from "../../mutex.ts";
import { runYielding } from "../../run-yielding.ts";
import type { StateAccess } from "../../store/state-access.ts";
import type { AskedPass } from "./dry-run.ts";
import { SharedReading } from "./shared-reading.ts";

export interface ExplainDeps {
  readonly store: Pick<StateAccess, "current">;
  readonly conntrack: Pick<ConntrackDriver, "find">;
  readonly dataplane: Pick<ImportableDataplane, "ownRules" | "planner">;
}

/** What is known of an object that is not Ready. */
export type ReasonOf = (id: ObjectId) => ObjectReason | undefined;

/** What all questions share. */
type Ground = Omit<World, "flows" | "reasonOf">;

/** The first few flows are enough to name one. */
const maxSimilar = 20;

export class Explanations {
  readonly #deps: ExplainDeps;
  readonly #ground: SharedReading<Ground>;
  readonly #mutex = new Mutex();

  constructor(deps: ExplainDeps, pass: Pick<AskedPass, "observe" | "preview">) {
    this.#deps = deps;
    this.#ground = new SharedReading({ read: (signal) => readGround(deps, pass, signal) });
  }

  async run(question: Question, reasonOf: ReasonOf, signal: AbortSignal): Promise<Explanation> {
    const ground = await this.#ground.get(signal);
    return this.#mutex.run(async () => {
      signal.throwIfAborted();
      const flows = await findFlows(this.#deps, question, ground.program, signal);
      return runYielding(explainChunked(question, { ...ground, flows, reasonOf }));
    });
  }
}

async function readGround(
  { store, dataplane }: ExplainDeps,
  pass: Pick<AskedPass, "observe" | "preview">,
  signal: AbortSignal,
): Promise<Ground> {
  const snapshot = await pass.observe(signal);
  const state: State = store.current;
  const { program } = await pass.preview(state, snapshot);
  const rules = readingOf(snapshot, "rule");
  const { foreign } = readingOf(snapshot, "netfilter") as NetfilterObserved;
  const { network, paths, silentHops } = readingOf(snapshot, "reach") as ReachObserved;
  const { chains } = snapshot.facts.netfilterContext ?? { chains: [] };
  const { planner } = dataplane;
  const retired = new Set([...state.ledger.retired, ...snapshot.facts.eipsNamedByRules]);
  const [isClosed, isSelective] = [planner.isGateClosed(rules), planner.isGateSelective(rules)];
  return {
    program,
    desired: state.desired,
    eipNames: await runYielding(eipNamesOf(state.desired)),
    network,
    subnets: await runYielding(subnetsOf(network, program.family)),
    routes: await runYielding(compileRouteLookup(network, paths, program.family)),
    silentHops,
    outsides: await runYielding(outsideInterfaces(program)),
    chains: joinChains(chains, foreign),
    own: await runYielding(dataplane.ownRules(rules, program)),
    gate: {
      isClosed,
      isSelective,
      rule: isSelective ? `table ${tableLabel(filterTableNames.gate)}` : gateChain,
    },
    contradicts: await runYielding(compileContradictsChunked({ program, retired, network })),
  };
}

const gateChain = "-t filter -A FORWARD -j NATGW_GATE";

/** Chains read together with the rules are more current than those read separately. */
function joinChains(withRules: readonly Chain[], foreign: readonly Chain[]): readonly Chain[] {
  const places = new Set(withRules.map(({ place }) => place));
  return [...withRules, ...foreign.filter(({ place }) => !places.has(place))];
}

/** What cannot be read is never explained as if it were empty. */
function readingOf({ observed, unread }: Snapshot, name: "rule" | "netfilter" | "reach"): unknown {
  const error = unread.get(name);
  if (error !== undefined) throw error;
  const reading = observed.get(name);
  if (reading === undefined) throw new GatewayError("unreadable", `no reading of ${name}`);
  return reading;
}

/** One search: the flows between the two ends, and the ports of each EIP towards the destination. */
async function findFlows(
  { conntrack }: ExplainDeps,
  question: Question,
  { family }: Ground["program"],
  signal: AbortSignal,
): Promise<FoundFlows> {
  const { from, to, protocol, port, sourcePort } = question;
  if (from === undefined) return { exact: undefined, similar: [], similarTotal: 0, portsUsed: undefined };
  const ends: readonly FlowEnd[] = [
    { tuple: "original", side: "source", address: from },
    { tuple: "reply", side: "source", address: from },
    { tuple: "reply", side: "source", address: to },
  ];
  const isOfEnds = hasEndOf(ends, family);
  const isWanted = flowsOf(question, family);
  const [number, destination] = [numberOf(protocol, family), family.toValue(to)];
  const used = new Map<Ip, { readonly live: number[]; readonly closing: number[] }>();
  const { flows, total } = await conntrack.find(
    (flow) => {
      if (!isOfEnds(flow)) return false;
      const isThere =
        flow.protocol === number && flow.replySource === destination && flow.replySourcePort === port;
      if (isThere) {
        const eip = family.format(flow.replyDestination);
        const ports = used.get(eip) ?? { live: [], closing: [] };
        used.set(eip, ports);
        ports[isClosing(flow) ? "closing" : "live"].push(flow.replyDestinationPort);
      }
      return isWanted(flow);
    },
    maxSimilar,
    signal,
    ends,
  );
  const isExact = sourcePort !== undefined && port !== undefined && protocol !== "icmp";
  const exact: Flow | undefined = isExact ? flows[0] : undefined;
  return {
    exact,
    similar: exact === undefined ? flows : [],
    similarTotal: exact === undefined ? total : 0,
    portsUsed: protocol === "icmp" || port === undefined ? undefined : used,
  };
}
