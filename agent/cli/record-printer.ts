/** Prints records one by one, for commands that go on. */
import { cut, layOut } from "../../lib/text/layout.ts";
import { asciiJson, printable } from "../../lib/text/printable.ts";
import { lines } from "../../lib/text/view.ts";
import { toYaml } from "../../lib/text/yaml.ts";
import type { Context } from "./context.ts";

export type Shorten = (name: string, width: number) => string;

interface Forms<T> {
  readonly dataOf: (record: T) => unknown;
  readonly nameOf: (record: T) => string;
  /** The columns of the lines: printed before the first. */
  readonly head: string;
  /** @param shorten fits a name into a column of that width, on a terminal */
  readonly lineOf: (record: T, shorten: Shorten) => string;
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
        const { layout } = terminal;
        const isCut = Number.isFinite(layout.width);
        const shorten: Shorten = (name, width) =>
          isCut && name.length > width ? cut(name, width, "middle") : name;
        const texts = [...(isFirst ? [head] : []), lineOf(record, shorten)];
        isFirst = false;
        return terminal.write(`${layOut([{ block: lines(...texts) }], layout).join("\n")}\n`);
      }
    }
  };
}
