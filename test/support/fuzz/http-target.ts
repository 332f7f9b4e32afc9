/**
 * The HTTP API over its socket: requests made from its own OpenAPI document and then damaged, and raw bytes. Every answer
 * must be one that the API documents, never 500, and what is refused changes nothing.
 */

import { once } from "node:events";
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { GatewayError } from "../../../lib/model/errors.ts";
import { testApi } from "../api-fakes.ts";
import { below, maxLength, mutateBytes, mutateJson, pick } from "./mutate.ts";
import type { Target } from "./target.ts";

const document = JSON.parse(readFileSync(new URL("../../golden/openapi.json", import.meta.url), "utf8"));

interface Operation {
  readonly method: string;
  readonly path: string;
  readonly body: unknown;
}

const name = () => "fip-a";
const bodies: Readonly<Record<string, unknown>> = {
  "/v1/desired": {
    generation: 3,
    gateway: { defaultGateway: "203.0.113.1" },
    eips: [{ name: "eip-a", address: "203.0.113.10/24" }],
    fips: [{ name: "fip-a", eip: "eip-a", internalIp: "10.0.1.5" }],
    snats: [{ name: "snat-a", eip: "eip-b", internalCIDR: "10.0.1.0/24" }],
    dnats: [],
    routes: [{ name: "r1", destination: "10.0.0.0/16", via: "10.0.1.1" }],
  },
  "/v1/eips/{name}": { address: "203.0.113.10/24", leaseSeconds: 30 },
  "/v1/fips/{name}": { eip: "eip-a", internalIp: "10.0.1.5", uid: "1b4e28ba-2fa1-11d2-883f-0016d3cca427" },
  "/v1/snats/{name}": { eip: "eip-a", internalCIDR: "10.0.1.0/24", mapping: "preserve" },
  "/v1/dnats/{name}": {
    eip: "eip-a",
    protocol: "tcp",
    externalPort: 80,
    backends: [{ ip: "10.0.1.5", port: 8080 }],
  },
  "/v1/limits/{name}": { direction: "ingress", rateMbit: 10, eip: "eip-a" },
  "/v1/routes/{name}": { destination: "10.0.0.0/16", via: "10.0.1.1" },
  "/v1/batch": {
    upsert: { fips: [{ name: "fip-b", eip: "eip-a", internalIp: "10.0.1.6" }] },
    delete: { fips: ["fip-a"] },
  },
  "/v1/leases/renew": { eips: ["eip-a"] },
  "/v1/kube-ovn/nat-gateway": { arguments: ["eip-add", "203.0.113.10/24"] },
};
const queries = [
  "",
  "?wait=0s",
  "?dryRun=true",
  "?ready=false",
  "?limit=3",
  "?uid=x",
  "?wait=-1s",
  "?from=kernel",
  "?cascade=true",
  "?%00=%ff",
  "?wait=1s&wait=1s",
];
const headers = [
  "if-match: *",
  'if-match: "1"',
  "accept: text/plain",
  "content-type: text/plain",
  "expect: 100-continue",
  "transfer-encoding: chunked",
  "content-length: 7",
  "origin: http://x",
  "authorization: Bearer x",
  `x: ${"y".repeat(300)}`,
];

export interface HttpTarget extends Target {
  close(): Promise<void>;
}

/** Starts the API, with everything below it in memory. */
export async function openHttpTarget(): Promise<HttpTarget> {
  const served = testApi({ rateLimit: { max: 1e9, windowMs: 1_000 } });
  await served.api.listen();
  const { socketPath, state } = served;
  const operations = operationsOf(document);
  served.board.outcome = "timeout";

  return {
    name: "HTTP",
    make(random) {
      const { method, path, body } = pick(random, operations);
      const where = `${path.replaceAll(/\{[^}]*\}/g, () => pick(random, [name(), "203.0.113.10", "%2e%2e", "..", "a".repeat(300), "x%00", "\u00e9"]))}${pick(random, queries)}`;
      const text = body === undefined ? "" : JSON.stringify(mutateJson(random, body) ?? null);
      const more = Array.from({ length: below(random, 3) }, () => pick(random, headers));
      const bytes = requestBytes(method, where, random() < 0.6 ? [] : more, text);
      return random() < 0.7 ? bytes : mutateBytes(random, [bytes]);
    },
    async take(input) {
      const { desired } = state.current;
      const { statuses, body } = await exchange(socketPath, Buffer.from(input));
      for (const status of statuses)
        if (status === 500 || status < 200) throw new Error(`status ${status}: ${body}`);
      // Empty lines before a request are none.
      const isSilent = /^[\r\n]*$/.test(Buffer.from(input).toString("latin1"));
      if (statuses.length === 0 && !isSilent) throw new Error("no answer");
      const isRefused = statuses.every((status) => status >= 400);
      if (isRefused && state.current.desired !== desired)
        throw new Error("a refused request changed the desired set");
      const { statuses: alive } = await exchange(socketPath, requestBytes("GET", "/livez", [], ""));
      if (alive[0] !== 200) throw new Error(`/livez answered ${alive}`);
      if (isRefused) throw new GatewayError("invalid", body);
    },
    close: () => served.api.close(),
  };
}

function requestBytes(method: string, path: string, more: readonly string[], body: string): Buffer {
  const hasType = more.some((line) => line.startsWith("content-"));
  const head = [`${method} ${path} HTTP/1.1`, "host: localhost", "connection: close", ...more];
  if (body !== "" && !hasType)
    head.push("content-type: application/json", `content-length: ${Buffer.byteLength(body)}`);
  return Buffer.from([...head, "", body].join("\r\n")).subarray(0, maxLength);
}

interface Answers {
  /** The status of each answer on the connection; none if it was closed without. */
  readonly statuses: readonly number[];
  readonly body: string;
}

/** Sends bytes and the end of the stream, and reads until the other side ends. */
async function exchange(path: string, bytes: Uint8Array): Promise<Answers> {
  const socket = connect({ path, allowHalfOpen: true });
  const pieces: Buffer[] = [];
  socket.on("data", (piece: Buffer) => pieces.push(piece));
  // The API may close while bytes are still being sent to it.
  socket.on("error", () => socket.destroy());
  socket.end(bytes);
  const hung = setTimeout(() => socket.destroy(new Error("no answer")), 20_000);
  await once(socket, "close");
  clearTimeout(hung);
  if (socket.errored?.message === "no answer")
    throw new Error("the API neither answered nor closed within 20 s");
  const text = Buffer.concat(pieces).toString();
  const statuses = Array.from(text.matchAll(/^HTTP\/1\.1 (\d+) /gm), ([, status]) => Number(status));
  return {
    statuses: statuses.filter((status) => status !== 100),
    body: text.slice(text.indexOf("\r\n\r\n") + 4),
  };
}

/** Every operation of the document that ends by itself, with a good body where it takes one. */
function operationsOf(document: { readonly paths: Readonly<Record<string, object>> }): readonly Operation[] {
  return Object.entries(document.paths).flatMap(([path, methods]) =>
    path === "/v1/events"
      ? []
      : Object.keys(methods).map((method) => ({
          method: method.toUpperCase(),
          path,
          body: method === "get" || method === "delete" ? undefined : (bodies[path] ?? {}),
        })),
  );
}
