/** Components start together, stop in reverse order, and start again when they ask for it. */
import { setImmediate as nextTurn } from "node:timers/promises";
import t from "tap";
import { Restartable } from "../../../agent/restartable.ts";

/** Notes what happens. `failing`: the starts that throw. */
function world(failing: readonly number[] = []) {
  const notes: string[] = [];
  let starts = 0;
  let ask: () => void = () => {};
  const log = { info: () => {}, error: () => notes.push("logged") };
  const agent = new Restartable(
    async (stop, restart) => {
      const number = ++starts;
      ask = restart;
      for (const part of ["store", "api"]) {
        stop.push(async () => {
          notes.push(`${part} ${number} stopped`);
          if (part === "api" && number === 2) throw new Error("stuck");
        });
      }
      if (failing.includes(number)) throw new Error(`start ${number}`);
      notes.push(`start ${number}`);
    },
    log,
    (error) => notes.push(`lost: ${error instanceof Error ? error.message : ""}`),
  );
  return { agent, notes, restart: () => ask() };
}

async function settle(): Promise<void> {
  for (let turn = 0; turn < 10; turn++) await nextTurn();
}

t.test("starts again, once for several wishes, and stops in reverse order", async (t) => {
  const { agent, notes, restart } = world();
  await agent.start();
  restart();
  restart();
  await settle();
  t.same(notes.splice(0), ["start 1", "api 1 stopped", "store 1 stopped", "start 2"]);
  await agent.stop();
  t.same(
    notes.splice(0),
    ["api 2 stopped", "logged", "store 2 stopped"],
    "one that does not stop holds up no other",
  );
  restart();
  await settle();
  t.same(notes, [], "nothing starts after the stop");
});

t.test("a stop during a restart", async (t) => {
  const { agent, notes, restart } = world();
  await agent.start();
  restart();
  await agent.stop();
  await settle();
  t.same(notes, ["start 1", "api 1 stopped", "store 1 stopped"]);
});

t.test("what was started is stopped if the start fails", async (t) => {
  const first = world([1]);
  await t.rejects(first.agent.start(), { message: "start 1" });
  t.same(first.notes, ["api 1 stopped", "store 1 stopped"]);
  const second = world([2]);
  await second.agent.start();
  second.restart();
  await settle();
  t.same(second.notes.slice(-3), ["logged", "store 2 stopped", "lost: start 2"]);
});
