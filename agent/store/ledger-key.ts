import type { Ipv4 } from "../../lib/model/ipv4.ts";
import type { LedgerAddress } from "../../lib/model/ledger.ts";
import type { InterfaceName } from "../../lib/model/names.ts";

/** Takes a ledger key apart that the schema let pass. */
export function parseLedgerKey(key: string): LedgerAddress {
  const space = key.indexOf(" ");
  const slash = key.indexOf("/", space);
  return {
    interface: key.slice(0, space) as InterfaceName,
    address: key.slice(space + 1, slash) as Ipv4,
    prefixLength: Number(key.slice(slash + 1)),
  };
}
