import { readFileSync } from "node:fs";
import t from "tap";
import { runSync } from "../../../../lib/chunked.ts";
import { type Check, diagnoseChunked } from "../../../../lib/doctor/doctor.ts";
import type { Evidence, NotReadyObject } from "../../../../lib/doctor/evidence.ts";
import {
  type CheckName,
  checkNames,
  degradedRemedies,
  objectRemedies,
  remedyAtTerminal,
  withCommands,
} from "../../../../lib/doctor/remedies.ts";
import { type Degradation, degradedReasons } from "../../../../lib/model/degradation.ts";
import { type Reason, reasons } from "../../../../lib/model/status.ts";
import type { NearlyFullEip } from "../../../../lib/ports/nearly-full.ts";
import { device, toIp } from "../../../support/network-values.ts";

const healthy: Evidence = {
  interfaces: { vpc: device("eth0"), external: device("net1") },
  degraded: [],
  notReady: [],
  objectCount: 3,
  pending: [],
  isGateKept: false,
  eips: { held: 2, heard: 2 },
  ports: [],
  conntrack: { count: 10, max: 262_144 },
  clock: { wallMs: Date.parse("2026-01-01T00:00:00Z"), isSynchronized: true },
  disk: { directory: "/var/lib/natgw", freeBytes: 1 << 30, totalBytes: 1 << 31, freeFiles: 10_000 },
  tools: [
    { tool: "iptables-nft", group: "iptables", version: "1.8.9", isNeeded: true },
    { tool: "iptables-nft-save", group: "iptables", version: "1.8.9", isNeeded: true },
    { tool: "nft", group: "nft", version: "1.0.6", isNeeded: true },
  ],
};

function diagnose(more: Partial<Evidence>): ReadonlyMap<CheckName, Check> {
  const checks = runSync(diagnoseChunked({ ...healthy, ...more }));
  return new Map(checks.map((check) => [check.check, check]));
}

t.test("a healthy gateway: every check is ok, says why, and needs nothing", (t) => {
  const checks = [...diagnose({}).values()];
  t.same(
    checks.map(({ check }) => check),
    checkNames,
  );
  for (const { check, result, detail, remedy } of checks) {
    t.same([result, remedy], ["ok", ""], check);
    t.notMatch(detail, /^$|undefined|NaN/, check);
  }
  t.end();
});

t.test("every reason of degraded is found, with what helps", (t) => {
  for (const reason of degradedReasons) {
    const { check, result, remedy } = degradedRemedies[reason];
    const found = diagnose({ degraded: [{ reason, message: "the cause" }] });
    t.match(found.get(check), { result, detail: `${reason}: the cause`, remedy }, reason);
    t.match(remedy, /\w/, reason);
    const others = [...found.values()].filter((one) => one.check !== check);
    t.ok(
      others.every((one) => one.result === "ok"),
      `${reason} alone`,
    );
  }
  t.equal(
    diagnose({ degraded: [{ reason: "GateClosed", message: "" }], isGateKept: true }).get("gate")?.result,
    "ok",
  );
  t.end();
});

t.test("every reason of objects is found, with the objects", (t) => {
  for (const reason of reasons) {
    const known = objectRemedies[reason];
    const found = diagnose({ notReady: [{ id: "fips/a", reason, message: "the cause" }] });
    if (known === undefined)
      t.ok(
        [...found.values()].every(({ result }) => result === "ok"),
        reason,
      );
    else
      t.match(
        found.get(known.check),
        {
          result: known.result,
          detail: `fips/a ${reason}: the cause`,
          remedy: known.remedy,
          objects: ["fips/a"],
        },
        reason,
      );
  }
  t.end();
});

