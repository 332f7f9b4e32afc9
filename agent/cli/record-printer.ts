/** Prints records one by one, for commands that go on. */
import { layOut } from "../../lib/text/layout.ts";
import { asciiJson, printable } from "../../lib/text/printable.ts";
import { lines } from "../../lib/text/view.ts";
import { toYaml } from "../../lib/text/yaml.ts";
import type { Context } from "./context.ts";

interface Forms<T> {
  readonly dataOf: (record: T) => unknown;
  readonly nameOf: (record: T) => string;
  /** The columns of the lines: printed before the first. */
  readonly head: string;
  readonly lineOf: (record: T) => string;
}

/** JSON as one line a record, YAML as one document a record. */
export function recordPrinter<T>(
  { format, terminal }: Pick<Context, "format" | "terminal">,
  { dataOf, nameOf, head, lineOf }: Forms<T>,
): (record: T) => void {
  let isFirst = true;
  return (record) => {
    switch (format) {
      case "json":
        return terminal.write(`${asciiJson(dataOf(record), 0)}\n`);
      case "yaml":
        return terminal.write(`---\n${toYaml(dataOf(record))}`);
      case "name":
        return terminal.write(`${printable(nameOf(record))}\n`);
      case "table":
      case "wide": {
        const texts = [...(isFirst ? [head] : []), lineOf(record)];
        isFirst = false;
        return terminal.write(`${layOut([{ block: lines(...texts) }], terminal.layout).join("\n")}\n`);
      }
    }
  };
}
