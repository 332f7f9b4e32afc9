/** Commands that go on while the agent is away tell it: silence would look like nothing happens. */
import type { CliFailure } from "./failures.ts";
import type { Terminal } from "./terminal.ts";

export class Absence {
  readonly #terminal: Pick<Terminal, "note">;
  #isTold = false;

  constructor(terminal: Pick<Terminal, "note">) {
    this.#terminal = terminal;
  }

  /** Once, however often the agent is tried. */
  tell({ message }: CliFailure): void {
    if (!this.#isTold) this.#terminal.note(`natgwctl: ${message}; trying again`);
    this.#isTold = true;
  }

  end(): void {
    this.#isTold = false;
  }
}
