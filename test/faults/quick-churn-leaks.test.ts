/**
 * The fault: fast creates and deletes leave state behind.
 *
 * Seen in the field: FIPs that were deleted right after creation, or created again right after deletion, left rules and
 * conntrack entries behind, because every rule was a separate command of a separate worker, and the last one to arrive
 * won, not the last one requested. A FIP was reported as added with one of its two rules missing. An EIP that had moved
 * to another pod kept answering from the old one. A delayed create brought back what had been deleted.
 *
 * In this test eight writers compete for twenty EIPs for a thousand cycles. Each request is sent twice, the second time
 * delayed, while traffic runs in both directions. In the end the kernel holds what was acknowledged last, and nothing
 * else.
 *
 * `NATGW_SEED` repeats the choices of a run, but not its timing. `NATGW_RUNS` multiplies the number of cycles.
 */
import { setTimeout as delay } from "node:timers/promises";
import t, { type Test } from "tap";
import { type DataplaneName, dataplanes, Gateway } from "../support/gateway.ts";
import type { HostStream } from "../support/host.ts";
import { labAddresses } from "../support/lab.ts";
import { randomFrom, seed } from "../support/random.ts";
import { eip, eipAddress, gateway, outsideUdp, udp } from "../support/targets.ts";
import { readFlows, readKernel } from "./kernel-reading.ts";

/**
 * A thousand in total. About half of them run over nftables, where changes are fastest; with iptables each change starts
 * processes.
 */
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
/** Maximum delay of a duplicate: long after its object is deleted. */
const maxDelayMs = 400;
/** One of this many cycles waits until the FIP is Ready, and checks which pod answers. */
const cyclesPerQuestion = 5;

const lastBytes = Array.from({ length: 20 }, (_, index) => 101 + index);
/** Five internal IPs per writer, so that no two FIPs share one; alternately on the two pods. */
const podsIps = Array.from({ length: 5 * writers }, (_, index) => `10.0.1.${101 + index}`);
const podOf = (ip: string) => (podsIps.indexOf(ip) % 2 === 0 ? "pod1" : "pod2");

/** The final set according to the acknowledgements: EIP → internal IP. */
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

/** Writers that create and delete, each request sent twice, and what they observed. */
class Churn {
  /** How often each kind of request got which status. */
  readonly statuses = new Map<string, number>();
  readonly surprises: string[] = [];
  questions = 0;
  readonly #gateway: Gateway;
  readonly #doubles: Promise<unknown>[] = [];

  constructor(gateway: Gateway) {
    this.#gateway = gateway;
  }

  /**
   * One writer: create, pause, delete, pause.
   * @returns the FIP that it leaves, if any
   */
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

  /** Waits until the last duplicate has arrived and a pass has handled it. */
  async settle(): Promise<void> {
    await Promise.all(this.#doubles);
    await this.#gateway.api.reconcile();
  }

  /** @returns what it created; `undefined` if another writer's FIP is on that EIP */
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
    // The duplicate of a refused create could succeed later, and no writer would expect it.
    if (status === 409) return undefined;
    this.#double("double PUT", put, [200, 202, 409, 410]);
    if (isQuestion && status === 200) await this.#ask(lastByte, podOf(internalIp));
    return [eipAddress(lastByte), internalIp];
  }

  /**
   * Once Ready, the EIP answers from its pod, also on ports that reached the old pod: always the same ports, so that a
   * leftover entry is found. One late answer is allowed; a leftover entry keeps answering.
   */
  async #ask(lastByte: number, pod: string): Promise<void> {
    this.questions++;
    const target = { ...udp(eipAddress(lastByte)), from: labAddresses.outside, fromPort: 20_000 + lastByte };
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

/** Rules and flows match the model exactly, while traffic runs. */
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

/** Streams that never stop: from the outside to every EIP, and from some of the internal IPs. */
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
