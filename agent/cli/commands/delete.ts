/** `natgwctl delete`. */
import { counted } from "../../../lib/text/quantities.ts";
import { lines } from "../../../lib/text/view.ts";
import type { Answer } from "../answer.ts";
import { parseDuration, parseReference } from "../arguments.ts";
import { brokenFlowSections, changeSections, objectsOf } from "../changes.ts";
import type { Context } from "../context.ts";
import type { ObjectDocument, Preview } from "../documents.ts";
import { readyCondition } from "../objects.ts";
import { pathOf } from "./get.ts";

export interface DeleteOptions {
  readonly cascade?: boolean;
  readonly dryRun?: boolean;
  /** False with `--no-wait`. */
  readonly wait: string | false;
}

/** The longest that the agent waits. */
const maxWaitMs = 300_000;

export async function remove(
  { api }: Context,
  kind: string,
  name: string | undefined,
  { cascade, dryRun, wait }: DeleteOptions,
): Promise<Answer> {
  const reference = parseReference(kind, name);
  const id = `${reference.collection}/${reference.name}`;
  const path = pathOf(reference.collection, reference.name);
  const query = { ...(cascade && { cascade }) };
  if (dryRun) {
    const { body } = await api.call<Preview>("delete", path, { query: { ...query, dryRun } });
    return {
      data: body,
      names: objectsOf(body.changes),
      sections: (isWide) => [
        ...changeSections(
          body.changes,
          body.changesTotal,
          `Would make ${counted(body.changesTotal, "change")}`,
          isWide,
        ),
        ...brokenFlowSections(body.flows),
      ],
    };
  }
  const waitMs = wait === false ? undefined : parseDuration(wait, "--wait", maxWaitMs);
  const { status, body } = await api.call<ObjectDocument | undefined>("delete", path, {
    query: { ...query, ...(waitMs !== undefined && { wait: `${waitMs}ms` }) },
    waitMs,
  });
  const isPending = status === 202;
  const state = isPending ? "still in the kernel" : waitMs === undefined ? "deleted" : "gone";
  const message = body === undefined ? "" : (readyCondition(body)?.message ?? "");
  return {
    data: { object: id, state },
    names: [id],
    sections: () => [
      {
        block: lines(
          isPending
            ? { text: `${id} is deleted, and ${state}${message === "" ? "" : `: ${message}`}`, style: "bad" }
            : {
                text: `${id} is ${waitMs === undefined ? "deleted" : "deleted, and gone from the kernel"}.`,
                style: "good",
              },
        ),
      },
    ],
    exitCode: isPending ? 1 : 0,
  };
}
