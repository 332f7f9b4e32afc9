import type { Ip } from "../../lib/model/ip.ts";
import type { LedgerAddress } from "../../lib/model/ledger.ts";
import type { InterfaceName } from "../../lib/model/names.ts";

/** Parses a ledger key. The schema has already validated it. */
export function parseLedgerKey(key: string): LedgerAddress {
  const space = key.indexOf(" ");
  const slash = key.indexOf("/", space);
  return {
    interface: key.slice(0, space) as InterfaceName,
    address: key.slice(space + 1, slash) as Ip,
    prefixLength: Number(key.slice(slash + 1)),
  };
}
