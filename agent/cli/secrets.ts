/** Takes secrets out of texts that leave the gateway. */

const patterns: readonly (readonly [RegExp, string])[] = [
  [/-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g, "[private key]"],
  [/\b(Bearer|Basic)(\s+)[\w.~+/=-]{4,}/gi, "$1$2[secret]"],
  [
    /((?:token|password|passwd|secret|authorization|api[-_]?key)["']?\s*[:=]\s*["']?)(?!\[)[^\s"',;}]{4,}/gi,
    "$1[secret]",
  ],
];

/** Names of files, such as `NATGW_TOKEN_FILE`, stay. */
export function withoutSecrets(text: string): string {
  return patterns.reduce((left, [pattern, replacement]) => left.replace(pattern, replacement), text);
}
