/**
 * The first lines of a program that is built: an older Node would fail somewhere with a syntax error or a missing function. They must
 * run with any Node.
 */
export function nodeCheck(program: string, exitCode: number): string {
  return `if (Number.parseInt(process.versions.node, 10) < 24) {
  process.stderr.write(\`${program}: Node 24 or newer is needed, this is \${process.version}\\n\`);
  process.exit(${exitCode});
}`;
}
