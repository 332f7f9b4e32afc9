/** What a command gets beside its arguments. */
import type { OutputFormat } from "./answer.ts";
import type { Api } from "./api.ts";
import type { Terminal } from "./terminal.ts";

export interface Context {
  readonly api: Api;
  readonly format: OutputFormat;
  readonly terminal: Terminal;
  readonly nowMs: () => number;
}
