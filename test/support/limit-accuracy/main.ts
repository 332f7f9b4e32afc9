/**
 * How exactly Limits hold: TCP through FIPs in both directions over each dataplane, below a limit of the device; several
 * EIPs that compete; another EIP meanwhile; changes under load. `scripts/soak --suite limits` runs it.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import t, { type Test } from "tap";
import { dataplanes, Gateway } from "../gateway.ts";
import { nodeInNamespace } from "../in-namespace.ts";
import { type HostName, labAddresses } from "../lab.ts";
import { eip, eipAddress, gateway } from "../targets.ts";

const pump = fileURLToPath(new URL("pump.ts", import.meta.url));
const rates = [2, 10, 100];
const directions = ["ingress", "egress"] as const;
type Direction = (typeof directions)[number];
const warmUpMs = 1_000;
const measuredMs = Number(process.env.NATGW_SECONDS ?? "3") * 1_000;
/** At a low rate a burst of 64 KiB lasts longer. */
const lowRate = 5;
/** A rate counts headers, too: 1,514 bytes for 1,448 of the stream. */
const bounds = [90, 105] as const;

const set = {
  generation: 1,
  gateway,
  eips: [eip(10), eip(11)],
  fips: [
    { name: "fip-1", eip: "eip-10", internalIp: "10.0.1.5" },
    { name: "fip-2", eip: "eip-11", internalIp: "10.0.1.6" },
  ],
};

let lastPort = 5_000;

function start(gw: Gateway, host: HostName, ...args: readonly string[]): ChildProcess {
  const [command = "", ...rest] = nodeInNamespace(gw.lab.namespaceOf(host), [pump, ...args]);
  return spawn(command, rest, { stdio: ["ignore", "pipe", "pipe"] });
}

/** What a TCP stream to or from an EIP gets, in Mbit a second. @param times how much longer it takes than usual */
async function measure(gw: Gateway, direction: Direction, eipNumber: number, times = 1): Promise<number> {
  const port = String(++lastPort);
  const pod: HostName = eipNumber === 10 ? "pod1" : "pod2";
  const [from, to]: readonly [HostName, HostName] =
    direction === "ingress" ? ["outside", pod] : [pod, "outside"];
  const address = direction === "ingress" ? eipAddress(eipNumber) : labAddresses.outside;
  const sink = start(gw, to, "sink", port, String(times * warmUpMs), String(times * measuredMs));
  const [output, ended] = [text(sink.stdout as NodeJS.ReadableStream), once(sink, "close")];
  await once(sink.stderr as NodeJS.ReadableStream, "data");
  const source = start(gw, from, "source", address, port);
  const sourceEnded = once(source, "close");
  await ended;
  source.kill();
  await sourceEnded;
  const [bytes = 0, ms = 1] = (await output).split(" ").map(Number);
  return (bytes * 8) / 1_000 / ms;
}

/** Round trips of pings: how many were lost, and the mean time in ms. */
async function ping(gw: Gateway, address: string, count: number, pauseS: number) {
  const args = ["-q", "-c", String(count), "-i", String(pauseS), "-W", "2", address];
  const output = await gw.lab.exec("outside", ["ping", ...args]);
  const [, received = "0"] = /(\d+) received/.exec(output) ?? [];
  const [, mean = "NaN"] = /= [\d.]+\/([\d.]+)\//.exec(output) ?? [];
  return { lost: count - Number(received), meanMs: Number(mean) };
}

async function limit(t: Test, gw: Gateway, name: string, body: object): Promise<void> {
  const reply = await gw.api.put(`limits/${name}`, body, "?wait=10s");
  if (reply.status !== 200) t.fail(`${name}: ${JSON.stringify(reply.body)}`);
}

function expectRate(t: Test, what: string, measured: number, wanted: number): void {
  const percent = (measured / wanted) * 100;
  t.ok(percent >= bounds[0] && percent <= bounds[1], `${what}: ${percent.toFixed(1)} %`);
  t.comment(`${what}: ${measured.toFixed(2)} of ${wanted} Mbit/s, ${percent.toFixed(1)} %`);
}

for (const dataplane of dataplanes) {
  t.test(dataplane, async (t) => {
    const gw = await Gateway.start(t, dataplane);
    t.equal((await gw.api.putSet(set, "?wait=10s")).status, 200);
    const both = async (name: string, place: object, rateMbit: number) => {
      for (const direction of directions)
        await limit(t, gw, `${name}-${direction}`, { ...place, direction, rateMbit });
    };
    await both("device", { interface: "external" }, 150);
    for (const rate of rates) {
      await both("one", { eip: "eip-10" }, rate);
      for (const direction of directions) {
        const measured = await measure(gw, direction, 10, rate < lowRate ? 2 : 1);
        expectRate(t, `${dataplane} ${direction} ${rate}`, measured, rate);
      }
    }

    await both("one", { eip: "eip-10" }, 10);
    for (const direction of directions) {
      const flood = measure(gw, direction, 10);
      const other = await ping(gw, eipAddress(11), 20, 0.1);
      await flood;
      t.equal(other.lost, 0);
      t.ok(other.meanMs < 20, `the other EIP answers in ${other.meanMs} ms`);
      t.comment(`${dataplane} ${direction}: another EIP's ping takes ${other.meanMs} ms`);
    }

    const changes = async () => {
      for (let at = 0; at < 10; at++) await both("one", { eip: "eip-10" }, at % 2 === 0 ? 20 : 10);
    };
    const changing = changes();
    const during = await ping(gw, eipAddress(10), 400, 0.005);
    await changing;
    t.equal(during.lost, 0, "20 changes lose nothing");

    await both("device", { interface: "external" }, 50);
    for (const rate of [20, 40]) {
      await both("one", { eip: "eip-10" }, rate);
      await both("two", { eip: "eip-11" }, rate);
      for (const direction of directions) {
        const [one, two] = await Promise.all([measure(gw, direction, 10), measure(gw, direction, 11)]);
        const wanted = Math.min(50, 2 * rate);
        expectRate(t, `${dataplane} ${direction} two of ${rate} below 50`, one + two, wanted);
        t.comment(`${one.toFixed(2)} + ${two.toFixed(2)}`);
      }
    }
    await gw.expectConverged(t);
  });
}
