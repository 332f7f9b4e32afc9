/**
 * `GET /v1/explain` agrees with what packets do: random packets over random sets, in healthy and damaged states. Each is
 * explained first, then sent; the host at the other end says whom it saw.
 *
 * `NATGW_CASES` sets the number for each dataplane, `NATGW_SEED` repeats the choices of a run.
 */
import t from "tap";
import { compare } from "../support/explain-lab/agreement.ts";
import { dataplanes, Gateway } from "../support/gateway.ts";
import { randomFrom, seed } from "../support/random.ts";

const cases = Number(process.env.NATGW_CASES ?? 40);

t.comment(`seed ${seed}`);
t.jobs = dataplanes.length;
for (const [index, dataplane] of dataplanes.entries()) {
  t.test(dataplane, { buffered: true }, async (t) => {
    const gw = await Gateway.make(t, dataplane, { NATGW_RESYNC_INTERVAL: "10m" });
    const agreement = await compare(gw, randomFrom(seed + index), cases);
    for (const disagreement of agreement.disagreements)
      t.fail(`${disagreement.state}: ${disagreement.question}`, { ...disagreement, seed });
    t.equal(agreement.disagreements.length, 0, `${agreement.cases} packets did what was said`);
    t.ok(agreement.unknown <= agreement.cases / 20, "hardly any verdict is unknown");
    const codes = [...agreement.codes].map(([code, count]) => `${code} ${count}`).join(", ");
    t.comment(
      `${dataplane}: ${agreement.cases} packets, ${agreement.disagreements.length} disagreements: ${codes}`,
    );
  });
}
