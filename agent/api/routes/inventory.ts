/** The inventory of IPs, and the release of orphans. */
import type { FastifyInstance } from "fastify";
import { Type } from "typebox";
import { checkIfMatch } from "../../../lib/admission/writes.ts";
import type { Chunked } from "../../../lib/chunked.ts";
import { type Inventory, inventory, type Role } from "../../../lib/inventory/inventory.ts";
import { isSameSet, memoizeBrieflyChunked, stabilize } from "../../../lib/memoize.ts";
import { GatewayError } from "../../../lib/model/errors.ts";
import { parseIp } from "../../../lib/model/families.ts";
import { addressOf, type Ip } from "../../../lib/model/ip.ts";
import { objectId } from "../../../lib/model/names.ts";
import type { ObservedNetwork } from "../../../lib/model/observed.ts";
import type { State } from "../../../lib/state/state.ts";
import { Mutex } from "../../mutex.ts";
import type { RouteContext } from "../deps.ts";
import { parseIfMatch } from "../etag.ts";
import type { ViewPort } from "../ports.ts";
import { notFound } from "../problem.ts";
import { requestSignal } from "../request-signal.ts";
import { ifMatchHeader, inventorySchema, releaseSchema, responses } from "../responses.ts";

const releaseDeadlineMs = 60_000;
/** Takes a few milliseconds. */
const objectsPerPart = 2_000;
/** Why an address cannot be released, as text. */
const holders = {
  self: "the gateway's own address",
  gateway: "the next hop of the default route",
  eip: "an Eip's",
  orphan: "an orphan",
  conflict: "desired, and held elsewhere",
} as const satisfies Record<Role, string>;
const nothingSeen: ObservedNetwork = { links: [], addresses: [], routes: [], sysctls: new Map() };

export function inventoryRoutes(app: FastifyInstance, context: RouteContext): void {
  const inventories = new Inventories(context);
  app.get(
    "/v1/inventory",
    {
      schema: {
        operationId: "getInventory",
        tags: ["inventory"],
        summary: "Lists every IP once, with counts per subnet",
        response: responses({ 200: inventorySchema }),
      },
    },
    async (_request, reply) => {
      await context.answers.reserve(reply);
      const observed = context.reconciler.network !== undefined;
      return { observed, ...(await inventories.take()) };
    },
  );

  app.post<{ Params: { ip: string } }>(
    "/v1/inventory/:ip/release",
    {
      schema: {
        operationId: "releaseAddress",
        tags: ["inventory"],
        summary: "Removes an orphan from the kernel, with all owned rules and flows on it",
        headers: ifMatchHeader,
        params: Type.Object({ ip: Type.String({ description: "An IPv4 address" }) }),
        response: responses({ 200: releaseSchema }),
      },
    },
    async (request, reply) => {
      const ifMatch = parseIfMatch(request.headers);
      checkIfMatch(context.state.current, ifMatch);
      const ip = parseIp(request.params.ip);
      if (ip === undefined) throw notFound("An address of that form");
      await refuseUnlessOrphan(context, inventories, ip);
      return context.reconciler.release(
        { address: ip, ifMatch },
        requestSignal(reply, context.stopping, releaseDeadlineMs),
      );
    },
  );
}

/** @throws `conflict` if it is desired, `in-use` if it is the gateway's own or its next hop, else `not-found` */
async function refuseUnlessOrphan(context: RouteContext, inventories: Inventories, ip: Ip): Promise<void> {
  if (context.reconciler.network === undefined) {
    throw new GatewayError("internal", "The kernel has not been read yet; try again");
  }
  const { addresses } = await inventories.take();
  const entry = addresses.find((address) => address.ip === ip);
  if (entry === undefined) throw notFound(ip);
  if (entry.users.length > 0) {
    const [user] = entry.users;
    const details = { users: entry.users };
    throw new GatewayError("conflict", `${ip} is desired by ${user}; delete that first`, { details });
  }
  if (entry.role !== "orphan") {
    throw new GatewayError("in-use", `${ip} is ${holders[entry.role]}`, {
      details: { role: entry.role },
    });
  }
}

/**
 * The inventory of the current state and observation. One is computed at a time, and all who ask while nothing changes get
 * the same: of many objects it takes some 20 MiB.
 */
class Inventories {
  readonly #context: RouteContext;
  readonly #mutex = new Mutex();
  readonly #stable = stabilize<ReadonlySet<Ip>>(isSameSet);
  readonly #compute = memoizeBrieflyChunked(
    (
      { desired, ledger }: State,
      network: ObservedNetwork,
      own: ReadonlySet<Ip>,
      orphans: ReadonlySet<Ip>,
      contested: ReadonlySet<Ip>,
    ) => {
      const { externalInterface, fallbackGateway } = this.#context.settings;
      const gateway = desired.gateway.defaultGateway ?? fallbackGateway;
      return inventory({ desired, ledger, network, own, orphans, contested, gateway, externalInterface });
    },
  );

  constructor(context: RouteContext) {
    this.#context = context;
  }

  take(): Promise<Inventory> {
    return this.#mutex.run(() => this.#context.answers.turns.run(this.#take()));
  }

  *#take(): Chunked<Inventory> {
    const { board, reconciler } = this.#context;
    const view = board.view();
    const { network = nothingSeen, ownAddresses, orphans } = reconciler;
    const contested = this.#stable(yield* contestedOf(view));
    return yield* this.#compute(view.state, network, ownAddresses, orphans, contested);
  }
}

/** EIPs that another host answered for. */
function* contestedOf(view: ViewPort): Chunked<ReadonlySet<Ip>> {
  const contested = new Set<Ip>();
  let looked = 0;
  for (const [name, { spec }] of view.state.desired.eips) {
    if (++looked % objectsPerPart === 0) yield;
    if (view.hasReason(objectId("eip", name), "AddressConflict")) contested.add(addressOf(spec.address));
  }
  return contested;
}
