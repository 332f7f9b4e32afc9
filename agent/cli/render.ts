/** An answer as text in the format that was asked for. */
import { type Layout, layOut } from "../../lib/text/layout.ts";
import { asciiJson, printable } from "../../lib/text/printable.ts";
import { toYaml } from "../../lib/text/yaml.ts";
import type { Answer, OutputFormat } from "./answer.ts";

/** Ends with a newline, unless it is empty. */
export function render(answer: Answer, format: OutputFormat, layout: Layout): string {
  switch (format) {
    case "json":
      return `${asciiJson(answer.data)}\n`;
    case "yaml":
      return toYaml(answer.data);
    case "name":
      return joined(answer.names.map(printable));
    case "table":
    case "wide":
      return answer.text ?? joined(layOut(answer.sections(format === "wide"), layout));
  }
}

function joined(lines: readonly string[]): string {
  return lines.length === 0 ? "" : `${lines.join("\n")}\n`;
}
