/**
 * Quick create and delete leak.
 *
 * Seen in the field: FIPs that were deleted right after they were created, or created again right after they were deleted,
 * left rules and connection-tracking entries behind, since every rule was its own command from its own worker, and the last
 * to arrive won, not the last to be asked for. A FIP was reported as added with one of its two rules missing. An EIP that had
 * moved to another pod went on answering from the old one. A create that was delayed on its way brought back what had
 * been deleted.
 *
 * Here eight writers fight for twenty EIPs for a thousand cycles, each request doubled and its double delayed, while
 * traffic goes both ways. In the end the kernel holds what was acknowledged last, and nothing else.
 *
 * `NATGW_SEED` repeats a run's choices, though not its instants; `NATGW_RUNS` asks for so many times as many.
 */
import { setTimeout as delay } from "node:timers/promises";
import t, { type Test } from "tap";
import { type DataplaneName, dataplanes, Gateway } from "../support/gateway.ts";
import type { HostStream } from "../support/host.ts";
import { labAddresses } from "../support/lab.ts";
import { randomFrom, seed } from "../support/random.ts";
import { eip, eipAddress, gateway, outsideUdp, udp } from "../support/targets.ts";
import { readFlows, readKernel } from "./kernel-reading.ts";

/** A thousand in all, most of them where rules are changed fastest; elsewhere a change costs forks. */
const cyclesOf: Readonly<Record<DataplaneName, number>> = {
  "iptables-nft": 320,
  "iptables-legacy": 200,
  nftables: 480,
};
const multiplier = Number(process.env.NATGW_RUNS ?? 1);
const random = randomFrom(seed);
t.comment(`seed ${seed}`);

const writers = 8;
const maxPauseMs = 50;
/** A double is late by up to so much: long after its object is gone. */
const maxDelayMs = 400;
/** Of so many cycles one waits until it is Ready, and asks who answers. */
const cyclesPerQuestion = 5;

const lastBytes = Array.from({ length: 20 }, (_, index) => 101 + index);
/** Five internal IPs for each writer, so that no two FIPs share one; on the two pods in turn. */
const podsIps = Array.from({ length: 5 * writers }, (_, index) => `10.0.1.${101 + index}`);
const podOf = (ip: string) => (podsIps.indexOf(ip) % 2 === 0 ? "pod1" : "pod2");

/** What the set is in the end, by what was acknowledged: EIP → internal IP. */
type Model = ReadonlyMap<string, string>;

