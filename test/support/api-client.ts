/** A client of the agent's HTTP API over its Unix socket. Every answer is a value, whatever its status. */
import { Agent, request } from "undici";
import { plantToken } from "./secrets.ts";

export interface Reply<Body> {
  readonly status: number;
  readonly etag: string | undefined;
  readonly body: Body;
}

export interface ObjectReply {
  readonly kind: string;
  readonly name: string;
  readonly spec: Readonly<Record<string, unknown>>;
  readonly revision: number;
  readonly status: ObjectStatus;
}

export interface ObjectStatus {
  readonly ready: boolean;
  readonly epoch: string;
  readonly conditions: readonly {
    readonly type: string;
    readonly status: string;
    readonly reason: string;
    readonly message: string;
    readonly lastTransitionTime: string;
  }[];
}

export interface WriteReply {
  readonly revision: number;
  readonly generation: number;
  readonly ready: number;
  readonly notReady: readonly ObjectReply[];
  readonly notReadyTotal: number;
}

export interface ChangeReply {
  readonly action: string;
  readonly subsystem: string;
  readonly object?: string;
  readonly text: string;
}

export interface PlanReply {
  readonly changes: readonly ChangeReply[];
  readonly changesTotal: number;
  readonly flows: { readonly total: number };
}

export interface PassReply {
  readonly changed: number;
  readonly changes: readonly ChangeReply[];
  readonly failed: readonly unknown[];
  readonly flowsRemoved: number;
}

export interface StatusReply {
  readonly epoch: string;
  readonly backend: string;
  readonly gate: string;
  readonly degraded: readonly { readonly reason: string; readonly message: string }[];
  readonly generation: { readonly desired: number; readonly applied: number };
  readonly objects: Readonly<
    Record<string, { readonly total: number; readonly ready: number; readonly notReady: number }>
  >;
  readonly lastReconcile: PassReply | null;
}

export interface Problem {
  readonly code: string;
  readonly detail?: string;
  readonly errors?: readonly { readonly pointer: string; readonly message: string }[];
}

/** A desired set to PUT. Missing arrays are empty. */
export interface SampleSet {
  readonly generation: number;
  readonly gateway?: { readonly defaultGateway?: string };
  readonly eips?: readonly object[];
  readonly fips?: readonly object[];
  readonly snats?: readonly object[];
  readonly dnats?: readonly object[];
  readonly routes?: readonly object[];
}

/** The socket asks for none: it is there to be found where it should not be. */
const needless = { authorization: `Bearer ${plantToken("lab-writer")}` };

export class ApiClient {
  readonly #agent: Agent;

  constructor(socketPath: string) {
    this.#agent = new Agent({ connect: { socketPath }, connections: 64, headersTimeout: 120_000 });
  }

  /** Closes the connections. Can be called twice. */
  async close(): Promise<void> {
    if (!this.#agent.destroyed) await this.#agent.destroy();
  }

  /** Any request. The caller gives the type of the body. */
  async call<Body>(
    method: "GET" | "PUT" | "POST" | "DELETE",
    path: string,
    body?: unknown,
    headers: Readonly<Record<string, string>> = {},
  ): Promise<Reply<Body>> {
    const response = await request(`http://agent${path}`, {
      dispatcher: this.#agent,
      method,
      headers: { ...needless, ...(body !== undefined && { "content-type": "application/json" }), ...headers },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.body.text();
    const type = String(response.headers["content-type"] ?? "");
    const { etag } = response.headers;
    return {
      status: response.statusCode,
      etag: typeof etag === "string" ? etag : undefined,
      body: (type.includes("json") ? JSON.parse(text) : text) as Body,
    };
  }

  putSet(set: SampleSet, query = "?wait=20s"): Promise<Reply<WriteReply>> {
    const empty = { eips: [], fips: [], snats: [], dnats: [], routes: [] };
    return this.call("PUT", `/v1/desired${query}`, { ...empty, ...set });
  }

  put(path: string, spec: object, query = "?wait=20s"): Promise<Reply<ObjectReply>> {
    return this.call("PUT", `/v1/${path}${query}`, spec);
  }

  /** `query` is `?wait=…` by default: then the answer is 204 or 200 when the object is out of the kernel. */
  delete(path: string, query = "?wait=20s"): Promise<Reply<unknown>> {
    return this.call("DELETE", `/v1/${path}${query}`);
  }

  get(path: string): Promise<Reply<ObjectReply>> {
    return this.call("GET", `/v1/${path}`);
  }

  /** As Prometheus gets them. */
  metrics(): Promise<string> {
    return this.#answer("GET", "/metrics");
  }

  /** @param series a metric with all its labels, as `/metrics` has it. 0 if there is none. */
  async metric(series: string): Promise<number> {
    const line = (await this.metrics()).split("\n").find((one) => one.startsWith(`${series} `));
    return Number(line?.slice(series.length) ?? 0);
  }

  status(): Promise<StatusReply> {
    return this.#answer("GET", "/v1/status");
  }

  /** The reasons in `degraded` of the status. */
  async degradedReasons(): Promise<readonly string[]> {
    return (await this.status()).degraded.map(({ reason }) => reason);
  }

  plan(): Promise<PlanReply> {
    return this.#answer("GET", "/v1/plan");
  }

  reconcile(): Promise<PassReply> {
    return this.#answer("POST", "/v1/reconcile");
  }

  /** The body of a request that must succeed. */
  async #answer<Body>(method: "GET" | "POST", path: string): Promise<Body> {
    const { status, body } = await this.call<Body>(method, path);
    if (status !== 200) throw new Error(`${path} answered ${status}: ${JSON.stringify(body)}`);
    return body;
  }
}
