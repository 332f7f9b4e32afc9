/** `natgwctl export` and `import`: the desired set as a file; the live state of the kernel as the desired set. */
import { collections } from "../../../lib/model/names.ts";
import { counted } from "../../../lib/text/quantities.ts";
import { type Column, lines, type Section, table } from "../../../lib/text/view.ts";
import { toYaml } from "../../../lib/text/yaml.ts";
import type { Answer } from "../answer.ts";
import { confirmed, refuseWithoutAnswer } from "../consent.ts";
import type { Context } from "../context.ts";
import type { DesiredSet, ImportDocument } from "../documents.ts";
import { DifferenceFailure } from "../failures.ts";

/** YAML, unless another format was asked for. */
export async function exportSet({ api }: Context): Promise<Answer> {
  const set = await api.get<DesiredSet>("/v1/desired");
  return { data: set, names: namesIn(set), text: toYaml(set), sections: () => [] };
}

export interface ImportOptions {
  readonly yes?: boolean;
  readonly dryRun?: boolean;
}

const timeoutMs = 60_000;

export async function importSet(context: Context, { yes, dryRun }: ImportOptions): Promise<Answer> {
  const { api, terminal } = context;
  const isAsking = yes !== true && dryRun !== true;
  if (isAsking) refuseWithoutAnswer(terminal);
  const found = await api.call<ImportDocument>("post", "/v1/import", {
    query: { from: "kernel" },
    timeoutMs,
  });
  if (dryRun) return importAnswer(found.body, false);
  const sections = [...summarySections(found.body), ...unreadSections(found.body)];
  if (!(await confirmed(context, sections, isAsking, "Make this the desired set?")))
    throw new DifferenceFailure("nothing was adopted");
  const { body } = await api.call<ImportDocument>("post", "/v1/import", {
    query: { from: "kernel", adopt: true },
    ifMatch: found.revision,
    timeoutMs,
  });
  return importAnswer(body, true);
}

function importAnswer(document: ImportDocument, isAdopted: boolean): Answer {
  const unread = unreadSections(document);
  const answer = {
    data: { ...document, adopted: isAdopted },
    names: namesIn(document.set),
    sections: () =>
      isAdopted
        ? [
            { block: lines({ text: "This is the desired set now.", style: "good" as const }) },
            ...summarySections(document),
          ]
        : [...summarySections(document), ...unread],
  };
  return isAdopted ? answer : { ...answer, exitCode: document.unread.length === 0 ? 0 : 1 };
}

function namesIn(set: DesiredSet): readonly string[] {
  return collections.flatMap((collection) =>
    ((set[collection] ?? []) as readonly { readonly name: string }[]).map(
      ({ name }) => `${collection}/${name}`,
    ),
  );
}

function summarySections({ set }: ImportDocument): readonly Section[] {
  const rows = collections.map(
    (collection) => [collection, ((set[collection] ?? []) as readonly unknown[]).length] as const,
  );
  const gateway = String(set.gateway?.defaultGateway ?? "none");
  return [
    {
      block: table<(typeof rows)[number]>(
        [
          { head: "IN THE KERNEL", cell: ([collection]) => collection },
          { head: "OBJECTS", isRight: true, cell: ([, count]) => String(count) },
        ],
        rows,
      ),
    },
    { block: lines(`Default gateway: ${gateway}`) },
  ];
}

type Unread = ImportDocument["unread"][number];

const unreadColumns: readonly Column<Unread>[] = [
  { head: "WHERE", cell: ({ where }) => where },
  { head: "WHY", cell: ({ why }) => why, gives: "end" },
  { head: "WHAT", cell: ({ what }) => what, gives: "wrap" },
];

function unreadSections({ unread }: ImportDocument): readonly Section[] {
  if (unread.length === 0) return [{ block: lines({ text: "All of it can be read.", style: "good" }) }];
  return [
    {
      heading: { text: `${counted(unread.length, "thing")} that no object stands for`, style: "bad" },
      block: table(unreadColumns, unread),
    },
  ];
}