t.test("thousands of objects: the first few are named, the others counted", (t) => {
  const notReady = Array.from({ length: 12_000 }, (_, at): NotReadyObject => {
    return { id: `fips/f-${at}`, reason: "NoRoute", message: "no route" };
  });
  const { detail = "", objects = [] } = diagnose({ notReady }).get("routes") ?? {};
  t.match(detail, /^fips\/f-0 NoRoute: no route; .*fips\/f-4 NoRoute: no route; and 11995 more$/);
  t.equal(objects.length, 20);
  t.end();
});

t.test("the worst finding decides; every finding is told", (t) => {
  const { result, detail, remedy } =
    diagnose({
      degraded: [{ reason: "RouteConflict", message: "a route" }],
      notReady: [{ id: "dnats/d", reason: "NoRoute", message: "no way" }],
    }).get("routes") ?? {};
  t.equal(result, "failed");
  t.match(detail, /RouteConflict: a route; dnats\/d NoRoute: no way/);
  t.match(remedy, /change the route.*; add a Route/);
  t.end();
});

t.test("one is one", (t) => {
  const one = diagnose({ objectCount: 1, eips: { held: 1, heard: 1 } });
  t.equal(one.get("eips")?.detail, "packets from outside come to the EIP");
  t.equal(one.get("rules")?.detail, "every object was read back from the kernel: 1 in all");
  t.match(diagnose({ eips: { held: 1, heard: 0 } }).get("eips")?.detail, /^1 of 1 EIP without a flow/);
  t.end();
});

t.test("a remedy is told once, whether the gateway, objects or both need it", (t) => {
  const rows: readonly (readonly [CheckName, Degradation["reason"], readonly Reason[], string])[] = [
    ["foreign-rules", "ForeignRule", ["ForeignRule"], "change the rules and policies that the message names"],
    ["eips", "AddressConflict", ["AddressConflict"], "remove the EIPs from the other host"],
    ["rules", "KernelUnreadable", ["KernelUnreadable"], "repair what the message names"],
    [
      "interfaces",
      "InterfaceMissing",
      ["InterfaceNotFound", "InterfaceDown"],
      "add the interface; repair the link",
    ],
    [
      "rules",
      "PassFailing",
      ["KernelUnreadable"],
      "repair what the message names; the agent retries by itself",
    ],
  ];
  for (const [name, reason, objects, remedy] of rows) {
    const degraded = [{ reason, message: "a cause" }];
    const notReady = objects.map(
      (one): NotReadyObject => ({ id: `fips/${one}`, reason: one, message: "so" }),
    );
    t.equal(diagnose({ degraded, notReady }).get(name)?.remedy, remedy, reason);
  }
  t.end();
});

function ports(live: number): NearlyFullEip {
  return { eip: "a", dst: toIp("198.51.100.7"), dport: 443, protocol: "tcp", live, ratio: live / 64_512 };
}

