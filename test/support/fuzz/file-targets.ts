/** Files that people or a damaged disk can fill with anything: tokens, clients, the flow log. */
import { findClient, parseClients } from "../../../lib/access/clients.ts";
import { parseTokens } from "../../../lib/access/tokens.ts";
import { parseLine, whoIn } from "../../../lib/flow-log/who.ts";
import { GatewayError } from "../../../lib/model/errors.ts";
import type { Ip } from "../../../lib/model/ip.ts";
import { mutateJson, mutateText, type Random } from "./mutate.ts";
import { type Target, textTarget } from "./target.ts";

const digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
const tokens = [
  `# who may\ncontroller:write:${digest}\nprometheus:read:60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752\n`,
  `controller:write:${digest}\n`,
  `${digest.slice(0, 40)}\n`,
];
const clients = [
  "write:uri:spiffe://cluster.local/ns/kube-system/sa/controller\nread:dns:Prometheus.monitoring.svc\n",
];
const alternativeNames = [
  "DNS:prometheus.monitoring.svc, URI:spiffe://cluster.local/ns/kube-system/sa/controller",
  'DNS:"a, DNS:b", URI:"spiffe://x\\u002cy", IP Address:10.0.0.1',
];
const session = {
  time: "2026-01-02T03:04:05.678Z",
  event: "NAT44 session delete",
  protocol: "tcp",
  original: { src: "10.0.1.5", sport: 40_000, dst: "198.51.100.7", dport: 443 },
  reply: { src: "198.51.100.7", sport: 443, dst: "203.0.113.10", dport: 1_024 },
  source: { eip: "203.0.113.10", eipPort: 1_024, object: "fips/a" },
  start: "2026-01-02T03:04:00.000Z",
  end: "2026-01-02T03:04:05.678Z",
  bytes: { original: 60, reply: 52 },
};
const query = {
  eip: "203.0.113.10" as Ip,
  port: 1_024,
  protocol: undefined,
  atMs: Date.parse(session.start),
};

/** A file is refused by a plain error, which never quotes a line of it: that may be a token. */
function refusesWithoutQuoting(text: string, parse: (text: string) => unknown): unknown {
  try {
    return parse(text);
  } catch (error) {
    if (!(error instanceof Error) || error.constructor !== Error) throw error;
    for (const line of text.split("\n"))
      if (line.length > 20 && error.message.includes(line.trim()))
        throw new Error("the file is quoted", { cause: error });
    throw new GatewayError("bad-config", error.message);
  }
}

function flowLogLine(random: Random): string {
  const text = JSON.stringify(mutateJson(random, session) ?? null);
  return random() < 0.7 ? text : mutateText(random, [text]);
}

export const fileTargets: readonly Target[] = [
  textTarget(
    "token file",
    (random) => mutateText(random, tokens),
    (text) => refusesWithoutQuoting(text, parseTokens),
  ),
  textTarget(
    "list of clients",
    (random) => mutateText(random, clients),
    (text) => {
      const roles = refusesWithoutQuoting(text, parseClients);
      findClient(roles as ReturnType<typeof parseClients>, alternativeNames[0]);
    },
  ),
  textTarget(
    "names of a certificate",
    (random) => mutateText(random, alternativeNames),
    (text) => {
      const found = findClient(parseClients(clients[0] ?? ""), text);
      if (found !== undefined && !text.toLowerCase().includes(found.name.slice(4).toLowerCase()))
        throw new Error(`${found.name} is not there`);
    },
  ),
  textTarget("flow log", flowLogLine, (text) => {
    const record = parseLine(text);
    if (record !== undefined && !("reason" in record)) JSON.stringify(whoIn(record, query));
  }),
];
