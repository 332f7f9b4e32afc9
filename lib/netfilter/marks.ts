/** Whether rules that set the mark of packets keep the bit by which the agent knows those from the VPC. */

/** VPC_MARK sets it. */
const vpcBit = 1;

/** @param text what follows `meta mark set`: `0x1`, `meta mark & 0xffffff00 | 0x10`, `ct mark` */
export function nftUnmarks(text: string): boolean {
  const [, and, operator, value, constant] =
    /^(?:meta mark(?: & (\w+))?(?: ([|^]) (\w+))?|(0x\w+|\d+))(?: |$)/.exec(text) ?? [];
  if (constant !== undefined) return !hasBit(constant);
  // Anything else may be any mark.
  if (!text.startsWith("meta mark")) return true;
  const isKept = hasBit(and ?? "1");
  const isSet = value !== undefined && hasBit(value);
  return operator === "^" ? isKept === isSet : !isKept && !isSet;
}

/** @param words a rule of iptables from `-j` on */
export function iptablesUnmarks(words: readonly string[]): boolean {
  const after = (option: string) => words[words.indexOf(option) + 1] ?? "";
  switch (words[1]) {
    case "MARK": {
      const [value = "", mask = "0xffffffff"] = after("--set-xmark").split("/");
      return hasBit(mask) !== hasBit(value);
    }
    case "CONNMARK":
      return words.includes("--restore-mark") && (!words.includes("--nfmask") || hasBit(after("--nfmask")));
    default:
      return false;
  }
}

function hasBit(number: string): boolean {
  return (Number(number) & vpcBit) !== 0;
}
