/** What the driver of rate limits does where the kernel lacks something. */
import t from "tap";
import type {
  ConversingConnection,
  NetlinkConnection,
} from "../../../../../agent/kernel/netlink/connection.ts";
import type { NetlinkError } from "../../../../../agent/kernel/netlink/refusal.ts";
import { createQosDriver } from "../../../../../agent/kernel/qos/driver.ts";
import { GatewayError } from "../../../../../lib/model/errors.ts";
import type { InterfaceName } from "../../../../../lib/model/names.ts";
import { bytesAttribute, concatBytes, textAttribute } from "../../../../../lib/netlink/attributes.ts";
import type { NetlinkMessage } from "../../../../../lib/netlink/message.ts";
import type { QosStep } from "../../../../../lib/plan/qos/steps.ts";
import { encodeAddClass } from "../../../../../lib/tc/htb-class.ts";
import { decodeQdisc, encodeAddRoot, encodeSetQueue } from "../../../../../lib/tc/qdisc.ts";
import { trafficAttribute, trafficType } from "../../../../../lib/tc/traffic-control.ts";

const device = "net1" as InterfaceName;
const signal = new AbortController().signal;
const getLink = 18;

/** RTM_NEWLINK with index 2 and the name. */
const link = concatBytes(
  Uint8Array.of(0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0),
  textAttribute(3, device),
  bytesAttribute(52, textAttribute(53, "ifb-net2")),
);

type Refuses = (message: NetlinkMessage) => string | undefined;

/** Links, qdiscs and classes, and a kernel without nf_tables. */
function driverOn(refuses: Refuses, answers: ReadonlyMap<number, readonly Uint8Array[]> = new Map()) {
  const sent: NetlinkMessage[] = [];
  const netlink: Pick<NetlinkConnection, "dump" | "batch"> = {
    async dump({ type }, onMessage) {
      const found = type === getLink ? [link] : (answers.get(type) ?? []);
      for (const payload of found)
        onMessage(
          type === getLink ? 16 : type - 2,
          new DataView(payload.buffer, payload.byteOffset, payload.byteLength),
          0,
          payload.length,
        );
    },
    async batch(messages) {
      sent.push(...messages);
      return messages.map((message): NetlinkError | undefined => {
        const code = refuses(message);
        return code === undefined ? undefined : { errno: 1, code, message: code };
      });
    },
  };
  const nftables: Pick<ConversingConnection, "converse"> = {
    async converse() {
      throw new GatewayError("netlink-failed", "none", { details: { code: "EINVAL" } });
    },
  };
  const driver = createQosDriver({
    netlink: netlink as NetlinkConnection,
    nftables: nftables as ConversingConnection,
  });
  return { driver, sent };
}

const kindOf = ({ payload }: NetlinkMessage) =>
  decodeQdisc(new DataView(payload.buffer, payload.byteOffset, payload.byteLength), 0, payload.length).kind;
const queue: QosStep = { kind: "queue", device, minor: 0x10, limitBytes: 65_536, object: undefined };

t.test("a kernel without fq_codel gets bfifo, and is not asked again", async (t) => {
  const { driver, sent } = driverOn((message) => (kindOf(message) === "fq_codel" ? "ENOENT" : undefined));
  await driver.observe(signal);
  t.same(await driver.apply([queue, queue], signal), []);
  t.same(await driver.apply([queue], signal), []);
  t.same(sent.map(kindOf), ["fq_codel", "fq_codel", "bfifo", "bfifo", "bfifo"]);
});

t.test("a kernel without HTB is told in the next reading", async (t) => {
  const { driver } = driverOn(({ type }) => (type === trafficType.newQdisc ? "ENOENT" : undefined));
  t.equal((await driver.observe(signal)).hasHtb, true);
  const root: QosStep = { kind: "root", device };
  const transaction = { definition: undefined, remove: new Map(), add: new Map() };
  const table: QosStep = { kind: "table", transaction, changes: [] };
  // A table that is written fails here: there is no nf_tables.
  const failures = [root, table].map((step) => ({ step, code: "ENOENT" }));
  t.match(await driver.apply([root, table], signal), failures, "what polices stays");
  t.equal((await driver.observe(signal)).hasHtb, false);
});

