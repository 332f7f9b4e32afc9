/** Sends random writes to an API and compares each answer, and the stored set after it, with the model. */
import type { ApiClient, Reply } from "../api-client.ts";
import { type Kind, kinds, type Spec } from "./clashes.ts";
import { Expectation } from "./expectation.ts";
import { type Model, type Outcome, textOf, type Window, type Write } from "./model.ts";
import type { Invalid } from "./script.ts";

/** What the model and the gateway disagree about. */
export class Violation extends Error {}

export type Answer = Reply<{ readonly code?: string }>;

export class Correspondent {
  readonly model: Model;
  readonly #api: () => ApiClient;
  readonly #nowMs: () => number;

  /** @param nowMs the clock of leases */
  constructor(model: Model, api: () => ApiClient, nowMs: () => number) {
    this.model = model;
    this.#api = api;
    this.#nowMs = nowMs;
  }

  async sendInvalid({ method, path, body, status, code }: Invalid): Promise<void> {
    const reply = await this.#api().call<{ readonly code?: string }>(method, path, body);
    expectSame("the answer to invalid input", [status, code], [reply.status, reply.body.code]);
    await this.expectStored();
  }

  async write(write: Write): Promise<void> {
    const fromMs = this.#nowMs();
    const reply = await this.send(write);
    this.judge(write, reply, { fromMs, toMs: this.#nowMs() });
    await this.expectStored();
  }

  judge(write: Write, reply: Answer, window: Window): void {
    const before = this.model.clone();
    const outcome = this.model.apply(write, window);
    if (outcome.status !== undefined)
      expectSame("the refusal", [outcome.status, outcome.code], [reply.status, reply.body.code]);
    else {
      const allowed = statusesOf(write, outcome, before, this.model, window);
      if (!allowed.includes(reply.status))
        throw new Violation(
          `status ${reply.status} ${reply.body?.code ?? ""}, expected ${allowed.join(" or ")}`,
        );
    }
    this.#settleRevision(outcome, write, reply.etag);
  }

  /** Where a lease expired just then, only the agent knows whether the write revived it. */
  #settleRevision({ isChanged }: Outcome, { isDryRun = false }: Write, etag: string | undefined): void {
    if (etag === undefined || isDryRun) return;
    const revision = Number(etag.replaceAll('"', ""));
    if (isChanged === undefined && revision === this.model.revision + 1) this.model.revision = revision;
    expectSame("the revision", this.model.revision, revision);
  }

  send(write: Write): Promise<Answer> {
    const api = this.#api();
    const { revision } = this.model;
    const tags = { current: `"${revision}"`, old: `"${revision - 1}"`, "*": "*" };
    const headers = write.ifMatch === undefined ? {} : { "if-match": tags[write.ifMatch] };
    const query = new URLSearchParams();
    if (write.isDryRun === true) query.set("dryRun", "true");
    if (write.isWaiting === true) query.set("wait", "30s");
    const call = (method: "PUT" | "POST" | "DELETE", path: string, body?: unknown) =>
      api.call<{ readonly code?: string }>(method, `/v1/${path}?${query}`, body, headers);
    switch (write.do) {
      case "put":
        return call("PUT", `${write.kind}s/${write.spec.name}`, write.spec);
      case "delete":
        if (write.uid !== undefined) query.set("uid", write.uid);
        if (write.isCascading === true) query.set("cascade", "true");
        return call("DELETE", `${write.kind}s/${write.name}`);
      case "batch":
        return call("POST", "batch", { upsert: grouped(write.upsert), delete: grouped(write.remove) });
      case "set": {
        const { generation, defaultGateway, objects } = write;
        const empty = { eips: [], fips: [], snats: [], dnats: [], routes: [] };
        return call("PUT", "desired", {
          generation,
          gateway: { defaultGateway },
          ...empty,
          ...grouped(objects),
        });
      }
      case "renew":
        return call("POST", "leases/renew", { eips: write.names });
    }
  }

  async expectStored(): Promise<void> {
    expectSame("the stored set", storedOf(this.model), await this.stored());
  }

  async stored(): Promise<string> {
    const { body, etag } = await this.#api().call<Readonly<Record<string, unknown>>>("GET", "/v1/desired");
    const objects = kinds.flatMap((kind) =>
      ((body[`${kind}s`] ?? []) as readonly Spec[]).map((spec) => `${kind} ${textOf(spec)}`),
    );
    const { defaultGateway } = body.gateway as { readonly defaultGateway?: string };
    return setText(Number(etag?.replaceAll('"', "")), Number(body.generation), defaultGateway ?? "", objects);
  }
}

/** The statuses that an accepted write may have. */
function statusesOf(
  write: Write,
  { isReplay, touched }: Outcome,
  before: Model,
  after: Model,
  window: Window,
): readonly number[] {
  if (write.isDryRun === true || write.do === "renew") return [200];
  if (write.do === "delete") return [204];
  if (write.isWaiting !== true) {
    if (isReplay) return [200];
    return objectsText(before) === objectsText(after) ? [200, 202] : [202];
  }
  const eips = [...after.of("eip").keys()];
  if (eips.some((name) => after.isExpired(name, { ...window, toMs: window.toMs + 1_500 }) === undefined))
    return [200, 202];
  const readiness = new Expectation(after, window).readiness();
  return touched.every((id) => readiness.get(id)?.isReady) ? [200] : [202];
}

function objectsText(model: Model): string {
  return kinds.flatMap((kind) => model.byAge(kind).map((spec) => `${kind} ${textOf(spec)}`)).join("\n");
}

export function storedOf(model: Model): string {
  return setText(
    model.revision,
    model.generation,
    model.defaultGateway,
    objectsText(model).split("\n").filter(Boolean),
  );
}

function setText(revision: number, generation: number, gateway: string, objects: readonly string[]): string {
  return [
    `revision ${revision}`,
    `generation ${generation}`,
    `gateway ${gateway}`,
    ...objects.toSorted(),
  ].join("\n");
}

function grouped(
  objects: readonly (readonly [Kind, unknown])[],
): Readonly<Record<string, readonly unknown[]>> {
  const groups = Map.groupBy(objects, ([kind]) => `${kind}s`);
  return Object.fromEntries(Array.from(groups, ([kind, all]) => [kind, all.map(([, one]) => one)]));
}

export function expectSame(what: string, expected: unknown, found: unknown): void {
  const [one, other] = [expected, found].map(linesOf);
  const difference = differenceOf(what, one ?? [], other ?? []);
  if (difference !== undefined) throw new Violation(difference);
}

function linesOf(value: unknown): readonly string[] {
  return typeof value === "string" ? value.split("\n") : [JSON.stringify(value)];
}

/** `undefined` if both have the same lines, as many of each, in any order. */
export function differenceOf(
  what: string,
  expected: readonly string[],
  found: readonly string[],
): string | undefined {
  const missing = minus(expected, found).map((line) => `- ${line}`);
  const extra = minus(found, expected).map((line) => `+ ${line}`);
  const lines = [...missing, ...extra];
  if (lines.length === 0) return undefined;
  const shown = lines.length > 24 ? [...lines.slice(0, 24), `… ${lines.length} in total`] : lines;
  return `${what} (- expected, + found):\n${shown.join("\n")}`;
}

function minus(lines: readonly string[], taken: readonly string[]): readonly string[] {
  const left = new Map<string, number>();
  for (const line of taken) left.set(line, (left.get(line) ?? 0) + 1);
  return lines.filter((line) => {
    const count = left.get(line) ?? 0;
    left.set(line, count - 1);
    return count <= 0;
  });
}
