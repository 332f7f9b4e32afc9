/** The files of the status page. Their sources are in agent/ui. */

export interface PageFile {
  /** Where it is served: `/ui`, `/ui/app.js`. */
  readonly path: string;
  readonly contentType: string;
  readonly text: string;
  /** Of the content, in quotes. */
  readonly etag: string;
}

/** Filled by scripts/build.ts: an agent that runs from its sources has no page. */
export const pageFiles: readonly PageFile[] = [];