for (const dataplane of dataplanes) {
  t.test(dataplane, async (t) => {
    const gw = await Gateway.start(t, dataplane);
    for (const pod of ["pod1", "pod2"] as const) {
      const own = podsIps.filter((ip) => podOf(ip) === pod);
      await gw.lab.ip(pod, ...own.map((ip) => `address add ${ip}/32 dev eth0`));
    }
    t.equal((await gw.api.putSet({ generation: 1, gateway, eips: lastBytes.map(eip) })).status, 200);
    const traffic = await trafficOf(gw);

    await t.test("with uids: the model equals the last acknowledged state", async (t) => {
      const churn = new Churn(gw);
      const cycles = (cyclesOf[dataplane] * multiplier) / writers;
      const left = await Promise.all(
        Array.from({ length: writers }, (_, writer) => churn.write(writer, cycles)),
      );
      await churn.settle();
      t.same(churn.surprises, [], "every request was answered as it should be");
      t.ok(churn.statuses.has("double PUT 410"), "delayed creates came after the delete, and were refused");
      t.ok(churn.statuses.has("double PUT 202"), "and some came before");
      t.ok(churn.questions > writers, "who answers was asked");
      t.comment(
        `${dataplane}: ${[...churn.statuses].map(([what, times]) => `${what}: ${times}`).join(", ")}`,
      );
      const model = new Map(left.filter((fip) => fip !== undefined));
      await expectModel(t, gw, model);
      for (const [address, internalIp] of model) {
        t.match(
          await gw.host("outside").ask(udp(address)),
          { answeredBy: podOf(internalIp) },
          "it translates",
        );
      }
      const [idle = ""] = lastBytes.map(eipAddress).filter((address) => !model.has(address));
      t.ok(await gw.host("outside").hearsNothing(udp(idle)), "an EIP without a FIP is silent");
      for (const stream of traffic) t.ok((await stream.progress()).sent > 0);
      await gw.expectConverged(t);
    });

    await t.test("without uids: a late write is a write, and leaks no more than any other", async (t) => {
      t.equal((await gw.api.putSet({ generation: 2, gateway, eips: lastBytes.map(eip) })).status, 200);
      const late: Promise<unknown>[] = [];
      const writer = async (writer: number) => {
        for (let cycle = 0; cycle < 10; cycle++) {
          const body = { eip: eip(draw(lastBytes)).name, internalIp: draw(ipsOf(writer)) };
          const put = () => gw.api.put(`fips/plain-${writer}`, body, "");
          await put();
          late.push(delay(random() * maxDelayMs).then(put));
          await delay(random() * maxPauseMs);
          await gw.api.delete(`fips/plain-${writer}`, "");
        }
      };
      await Promise.all(Array.from({ length: writers }, (_, index) => writer(index)));
      await Promise.all(late);
      await gw.api.reconcile();
      const { body } = await gw.api.call<{
        readonly items: readonly { readonly spec: { readonly eip: string; readonly internalIp: string } }[];
      }>("GET", "/v1/fips");
      await expectModel(
        t,
        gw,
        new Map(
          body.items.map(({ spec }) => [eipAddress(Number(spec.eip.slice("eip-".length))), spec.internalIp]),
        ),
      );
      await gw.expectConverged(t);
    });

    await t.test("nothing is left when all objects are deleted", async (t) => {
      t.equal((await gw.api.putSet({ generation: 3, gateway, eips: lastBytes.map(eip) })).status, 200);
      await expectModel(t, gw, new Map());
      await Promise.all(traffic.map((stream) => stream.close()));
      await gw.expectConverged(t);
    });
  });
}

/** Writers that create and delete, each request sent twice, and what they saw. */
class Churn {
  /** How often each kind of request was answered with which status. */
  readonly statuses = new Map<string, number>();
  readonly surprises: string[] = [];
  questions = 0;
  readonly #gateway: Gateway;
  readonly #doubles: Promise<unknown>[] = [];

  constructor(gateway: Gateway) {
    this.#gateway = gateway;
  }

  /** One writer: create, pause, delete, pause. @returns the FIP that it leaves, if it does */
  async write(
    writer: number,
    cycles: number,
  ): Promise<readonly [eip: string, internalIp: string] | undefined> {
    const path = `fips/fip-${writer}`;
    for (let cycle = 0; cycle < cycles; cycle++) {
      const uid = `${writer}-${cycle}`;
      await this.#create(path, uid, writer, cycle % cyclesPerQuestion === 0);
      await pause();
      const remove = () => this.#gateway.api.delete(path, `?uid=${uid}`);
      const removeQuickly = () => this.#gateway.api.delete(path, `?uid=${uid}&wait=0s`);
      await this.#note("DELETE", cycle % 2 === 0 ? removeQuickly : remove, [202, 204, 404]);
      this.#double("double DELETE", removeQuickly, [404, 409]);
      await pause();
    }
    if (writer % 2 === 1) return undefined;
    for (;;) {
      const made = await this.#create(path, `${writer}-last`, writer, false);
      if (made !== undefined) return made;
    }
  }

  /** Waits until the last double has come and a pass has seen to it. */
  async settle(): Promise<void> {
    await Promise.all(this.#doubles);
    await this.#gateway.api.reconcile();
  }

  /** @returns what it made; `undefined` where another writer's FIP is on that EIP. */
  async #create(
    path: string,
    uid: string,
    writer: number,
    isQuestion: boolean,
  ): Promise<readonly [eip: string, internalIp: string] | undefined> {
    const lastByte = draw(lastBytes);
    const internalIp = draw(ipsOf(writer));
    const body = { uid, eip: eip(lastByte).name, internalIp };
    const put = (query = "") => this.#gateway.api.put(path, body, query);
    const status = await this.#note("PUT", () => put(isQuestion ? "?wait=20s" : ""), [200, 202, 409]);
    // The double of a refused one could be welcome later, and be in nobody's books.
    if (status === 409) return undefined;
    this.#double("double PUT", put, [200, 202, 409, 410]);
    if (isQuestion && status === 200) await this.#ask(lastByte, podOf(internalIp));
    return [eipAddress(lastByte), internalIp];
  }

