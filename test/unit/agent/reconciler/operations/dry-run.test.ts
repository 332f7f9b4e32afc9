/** Dry runs: one at a time, and without an effect on what passes have memoized. */
import { setImmediate as nextTurn } from "node:timers/promises";
import t from "tap";
import { type AskedPass, DryRuns } from "../../../../../agent/reconciler/operations/dry-run.ts";
import { emptyState } from "../../../../../lib/state/state.ts";
import { leaveOut, pass, playOneFip } from "../../../../support/model-kernel/one-fip.ts";

const forever = new AbortController().signal;

t.test("one at a time, and abandoned requests are not planned", async (t) => {
  let underway = 0;
  let most = 0;
  let looks = 0;
  const pass: AskedPass = {
    async observe() {
      looks++;
      most = Math.max(most, ++underway);
      await nextTurn();
      underway--;
      return { facts: {} as never, observed: new Map(), unread: new Map() };
    },
    isUnadopted: () => true,
    preview: () => t.fail("nothing is planned before adoption") as never,
  };
  const unused = {} as never;
  const runs = new DryRuns({ store: unused, conntrack: unused });
  const gone = new AbortController();
  const all = [
    runs.run(pass, emptyState, forever),
    runs.run(pass, emptyState, gone.signal),
    runs.run(pass, emptyState, forever),
  ];
  gone.abort();
  const settled = await Promise.allSettled(all);
  t.same(
    settled.map(({ status }) => status),
    ["fulfilled", "rejected", "fulfilled"],
  );
  t.match(settled[1], { reason: { code: "overloaded" } });
  t.same([most, looks], [1, 2]);
});

t.test("a dry run during a pass finds the same, and does not disturb the pass", async (t) => {
  const player = await playOneFip(t);
  const converged = await player.agent.preview();
  t.same(converged.changes, [], "a converged gateway");
  const [preview] = await Promise.all([player.agent.preview(), player.play([pass])]);
  t.same(preview.changes, []);
  t.ok(player.agent.board.statusOf("fips/f0").ready);
});

t.test(
  "a rule that a tool left out of its output is found by a reading that trusts no earlier one",
  async (t) => {
    const player = await playOneFip(t);
    const stray = "-s 192.0.2.1/32 -j RETURN";
    const { kernel } = player;
    const beHonest = leaveOut(kernel, `-A EXCLUSIVE_DNAT ${stray}\n`);
    await player.play([{ do: "stray rule", chain: "EXCLUSIVE_DNAT", rule: stray }]);
    t.same((await player.agent.preview()).changes, []);
    beHonest();
    t.same((await player.agent.preview()).changes, [], "the kernel says that nothing changed since");
    t.match((await player.agent.audit()).changes, [{ action: "remove", text: `-D EXCLUSIVE_DNAT ${stray}` }]);
  },
);
