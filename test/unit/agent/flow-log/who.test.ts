/** Living flows and the log, put together. segments.test.ts has the searches of the log. */
import t from "tap";
import { type FlowLogSettings, logDirectory } from "../../../../agent/flow-log/flow-log.ts";
import { SegmentSink } from "../../../../agent/flow-log/segments.ts";
import { Who } from "../../../../agent/flow-log/who.ts";
import { viewOf } from "../../../../lib/conntrack/flow.ts";
import { encodeRecord, isoTime, sessionRecord } from "../../../../lib/flow-log/records.ts";
import { ipv4 } from "../../../../lib/model/ipv4.ts";
import { noAccounting } from "../../../../lib/netlink/ctnetlink-accounting.ts";
import { ConntrackEntry } from "../../../../lib/netlink/ctnetlink-entry.ts";
import { emptyState } from "../../../../lib/state/state.ts";
import { flow, ip } from "../../../support/conntrack-samples.ts";
import { temporaryDirectory } from "../../../support/temporary-directory.ts";

const beginMs = Date.parse("2026-01-31T12:00:00Z");
const noMessage = new DataView(new ArrayBuffer(0));
const views = Array.from({ length: 150 }, (_, index) => {
  const client = `198.51.100.7:${1_000 + index}`;
  return viewOf(flow(`tcp ${client} 203.0.113.10:80 | 10.0.1.6:80 ${client}`), ipv4);
});

t.test("a flow that lives is not taken for one whose end was lost, however many live", async (t) => {
  const stateDir = temporaryDirectory("who");
  const settings: FlowLogSettings = { level: "all", sample: 1, maxBytes: 1 << 20, output: "disk", stateDir };
  const begins = views.map((view) =>
    sessionRecord(view, "NAT44 session create", noAccounting, beginMs, ipv4, () => undefined),
  );
  const sink = new SegmentSink(logDirectory(settings), settings.maxBytes, () => beginMs);
  const gap = { time: isoTime(beginMs + 60_000), event: "log gap", reason: "stopped" } as const;
  await sink.write(Buffer.from([...begins, gap].map(encodeRecord).join("")));
  await sink.close();

  const lostOf = async (living: typeof views) => {
    const who = new Who({
      family: ipv4,
      desired: () => emptyState.desired,
      async scan(_eips, visit) {
        const entry = new ConntrackEntry(ipv4);
        for (const view of living) visit(Object.assign(entry, { view }), noMessage, 0, 0);
      },
      settings,
      wallMs: () => beginMs + 120_000,
    });
    const query = { eip: ip("203.0.113.10"), port: 80, protocol: undefined, atMs: beginMs + 1_000 };
    const { items, complete } = await who.ask(query, new AbortController().signal);
    t.notOk(complete);
    return items.filter(({ endLost }) => endLost).length;
  };
  t.equal(await lostOf(views.slice(0, 90)), 60);
  t.equal(await lostOf(views), 0);
});
