/** Which rules of other programs name an address. */
import { familyOf } from "../model/families.ts";
import type { Ip } from "../model/ip.ts";
import type { Chain } from "./chain.ts";
import { ruleText } from "./walk.ts";

/** The rules that contain `address`, each with its place. */
export function rulesNaming(chains: readonly Chain[], address: Ip): readonly string[] {
  const names = familyOf(address).mentionOf(address);
  return chains.flatMap((chain) =>
    chain.rules.filter(({ text }) => names.test(text)).map((rule) => ruleText(chain, rule)),
  );
}