t.test("what is read: names, whose root it is, classes", async (t) => {
  const parts = { minor: 0x10, parent: 0, rate: 1, ceil: 2, buffer: 3, ceilBuffer: 4, quantum: 5 };
  const read = async (root: NetlinkMessage) => {
    const classes = [encodeAddClass(2, parts).payload];
    const answers = new Map([
      [trafficType.getQdisc, [root.payload]],
      [trafficType.getClass, classes],
    ]);
    const { driver } = driverOn(() => undefined, answers);
    const { table, devices } = await driver.observe(signal);
    t.equal(table, undefined, "no nf_tables");
    t.equal(await driver.isCurrent(signal), true);
    return devices.get(device);
  };
  const ours = await read(encodeAddRoot(2, 1_000));
  t.match(ours, { root: "ours", alternativeNames: ["ifb-net2"] });
  t.same(ours?.classes.get(0x10), parts);
  const foreign = await read(encodeAddRoot(2, 10));
  t.match(foreign, { root: "foreign" });
  t.equal(foreign?.classes.size, 0);
  t.match(await read(encodeAddRoot(3, 1_000)), { root: "default" }, "of another device");
});

t.test("a device that is gone fails its own steps alone", async (t) => {
  const { driver, sent } = driverOn(() => undefined);
  await driver.observe(signal);
  const lost: QosStep = { kind: "root", device: "net9" as InterfaceName };
  t.match(await driver.apply([lost, queue], signal), [{ step: lost, code: "ENODEV" }]);
  t.equal(sent.length, 1);
});

t.test("a class that is gone already is removed; other refusals are failures", async (t) => {
  const parts = { minor: 0x10, parent: 1, rate: 1, ceil: 2, buffer: 3, ceilBuffer: 4, quantum: 5 };
  const step = (action: "add" | "remove") =>
    ({ kind: "class", device, action, class: parts, object: "limits/a" }) as const;
  const { driver } = driverOn(() => "ENOENT");
  await driver.observe(signal);
  t.same(await driver.apply([step("remove")], signal), []);
  t.match(await driver.apply([step("add")], signal), [{ code: "ENOENT" }]);
});

t.test("what fq_codel drops late only the queue itself counts", async (t) => {
  const parts = { minor: 0x10, parent: 1, rate: 1, ceil: 2, buffer: 3, ceilBuffer: 4, quantum: 5 };
  const counted = (payload: Uint8Array, dropped: number) => {
    const queue = new Uint8Array(20);
    new DataView(queue.buffer).setUint32(8, dropped, true);
    return concatBytes(payload, bytesAttribute(trafficAttribute.statistics, bytesAttribute(3, queue)));
  };
  const queueOf = (minor: number) =>
    encodeSetQueue(2, minor, { kind: "fq_codel", limitBytes: 65_536 }).payload;
  const answers = new Map<number, readonly Uint8Array[]>([
    [trafficType.getQdisc, [encodeAddRoot(2, 1_000).payload, counted(queueOf(0x10), 7)]],
    [trafficType.getClass, [counted(encodeAddClass(2, parts).payload, 3)]],
  ]);
  const { driver } = driverOn(() => undefined, answers);
  t.equal((await driver.readCounts(signal)).size, 0, "nothing is read before the first pass");
  await driver.observe(signal);
  const droppedNow = () => driver.counts.get(device)?.get(0x10)?.dropped;
  t.equal(droppedNow(), 7);
  answers.set(trafficType.getQdisc, [encodeAddRoot(2, 1_000).payload, counted(queueOf(0x10), 9)]);
  await driver.readCounts(signal);
  t.equal(droppedNow(), 9);
  answers.set(trafficType.getQdisc, [encodeAddRoot(2, 1_000).payload]);
  await driver.readCounts(signal);
  t.equal(droppedNow(), 3, "what the class counts itself");
});
