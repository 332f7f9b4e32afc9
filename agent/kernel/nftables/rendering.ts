/** How this kernel dumps a definition that it was given, if it uses other attributes than the agent. */
import { type DefinitionLines, isSameDefinition } from "../../../lib/nftables/definition-lines.ts";

export class Rendering {
  #sent: DefinitionLines;
  #dumped: DefinitionLines;

  /** @param dumped read right after `sent` was made, before any other write */
  learn(sent: DefinitionLines, dumped: DefinitionLines): void {
    this.#sent = sent;
    this.#dumped = dumped;
  }

  /** What was sent, if the kernel dumps it as `lines`; otherwise `lines`. */
  recognize(lines: DefinitionLines): DefinitionLines {
    return lines !== undefined && isSameDefinition(lines, this.#dumped) ? this.#sent : lines;
  }
}
