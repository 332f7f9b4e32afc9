/** `natgwctl inventory` and `release`: who holds each IP, and the removal of one that nothing explains. */
import { isIP } from "node:net";
import { grouped, percent } from "../../../lib/text/quantities.ts";
import { type Cell, lines, type Section, table } from "../../../lib/text/view.ts";
import type { Answer } from "../answer.ts";
import { changeSections, objectsOf } from "../changes.ts";
import type { Context } from "../context.ts";
import type { Change, InventoryDocument } from "../documents.ts";
import { UsageFailure } from "../failures.ts";

/** The order of the table: what is wrong first. */
const order = ["conflict", "orphan", "self", "gateway", "eip"];
const releaseTimeoutMs = 90_000;

type Address = InventoryDocument["addresses"][number];
type Subnet = InventoryDocument["subnets"][number];

export async function inventory({ api }: Context): Promise<Answer> {
  const document = await api.get<InventoryDocument>("/v1/inventory");
  const addresses = [...document.addresses].sort((a, b) => rank(a) - rank(b));
  const model = { ...document, addresses };
  const isClean =
    document.observed && !addresses.some(({ role }) => role === "conflict" || role === "orphan");
  return {
    data: model,
    names: addresses.map(({ ip }) => ip),
    sections: () => sectionsOf(model),
    exitCode: isClean ? 0 : 1,
  };
}

function rank({ role }: Address): number {
  const at = order.indexOf(role);
  return at === -1 ? order.length : at;
}

function sectionsOf({ observed, addresses, subnets }: InventoryDocument): readonly Section[] {
  return [
    ...(observed
      ? []
      : [
          {
            block: lines({
              text: "The kernel was not read yet: own addresses and orphans are unknown.",
              style: "warn",
            }),
          },
        ]),
    {
      block: table<Subnet>(
        [
          { head: "SUBNET", cell: ({ cidr }) => cidr },
          { head: "CAPACITY", isRight: true, cell: ({ capacity }) => grouped(capacity) },
          { head: "USED", isRight: true, cell: ({ used }) => grouped(used) },
          {
            head: "FREE",
            isRight: true,
            cell: ({ free }) => (free === 0 ? { text: "0", style: "bad" } : grouped(free)),
          },
          {
            head: "USE",
            isRight: true,
            cell: ({ used, capacity }) => (capacity === 0 ? "-" : percent(used / capacity)),
          },
        ],
        subnets,
      ),
    },
    {
      block: table<Address>(
        [
          { head: "IP", cell: ({ ip }) => ip },
          { head: "ROLE", cell: roleCell },
          { head: "INTERFACE", cell: (address) => address.interface || "-" },
          { head: "USERS", cell: ({ users }) => users.join(", ") || "-", gives: "wrap" },
        ],
        addresses,
      ),
    },
  ];
}

function roleCell({ role }: Address): Cell {
  if (role === "conflict") return { text: role, style: "bad" };
  return role === "orphan" ? { text: role, style: "warn" } : role;
}

interface Released {
  readonly changes: readonly Change[];
  readonly foreignRules: readonly string[];
}

export async function release({ api }: Context, ip: string): Promise<Answer> {
  if (isIP(ip) === 0) throw new UsageFailure(`not an IP address: ${ip}`);
  const { body } = await api.call<Released>("post", `/v1/inventory/${ip}/release`, {
    timeoutMs: releaseTimeoutMs,
  });
  const { changes, foreignRules } = body;
  return {
    data: { ip, ...body },
    names: [ip, ...objectsOf(changes)],
    sections: () => [
      { block: lines({ text: `${ip} is released.`, style: "good" }) },
      ...(changes.length === 0 ? [] : changeSections(changes, changes.length, "Removed")),
      ...(foreignRules.length === 0
        ? []
        : [
            {
              heading: { text: "Rules of other programs on it, which stay", style: "warn" as const },
              block: lines(...foreignRules.map((rule) => `  ${rule}`)),
            },
          ]),
    ],
  };
}
