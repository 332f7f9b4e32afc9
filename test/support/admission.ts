/** A store without a disk: runs decisions one after another on the newest state, for tests of admission. */

import { applyBatch } from "../../lib/admission/batch.ts";
import { deleteObject } from "../../lib/admission/delete-object.ts";
import { checkSet, putFullSet } from "../../lib/admission/full-set.ts";
import { putObject } from "../../lib/admission/put-object.ts";
import { renewLeases } from "../../lib/admission/renew-leases.ts";
import type { Batch, FullSet } from "../../lib/admission/requests.ts";
import type { Decision, IfMatch, WriteContext } from "../../lib/admission/writes.ts";
import { runSync } from "../../lib/chunked.ts";
import type { ConnectedSubnet, Facts } from "../../lib/kinds/facts.ts";
import type { SpecOf } from "../../lib/kinds/registry.ts";
import { GatewayError } from "../../lib/model/errors.ts";
import type { Ip } from "../../lib/model/ip.ts";
import type { Collection, InterfaceName, Kind, ObjectName, Uid } from "../../lib/model/names.ts";
import { reduce } from "../../lib/state/reduce.ts";
import { emptyState, type Instant, type State } from "../../lib/state/state.ts";

/** Specs in tests are plain JSON. This function adds the brands. */
export type Plain = Readonly<Record<string, unknown>> & { readonly name: string };
export type PlainSet = Partial<Record<Collection, readonly Plain[]>> & {
  readonly generation: number;
  readonly gateway?: Readonly<Record<string, unknown>>;
};

export function fullSet(set: PlainSet): FullSet {
  const filled = { eips: [], fips: [], snats: [], dnats: [], routes: [], ...set };
  return filled as unknown as FullSet;
}

export class World {
  state: State = emptyState;
  now: Instant = { bootId: "boot-1", bootMs: 1_000, wallMs: 1_700_000_000_000 };
  ownAddresses = new Set<Ip>();
  fallbackGateway: Ip | undefined;
  connectedSubnets: readonly ConnectedSubnet[] | undefined;
  isUnadopted = false;

  get context(): WriteContext {
    const facts: Facts = {
      vpcInterface: "eth0" as InterfaceName,
      externalInterface: "net1" as InterfaceName,
      ownAddresses: this.ownAddresses,
      fallbackGateway: this.fallbackGateway,
      connectedSubnets: this.connectedSubnets,
    };
    return { now: this.now, facts, isUnadopted: this.isUnadopted, digest: (text) => text };
  }

  /** Advances both clocks. */
  pass(ms: number): void {
    this.now = { ...this.now, bootMs: this.now.bootMs + ms, wallMs: this.now.wallMs + ms };
  }

  put(kind: Kind, spec: Plain, ifMatch?: IfMatch, ifNoneMatch?: IfMatch): Decision {
    const request = { kind, spec: spec as unknown as SpecOf[Kind], ifMatch, ifNoneMatch };
    return this.#keep(putObject(this.state, request, this.context));
  }

  delete(
    kind: Kind,
    name: string,
    options: { uid?: string; isCascading?: boolean; ifMatch?: IfMatch } = {},
  ): Decision {
    const { uid, ...others } = options;
    const request = { kind, name: name as ObjectName, uid: uid as Uid | undefined, ...others };
    return this.#keep(deleteObject(this.state, request, this.context));
  }

  batch(
    batch: {
      upsert?: Partial<Record<Collection, readonly Plain[]>>;
      delete?: Partial<Record<Collection, string[]>>;
    },
    ifMatch?: IfMatch,
  ): Decision {
    return this.#keep(applyBatch(this.state, { batch: batch as unknown as Batch, ifMatch }, this.context));
  }

  set(set: PlainSet, ifMatch?: IfMatch): Decision {
    const checked = runSync(checkSet(fullSet(set), this.context.digest));
    return this.#keep(putFullSet(this.state, { set: checked, ifMatch }, this.context));
  }

  renew(eips: readonly string[], ifMatch?: IfMatch): Decision {
    return this.#keep(
      renewLeases(this.state, { eips: eips as readonly ObjectName[], ifMatch }, this.context),
    );
  }

  /** The stored names of a kind, oldest first. */
  names(kind: Kind): readonly string[] {
    return [...this.state.desired[`${kind}s`].keys()];
  }

  /** The object stored under a name. */
  stored(kind: Kind, name: string) {
    return this.state.desired[`${kind}s`].get(name as ObjectName);
  }

  /** Encodes and decodes changes as JSON, as the journal does. */
  #keep(decision: Decision): Decision {
    this.state = reduce(this.state, JSON.parse(JSON.stringify(decision.changes)));
    if (decision.refusal !== undefined) throw decision.refusal;
    return decision;
  }
}

/** The error with which `write` was refused. Throws if it was not refused. */
export function refusal(write: () => unknown): GatewayError {
  try {
    write();
  } catch (error) {
    if (error instanceof GatewayError) return error;
    throw error;
  }
  throw new Error("was not refused");
}
