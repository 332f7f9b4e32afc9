import { setImmediate as nextTurn } from "node:timers/promises";
import t from "tap";
import { ByteBudget } from "../../../../../agent/api/bounds/byte-budget.ts";

const forever = new AbortController().signal;

t.test("taken bytes are missing until they are returned, once", async (t) => {
  const budget = new ByteBudget(10, 60_000);
  const [six, four] = [await budget.take(6, forever), await budget.take(4, forever)];
  let isThere = false;
  const two = budget.take(2, forever).then((giveBack) => {
    isThere = true;
    return giveBack;
  });
  await nextTurn();
  t.notOk(isThere);
  four();
  four();
  await two;
  const gone = new AbortController();
  const nine = budget.take(9, gone.signal);
  six();
  await nextTurn();
  gone.abort();
  await t.rejects(nine, { code: "overloaded" }, "8 of 10 are left, however often 4 was given back");
});

t.test(
  "first come, first served: a small request does not overtake; one that gives up lets the next one in",
  async (t) => {
    const budget = new ByteBudget(10, 60_000);
    const all = await budget.take(9, forever);
    const order: string[] = [];
    const gone = new AbortController();
    const large = budget.take(10, gone.signal).catch(() => order.push("large gave up"));
    const small = budget.take(1, forever).then(() => order.push("small"));
    await nextTurn();
    t.same(order, []);
    gone.abort();
    await Promise.all([large, small]);
    t.same(order, ["large gave up", "small"]);
    all();
  },
);

t.test(
  "a request for more than the whole budget counts as all of it; one that waits too long is refused",
  async (t) => {
    const budget = new ByteBudget(10, 20);
    const giveBack = await budget.take(1_000, forever);
    await t.rejects(budget.take(1, forever), { code: "overloaded" });
    giveBack();
    (await budget.take(10, forever))();
  },
);
