/** What others do to a gateway at random: rules, addresses and routes that are lost or added, links that go down. */
import type { Gateway } from "../gateway.ts";
import { vpcRoutes } from "./expectation.ts";
import { readNetwork } from "./kernel.ts";
import type { Random } from "./script.ts";

interface Damage {
  readonly what: string;
  readonly strike: () => Promise<unknown>;
}

/** What stands in the gateway before the agent. Nobody may change it. */
export async function plantForeign(gw: Gateway, address: string): Promise<() => Promise<readonly string[]>> {
  await gw.lab.ip("gw", ...vpcRoutes.slice(1), `address add ${address} dev net1`);
  await gw.byHand.addForeign("192.0.2.77");
  const input =
    "add table inet bystander\nadd chain inet bystander forward { type filter hook forward priority 10; }\nadd rule inet bystander forward ip daddr 192.0.2.77 accept\n";
  await gw.lab.exec("gw", ["nft", "--file", "-"], { input });
  const tables = ["inet bystander", ...(gw.dataplane === "nftables" ? ["ip foreign"] : [])];
  return async () => {
    const texts = tables.map((table) => gw.lab.exec("gw", ["nft", "list", "table", ...table.split(" ")]));
    return (await Promise.all(texts)).flatMap((text) => text.split("\n"));
  };
}

/** Damages something. @returns what; with a question mark if it was not there any more */
export async function damage(gw: Gateway, random: Random): Promise<string> {
  const damages = [...(await networkDamages(gw)), ...(await ruleDamages(gw, random)), ...tableDamages(gw)];
  const { what, strike } = pick(damages, random);
  try {
    await strike();
    return what;
  } catch {
    // The agent was faster, or the object is gone.
    return `${what}?`;
  }
}

/** Takes a link down, calls `meanwhile`, and brings it up again with the routes that others had on it. */
export async function outage(
  gw: Gateway,
  nic: "eth0" | "net1",
  meanwhile: () => Promise<unknown>,
): Promise<void> {
  await gw.lab.ip("gw", `link set ${nic} down`);
  await meanwhile();
  await gw.lab.ip("gw", `link set ${nic} up`, ...(nic === "eth0" ? vpcRoutes : []));
}

async function networkDamages(gw: Gateway): Promise<readonly Damage[]> {
  const lines = (await readNetwork(gw)).map((line) => line.split(" "));
  const ip = (what: string) => ({ what: `ip ${what}`, strike: () => gw.lab.ip("gw", what) });
  const eips = lines.flatMap(([kind, ip = "", nic]) => {
    const isOwn = ["203.0.113.254/24", "203.0.113.200/24"].includes(ip);
    if (kind === "address" && nic === "net1" && !isOwn) return [`address delete ${ip} dev net1`];
    return kind === "local" ? [`route delete local ${ip} dev net1 table local`] : [];
  });
  const routes = lines.flatMap(([kind, destination, , , protocol]) =>
    kind === "route" && protocol === "196" ? [`route delete ${destination} proto 196`] : [],
  );
  return [
    ...[...eips.slice(0, 2), ...routes].map(ip),
    ip("route add 10.77.0.0/16 via 10.0.1.1 dev eth0 proto 196"),
    {
      what: "ip_forward=0",
      strike: () => gw.lab.exec("gw", ["sysctl", "--quiet", "--write", "net.ipv4.ip_forward=0"]),
    },
  ];
}

async function ruleDamages(gw: Gateway, random: Random): Promise<readonly Damage[]> {
  const { byHand } = gw;
  // The others also take what is foreign.
  const harms = byHand.harms.filter(
    ({ what }) => gw.dataplane === "nftables" || ["flushed chains", "lost marks"].includes(what),
  );
  const { lines } = await byHand.read();
  const damages = [...harms, { what: "flush", strike: () => byHand.flush() }];
  const lost = gw.dataplane === "nftables" ? lines.flatMap(elementLoss) : lines.flatMap(ruleLoss);
  for (let count = 0; count < 3 && lost.length > 0; count++) damages.push(load(gw, pick(lost, random)));
  return [...damages, load(gw, strayOf(gw))];
}

function strayOf(gw: Gateway): readonly string[] {
  return gw.dataplane === "nftables"
    ? ["add element ip natgw fip_in { 203.0.113.77 : 10.0.1.99 }"]
    : ["*nat", "-A EXCLUSIVE_DNAT -d 203.0.113.77/32 -j DNAT --to-destination 10.0.1.99", "COMMIT"];
}

/** `nat -A SHARED_DNAT …`; what is foreign stays. */
function ruleLoss(line: string): readonly (readonly string[])[] {
  const [, table, rule = ""] = /^(nat|mangle) -A (.*)$/.exec(line) ?? [];
  return table === undefined || rule.includes("FOREIGN") ? [] : [[`*${table}`, `-D ${rule}`, "COMMIT"]];
}

/** `natgw fip_in 203.0.113.10 : 10.0.1.5`. */
function elementLoss(line: string): readonly (readonly string[])[] {
  const [, map, key] = /^natgw (\w+) (\S.*) : [^:]+$/.exec(line) ?? [];
  return key === undefined ? [] : [[`delete element ip natgw ${map} { ${key} }`]];
}

function load(gw: Gateway, lines: readonly string[]): Damage {
  const what = lines.find((line) => !/^[*C]/.test(line)) ?? "";
  const input = `${lines.join("\n")}\n`;
  const strike = () =>
    gw.dataplane === "nftables" ? gw.lab.exec("gw", ["nft", "--file", "-"], { input }) : gw.restore(...lines);
  return { what, strike };
}

function tableDamages(gw: Gateway): readonly Damage[] {
  const tables = gw.dataplane === "nftables" ? ["natgw_guard"] : ["natgw_guard", "kube-ovn"];
  return tables.flatMap((table) =>
    ["flush", "delete"].map((verb) => {
      const command = `${verb} table ip ${table}`;
      return { what: `nft ${command}`, strike: () => gw.lab.exec("gw", ["nft", command]) };
    }),
  );
}

export function pick<T>(values: readonly T[], random: Random): T {
  return values[Math.floor(random() * values.length)] as T;
}
