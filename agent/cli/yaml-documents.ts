/** Parses YAML. A module of its own, because the parser takes longer to load than most commands take to run. */
import { parseAllDocuments } from "yaml";
import { UsageFailure } from "./failures.ts";

/** The values of all documents that are not empty. @throws UsageFailure with the line and column of the error */
export function yamlDocuments(text: string, file: string): readonly unknown[] {
  const documents = [parseAllDocuments(text)].flat();
  for (const { errors } of documents) {
    const [error] = errors;
    if (error !== undefined) throw new UsageFailure(`${file}: ${error.message.split("\n")[0]}`);
  }
  try {
    return documents.map((document) => document.toJS() as unknown).filter((value) => value !== null);
  } catch (error) {
    // Aliases that expand without bounds.
    throw new UsageFailure(`${file}: ${error instanceof Error ? error.message : error}`);
  }
}
