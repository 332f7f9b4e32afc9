/** A restore that refuses what it is told to refuse, and becomes the real one for all else. */
import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Variant } from "../support/gateway.ts";
import type { Toolbox } from "../support/toolbox.ts";

/** Refuses, with the line's number as the kernel's tools do, every input in which `words` stand, as whole words. */
export async function refuse(toolbox: Toolbox, variant: Variant, words: string): Promise<void> {
  await writeFile(faultOf(toolbox, variant), script(words));
}

export async function permitAll(toolbox: Toolbox, variant: Variant): Promise<void> {
  await rm(faultOf(toolbox, variant), { force: true });
}

function faultOf(toolbox: Toolbox, variant: Variant): string {
  return join(toolbox.directory, `${variant}-restore.fault`);
}

const script = (words: string) => `
input=$(mktemp "$here/input.XXXXXX")
cat >"$input"
line=$(grep -n -m 1 -w -F -e '${words}' "$input" | cut -d : -f 1)
if [ -n "$line" ]; then
  rm "$input"
  echo "$tool: line $line failed: injected refusal of ${words}" >&2
  exit 1
fi
"$real" "$@" <"$input"
status=$?
rm "$input"
exit $status
`;
