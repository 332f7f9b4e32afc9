/** EIPs as arguments: the name of the Eip, or its address. */
import { isIP } from "node:net";
import type { Api } from "./api.ts";
import type { InventoryDocument } from "./documents.ts";
import { RefusedFailure } from "./failures.ts";

/** The name or address in `eip-a`, `eips/eip-a` or `203.0.113.10`. */
export function eipIn(text: string): string {
  return text.replace(/^eips?\//i, "");
}

/** Asks with the name that was given; if there is none and it is an address, with the name of the Eip that has it. */
export async function askOfEip<T>(
  api: Api,
  text: string,
  ask: (name: string) => Promise<T>,
): Promise<{ readonly name: string; readonly found: T }> {
  const name = eipIn(text);
  try {
    return { name, found: await ask(name) };
  } catch (error) {
    const isUnknown = error instanceof RefusedFailure && error.code === "not-found";
    const holder = isUnknown && isIP(name) !== 0 ? await holderOf(api, name) : undefined;
    if (holder === undefined) throw error;
    return { name: holder, found: await ask(holder) };
  }
}

/** The oldest Eip with an address: of several only that one has it. */
async function holderOf(api: Api, address: string): Promise<string | undefined> {
  const { addresses } = await api.get<InventoryDocument>("/v1/inventory");
  const users = addresses.find(({ ip }) => ip === address)?.users ?? [];
  return users.find((user) => user.startsWith("eips/"))?.slice("eips/".length);
}
