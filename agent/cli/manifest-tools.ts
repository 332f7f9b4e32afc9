/**
 * What `apply` and `diff` need of large packages: the parser of YAML, and the kinds with their schemas. A bundle of its own, which no
 * other command loads. It shares no class with the rest: what fails is a value.
 */
export { differencesOf } from "./difference.ts";
export { yamlDocuments } from "./yaml-documents.ts";
