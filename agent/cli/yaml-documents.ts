/** Parses YAML. */
import { parseAllDocuments } from "yaml";

export type YamlDocuments =
  | { readonly documents: readonly unknown[] }
  /** With the line and the column, if the text is not YAML. */
  | { readonly error: string };

/** The values of all documents that are not empty. */
export function yamlDocuments(text: string): YamlDocuments {
  const parsed = [parseAllDocuments(text)].flat();
  for (const { errors } of parsed) {
    const [error] = errors;
    if (error !== undefined) return { error: error.message.split("\n")[0] ?? "" };
  }
  try {
    const values = parsed.map((document) => document.toJS() as unknown);
    return { documents: values.filter((value) => value !== null) };
  } catch (error) {
    // Aliases that expand without bounds.
    return { error: error instanceof Error ? error.message : String(error) };
  }
}