  /**
   * Once it is Ready the EIP answers from its pod, also by ports that asked the old one: always the same, so that an entry
   * that was left would be met. An answer that was under way may come late, once; an entry goes on answering.
   */
  async #ask(lastByte: number, pod: string): Promise<void> {
    this.questions++;
    const target = { ...udp(eipAddress(lastByte)), from: labAddresses.outside, fromPort: 40_000 + lastByte };
    const heard: string[] = [];
    for (let time = 0; time < 2; time++) {
      const answer = await this.#gateway.host("outside").ask(target);
      const by = "silence" in answer ? answer.silence : answer.answeredBy;
      if (by === pod) return;
      heard.push(by);
    }
    this.surprises.push(`${target.address} leads to ${pod} and is answered by ${heard.join(", then by ")}`);
  }

  #double(
    what: string,
    request: () => Promise<{ readonly status: number }>,
    allowed: readonly number[],
  ): void {
    const late = delay(random() * maxDelayMs).then(() => this.#note(what, request, allowed));
    this.#doubles.push(late);
  }

  async #note(
    what: string,
    request: () => Promise<{ readonly status: number }>,
    allowed: readonly number[],
  ): Promise<number> {
    const { status } = await request();
    this.statuses.set(`${what} ${status}`, (this.statuses.get(`${what} ${status}`) ?? 0) + 1);
    if (!allowed.includes(status)) this.surprises.push(`${what} was answered with ${status}`);
    return status;
  }
}

/** Rules and flows are what the model makes of them, no more and no less, while traffic goes on. */
async function expectModel(t: Test, gw: Gateway, model: Model): Promise<void> {
  const kernel = await readKernel(gw);
  t.same(sorted(kernel.inward), sorted(model), "the rules inwards are the model's");
  t.same(
    sorted(new Map([...kernel.outward].map(([ip, address]) => [address, ip]))),
    sorted(model),
    "and outwards",
  );
  t.same([...kernel.hairpins].toSorted(), lastBytes.map(eipAddress).toSorted());
  const { inward, outward } = await gw.byHand.read();
  t.same([inward.length, outward.length], [model.size, model.size], "each once");
  const stale = (await readFlows(gw)).filter(
    ({ source, dnatOf, dnatTo, snatTo }) =>
      (dnatOf !== undefined && model.get(dnatOf) !== dnatTo) ||
      (snatTo !== undefined && model.get(snatTo) !== source),
  );
  t.same(stale, [], "no flow is translated as no FIP says");
}

/** Streams that never rest: from the outside to every EIP, and out of some of the internal IPs. */
function trafficOf(gw: Gateway): Promise<readonly HostStream[]> {
  const inwards = lastBytes.map((lastByte) => gw.host("outside").open(udp(eipAddress(lastByte))));
  const outwards = podsIps
    .filter((_, index) => index % 5 < 2)
    .map((from) => gw.host(podOf(from)).open({ ...outsideUdp, from }));
  return Promise.all([...inwards, ...outwards]);
}

function ipsOf(writer: number): readonly string[] {
  return podsIps.slice(5 * writer, 5 * writer + 5);
}

function draw<T>(items: readonly T[]): T {
  const item = items[Math.floor(random() * items.length)];
  if (item === undefined) throw new Error("nothing to draw from");
  return item;
}

function pause(): Promise<void> {
  return delay(random() * maxPauseMs);
}

function sorted(map: ReadonlyMap<string, string>): readonly string[] {
  return Array.from(map, ([eipOf, ip]) => `${eipOf} ${ip}`).toSorted();
}
