/** `natgwctl completion`: scripts that ask `natgwctl __complete` for each word. */
import { lines } from "../../../lib/text/view.ts";
import type { Answer } from "../answer.ts";

const scripts: Readonly<Record<string, string>> = {
  bash: `_natgwctl() {
  local IFS=$'\\n'
  COMPREPLY=($(natgwctl __complete -- "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null))
}
complete -o bashdefault -o default -F _natgwctl natgwctl
`,
  zsh: `#compdef natgwctl
_natgwctl() {
  local -a found
  found=("\${(@f)$(natgwctl __complete -- "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  if (( \${#found} )) && [[ -n "\${found[1]}" ]]; then compadd -- "\${found[@]}"; else _files; fi
}
compdef _natgwctl natgwctl
`,
  fish: `function __natgwctl
  set -l words (commandline -opc) (commandline -ct)
  natgwctl __complete -- $words[2..-1] 2>/dev/null
end
complete -c natgwctl -n '__natgwctl | count >/dev/null' -f -a '(__natgwctl)'
`,
};

export async function completion(shell: string): Promise<Answer> {
  const script = scripts[shell] ?? "";
  return {
    data: { shell, script },
    names: [shell],
    text: script,
    sections: () => [{ block: lines(script) }],
  };
}
