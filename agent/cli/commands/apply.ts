/** `natgwctl apply` and `diff`: writes a full set or some objects, after showing what that does. */
import { collections } from "../../../lib/model/names.ts";
import { counted } from "../../../lib/text/quantities.ts";
import { type Cell, lines, type Section, table } from "../../../lib/text/view.ts";
import type { Answer } from "../answer.ts";
import { parseDuration } from "../arguments.ts";
import { brokenFlowSections, changeSections } from "../changes.ts";
import { confirmed, refuseWithoutAnswer } from "../consent.ts";
import type { Context } from "../context.ts";
import { differenceSections, type ObjectDifference } from "../difference-view.ts";
import type { DesiredSet, ObjectDocument, Preview, WriteDocument } from "../documents.ts";
import { DifferenceFailure, RefusedFailure, UnavailableFailure } from "../failures.ts";
import type { Manifest } from "../manifest.ts";
import { idOf, readyCondition } from "../objects.ts";
import { whileWaiting } from "../progress.ts";
import { readManifest } from "../read-manifest.ts";

export interface ApplyOptions {
  readonly file: string;
  readonly yes?: boolean;
  readonly dryRun?: boolean;
  /** False with `--no-wait`. */
  readonly wait: string | false;
}

/** The longest that the agent waits. */
const maxWaitMs = 300_000;
/** How often others may write between the plan and the write, before the user has to try again. */
const maxTries = 5;
const listedObjects = 20;
const listedChanges = 20;

/** What a manifest does to the set and the kernel as they are now. */
interface Proposal {
  /** What the write builds on. */
  readonly revision: number | undefined;
  readonly request: Request;
  readonly differences: readonly ObjectDifference[];
  readonly preview: Preview;
}

interface Request {
  readonly method: "put" | "post";
  readonly path: string;
  readonly body: unknown;
  /** In words. */
  readonly title: string;
}

export async function diff(context: Context, { file }: { readonly file: string }): Promise<Answer> {
  const proposal = await propose(context, await readManifest(file));
  const { differences, request } = proposal;
  return {
    data: { same: differences.length === 0, differences },
    names: differences.map(({ object }) => object),
    sections: (isWide) =>
      differences.length === 0
        ? [{ block: lines({ text: "The same.", style: "good" }) }]
        : [
            { block: lines({ text: request.title, style: "strong" }) },
            ...differenceSections(differences, isWide ? Number.POSITIVE_INFINITY : listedObjects),
          ],
    exitCode: differences.length === 0 ? 0 : 1,
  };
}

export async function apply(context: Context, options: ApplyOptions): Promise<Answer> {
  const { api, terminal, format } = context;
  const waitMs = options.wait === false ? undefined : parseDuration(options.wait, "--wait", maxWaitMs);
  const isAsking = options.yes !== true && options.dryRun !== true;
  if (isAsking) refuseWithoutAnswer(terminal);
  const manifest = await readManifest(options.file);
  let shown: string | undefined;
  for (let tries = 1; ; tries++) {
    const proposal = await propose(context, manifest);
    if (options.dryRun) return proposalAnswer(proposal);
    const text = JSON.stringify([proposal.differences, proposal.preview.changes]);
    if (text !== shown && (isAsking || format === "table" || format === "wide")) {
      // Not for the sake of others' writes that change nothing of what was agreed to.
      if (shown !== undefined) terminal.note("Others wrote in the meantime. Now it is:");
      const isChange = proposal.differences.length > 0;
      const agreed = await confirmed(
        context,
        proposalSections(proposal, format === "wide"),
        isAsking && isChange,
        "Write this?",
      );
      if (!agreed) throw new DifferenceFailure("nothing was written");
    }
    shown = text;
    try {
      return await write(context, proposal, waitMs);
    } catch (error) {
      const isMoved = error instanceof RefusedFailure && error.code === "precondition-failed";
      if (!isMoved || tries === maxTries) throw error;
    }
  }

  async function write(context: Context, proposal: Proposal, waitMs: number | undefined): Promise<Answer> {
    const { request, revision } = proposal;
    const sending = () =>
      api.call<WriteDocument>(request.method, request.path, {
        body: request.body,
        ifMatch: revision,
        query: { ...(waitMs !== undefined && { wait: `${waitMs}ms` }) },
        waitMs,
      });
    try {
      const { body } = await whileWaiting(context, revision ?? 0, sending);
      return writtenAnswer(proposal, body, waitMs);
    } catch (error) {
      if (!(error instanceof UnavailableFailure)) throw error;
      throw new UnavailableFailure(error.message, [
        ...error.more,
        `whether it was stored is unknown: natgwctl diff -f ${options.file}`,
      ]);
    }
  }
}

