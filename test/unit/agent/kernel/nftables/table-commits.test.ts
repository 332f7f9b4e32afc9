/** Which commits leave a table as it was. */
import t from "tap";
import type { CommitJournal } from "../../../../../agent/kernel/commit-journal.ts";
import { TableCommits } from "../../../../../agent/kernel/nftables/table-commits.ts";
import { type Commit, commitsSince } from "../../../../../lib/nftables/commits.ts";

const table = "ip natgw_acct";

function commit(generation: number, ...labels: readonly string[]): Commit {
  const touched = { isRemade: true, growth: new Map(), keys: new Map() };
  return { generation, tables: new Map(labels.map((label) => [label, touched])) as Commit["tables"] };
}

function journalOf(...commits: readonly Commit[]): CommitJournal {
  return {
    restart() {},
    beginReading: () => () => {},
    since: (generation) => commitsSince(generation, commits),
    forget() {},
    close() {},
  };
}

t.test("those of others to other tables", async (t) => {
  const known = new TableCommits(table, journalOf(commit(2, "ip nat"), commit(3, "ip6 filter")));
  t.equal(known.latest(1), 3);
  t.equal(known.latest(3), 3);
});

t.test("not those to the table, nor after a gap", async (t) => {
  t.equal(new TableCommits(table, journalOf(commit(2, "ip nat"), commit(3, table))).latest(1), 1);
  t.equal(new TableCommits(table, journalOf(commit(3, "ip nat"))).latest(1), 1);
  t.equal(new TableCommits(table, { ...journalOf(), since: () => undefined }).latest(1), 1);
});

t.test("own commits to the table that are noted", async (t) => {
  const known = new TableCommits(table, journalOf(commit(2, table), commit(3, "ip nat")));
  known.note(1);
  t.equal(known.latest(1), 3);
  t.equal(known.latest(2), 3);
});
