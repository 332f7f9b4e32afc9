/**
 * Writers and other programs act in any order and at any moment, and the agent is killed at any time. When they stop,
 * the kernel treats packets as the set says, and nothing else was changed. Runs on a kernel in memory.
 */
import t from "tap";
import { checkTheme } from "../../../support/model-kernel/check.ts";
import type { Step } from "../../../support/model-kernel/script.ts";
import { dataplanes, faultsOf } from "../../../support/model-kernel/themes.ts";

const pass: Step = { do: "pass", isResync: true, during: [] };
const eip = (number: number) =>
  ({ kind: "eip", spec: { name: `e${number}`, address: `203.0.113.1${number}/24` } }) as const;
const fip = (number: number, internalIp: string) =>
  ({ kind: "fip", spec: { name: `f${number}`, eip: `e${number}`, internalIp } }) as const;

for (const dataplane of dataplanes) {
  t.test(dataplane, async (t) => {
    await t.test("writes alone", (t) => checkTheme(t, dataplane, { isCalm: true }, 60));
    await t.test("changes by other programs", (t) => checkTheme(t, dataplane, { drift: true }, 100));
    await t.test("flows stay or end as the desired set requires", (t) =>
      checkTheme(t, dataplane, { traffic: true, drift: true }, 140),
    );
    await t.test("killed anywhere", (t) =>
      checkTheme(t, dataplane, { traffic: true, drift: true, kills: true }, 110),
    );
    await t.test("new namespaces and lost disks", (t) =>
      checkTheme(t, dataplane, { traffic: true, kills: true, lives: true }, 90),
    );
    await t.test("single writes by incremental passes", (t) =>
      checkTheme(t, dataplane, { isServing: true, traffic: true, drift: true }, 50),
    );
  });
}

t.test("regression scripts", async (t) => {
  const scripts: Readonly<Record<string, readonly Step[]>> = {
    "what was verified is not Ready while an Eip that came later keeps the gate closed": [
      { do: "set", objects: [eip(0), fip(0, "10.0.1.5")] },
      pass,
      { do: "put", ...eip(3) },
      pass,
      pass,
    ],
    "a pod's connection to an EIP that is not held is not ended by the next change": [
      {
        do: "set",
        objects: [eip(0), { kind: "eip", spec: { ...eip(3).spec, bound: false } }, fip(3, "10.0.1.6")],
      },
      pass,
      pass,
      { do: "open", from: 0, to: 3, transport: "tcp", port: 80, sourcePort: 40_001 },
      { do: "put", ...fip(0, "10.0.1.5") },
      pass,
    ],
    "a pod's connection to an EIP that goes does not leave untranslated": [
      { do: "set", objects: [eip(0), eip(3), fip(0, "10.0.1.5")] },
      pass,
      pass,
      { do: "open", from: 0, to: 3, transport: "tcp", port: 80, sourcePort: 40_001 },
      { do: "remove", kind: "eip", name: "e3" },
      { do: "pass", isResync: false, during: [] },
      pass,
    ],
    "a SNAT is not Ready while a stranger's rule takes one of its clients": [
      {
        do: "set",
        objects: [eip(0), { kind: "snat", spec: { name: "s0", eip: "e0", internalCIDR: "10.0.1.0/24" } }],
      },
      pass,
      {
        do: "pass",
        isResync: true,
        during: [6, 12, 14, 16, 18, 20, 22, 24].map((at) => ({
          at,
          act: {
            do: "stray rule",
            chain: "SHARED_SNAT",
            rule: "-s 10.0.1.5/32 -j SNAT --to-source 203.0.113.254",
          },
        })),
      },
      pass,
    ],
  };
  for (const [name, script] of Object.entries(scripts)) {
    for (const dataplane of dataplanes)
      t.same(await faultsOf(script, dataplane), [], `${name} (${dataplane})`);
  }
});