t.test("what the host gives", (t) => {
  const rows: readonly (readonly [string, Partial<Evidence>, CheckName, Check["result"], RegExp])[] = [
    ["a change is due", { pending: ["-A EXCLUSIVE_DNAT"] }, "drift", "uncertain", /-A EXCLUSIVE_DNAT/],
    ["no EIP", { eips: { held: 0, heard: 0 } }, "eips", "skipped", /no EIP/],
    ["a silent EIP", { eips: { held: 3, heard: 1 } }, "eips", "uncertain", /^2 of 3 EIPs without a flow/],
    [
      "few ports left",
      { ports: [ports(52_000)] },
      "ports",
      "uncertain",
      /^eips\/a uses 52000 ports \(80 %\) towards 198\.51\.100\.7:443 tcp$/,
    ],
    ["no ports left", { ports: [ports(63_000), ports(52_000)] }, "ports", "failed", /63000.*; .*52000/],
    ["ports that nobody could count", { ports: undefined }, "ports", "skipped", /cannot be read/],
    ["no conntrack", { conntrack: { count: undefined, max: 9 } }, "conntrack", "skipped", /not in use/],
    ["a nearly full table", { conntrack: { count: 90, max: 100 } }, "conntrack", "uncertain", /90 of 100/],
    ["a full table", { conntrack: { count: 100, max: 100 } }, "conntrack", "failed", /100 of 100/],
    ["1970", { clock: { wallMs: 5, isSynchronized: true } }, "clock", "failed", /1970-01-01/],
    [
      "a free clock",
      { clock: { ...healthy.clock, isSynchronized: false } },
      "clock",
      "uncertain",
      /not synch/,
    ],
    [
      "a mute clock",
      { clock: { ...healthy.clock, isSynchronized: undefined } },
      "clock",
      "skipped",
      /not say/,
    ],
    ["no directory", { disk: undefined }, "disk", "uncertain", /cannot look/],
    [
      "a full disk",
      { disk: { directory: "/d", freeBytes: 4096, totalBytes: 1 << 30, freeFiles: 9_000 } },
      "disk",
      "failed",
      /\/d has 4 KiB/,
    ],
    [
      "a small disk",
      { disk: { directory: "/d", freeBytes: 9 << 20, totalBytes: 10 << 20, freeFiles: 9_000 } },
      "disk",
      "ok",
      /9 MiB/,
    ],
    [
      "few files",
      { disk: { directory: "/d", freeBytes: 1 << 30, totalBytes: 1 << 31, freeFiles: 3 } },
      "disk",
      "uncertain",
      /3 files/,
    ],
    [
      "no tool",
      { tools: [{ tool: "nft", group: "nft", version: undefined, isNeeded: true }] },
      "tools",
      "failed",
      /cannot run nft/,
    ],
    [
      "a tool that is not needed",
      { tools: [{ tool: "nft", group: "nft", version: undefined, isNeeded: false }] },
      "tools",
      "ok",
      /nft missing/,
    ],
    [
      "two versions",
      { tools: ["1.8.9", "1.8.7"].map((version) => ({ tool: "t", group: "g", version, isNeeded: true })) },
      "tools",
      "failed",
      /t 1\.8\.9, t 1\.8\.7/,
    ],
  ];
  for (const [what, more, name, result, detail] of rows) {
    const check = diagnose(more).get(name);
    t.equal(check?.result, result, what);
    t.match(check?.detail, detail, what);
    if (result === "failed" || result === "uncertain") t.match(check?.remedy, /\w/, what);
  }
  t.end();
});

t.test("natgwctl says commands in place of requests", async (t) => {
  for (const one of [...Object.values(degradedRemedies), ...Object.values(objectRemedies)])
    t.notMatch(withCommands(one?.remedy ?? ""), /\b(?:PUT|POST)\b|\/v1\//);
  const { GateClosed, StateCorrupt, NotVerified } = degradedRemedies;
  t.equal(
    withCommands([GateClosed, StateCorrupt, NotVerified].map(({ remedy }) => remedy).join("; ")),
    "send the full set: natgwctl apply -f FILE; send the full set again: natgwctl apply -f FILE; wait",
  );
});

t.test("natgwctl has a remedy of one line for every reason of degraded", async (t) => {
  for (const reason of degradedReasons) t.match(remedyAtTerminal(reason), /^.{4,90}$/, reason);
  t.equal(remedyAtTerminal("NewerReason"), undefined);
  t.equal(remedyAtTerminal("toString"), undefined);
});

t.test("docs/api.md says the same about each reason", (t) => {
  const text = readFileSync(new URL("../../../../docs/api.md", import.meta.url), "utf8").replaceAll("`", "");
  const says = (reason: string, remedy: string) =>
    text
      .split("\n")
      .some((line) => line.startsWith("|") && line.includes(reason) && line.endsWith(` | ${remedy} |`));
  for (const reason of degradedReasons) t.ok(says(reason, degradedRemedies[reason].remedy), reason);
  for (const reason of reasons) t.ok(says(reason, objectRemedies[reason]?.remedy ?? "–"), reason);
  for (const name of checkNames) t.ok(text.includes(`\n| ${name} | `), name);
  t.end();
});