/** Asks the agent what the manifest would do. The agent also checks every field of it. */
async function propose({ api }: Context, manifest: Manifest): Promise<Proposal> {
  const { differencesOf } = await import("../manifest-tools.ts");
  for (let tries = 1; ; tries++) {
    const { body: desired, revision } = await api.call<DesiredSet>("get", "/v1/desired");
    // Whether it differs is known only when the agent accepted its shape: until then, a generation that fits both.
    const trial = requestOf(manifest, desired, true);
    try {
      const { body: preview } = await api.call<Preview>(trial.method, trial.path, {
        body: trial.body,
        ifMatch: revision,
        query: { dryRun: true },
      });
      const differences = differencesOf(manifest, desired);
      return {
        revision,
        request: requestOf(manifest, desired, differences.length > 0),
        differences,
        preview,
      };
    } catch (error) {
      const isMoved = error instanceof RefusedFailure && error.code === "precondition-failed";
      if (!isMoved || tries === maxTries) throw error;
    }
  }
}

/**
 * A full set needs a generation above the last one. What a person writes comes after it, whatever the file says: the
 * revision in `If-Match` proves that nothing is overwritten unseen.
 */
function requestOf(manifest: Manifest, desired: DesiredSet, differs: boolean): Request {
  if (manifest.kind === "objects") {
    const count = collections.reduce((sum, one) => sum + (manifest.specs[one]?.length ?? 0), 0);
    return {
      method: "post",
      path: "/v1/batch",
      body: { upsert: manifest.specs },
      title: `Writes ${counted(count, "object")}; all others stay.`,
    };
  }
  const generation = differs ? Math.max(manifest.generation, desired.generation + 1) : desired.generation;
  return {
    method: "put",
    path: "/v1/desired",
    body: { ...manifest.set, generation },
    title: `Replaces the whole set: generation ${desired.generation} -> ${generation}.`,
  };
}

function proposalSections({ request, differences, preview }: Proposal, isWide: boolean): readonly Section[] {
  const most = isWide ? Number.POSITIVE_INFINITY : listedChanges;
  const shown = preview.changes.slice(0, most);
  return [
    ...(differences.length === 0
      ? [{ block: lines({ text: "The stored set is the same already.", style: "good" as const }) }]
      : [
          { block: lines({ text: request.title, style: "strong" as const }) },
          ...differenceSections(differences, isWide ? most : listedObjects),
        ]),
    ...(preview.changesTotal === 0
      ? []
      : changeSections(
          shown,
          preview.changesTotal,
          `Makes ${counted(preview.changesTotal, "change")} in the kernel`,
        )),
    ...(preview.flows.total > 0
      ? brokenFlowSections(preview.flows)
      : [{ block: lines({ text: "Ends no live flow.", style: "good" as const }) }]),
  ];
}

function proposalAnswer(proposal: Proposal): Answer {
  const { differences, preview } = proposal;
  return {
    data: { differences, ...preview },
    names: differences.map(({ object }) => object),
    sections: (isWide) => proposalSections(proposal, isWide),
  };
}

function writtenAnswer(
  { differences, preview }: Proposal,
  written: WriteDocument,
  waitMs: number | undefined,
): Answer {
  const { revision, generation, ready, notReadyTotal, notReady } = written;
  const isDone = notReadyTotal === 0;
  const total = ready + notReadyTotal;
  return {
    data: {
      revision,
      generation,
      ready,
      notReadyTotal,
      notReady,
      differences,
      flowsEnded: preview.flows.total,
    },
    names: differences.map(({ object }) => object),
    sections: () => [
      {
        block: lines(
          `Stored at revision ${revision}.`,
          isDone
            ? { text: `${counted(total, "object")} written, all Ready.`, style: "good" }
            : {
                text: `${notReadyTotal} of ${counted(total, "object")} written ${waitMs === undefined ? "not Ready yet" : "not Ready"}.`,
                style: waitMs === undefined ? "warn" : "bad",
              },
        ),
      },
      ...(isDone || waitMs === undefined ? [] : [{ block: notReadyTable(notReady) }]),
    ],
    exitCode: isDone || waitMs === undefined ? 0 : 1,
  };
}

function notReadyTable(objects: readonly ObjectDocument[]): Section["block"] {
  return table<ObjectDocument>(
    [
      { head: "NOT READY", cell: idOf, gives: "middle" },
      {
        head: "REASON",
        cell: (object): Cell => ({ text: readyCondition(object)?.reason ?? "Unknown", style: "bad" }),
      },
      { head: "MESSAGE", cell: (object) => readyCondition(object)?.message ?? "", gives: "wrap" },
    ],
    objects,
  );
}
