/** Links, as `ip` shows them. */
import { runIn } from "./in-namespace.ts";

export interface Link {
  readonly ifindex: number;
  readonly ifname: string;
  /** Its MAC. */
  readonly address: string;
}

export async function readLink(namespace: string, name: string): Promise<Link> {
  const [link] = JSON.parse(await runIn(namespace, ["ip", "-j", "link", "show", name])) as readonly Link[];
  if (link === undefined) throw new Error(`no link ${name} in ${namespace}`);
  return link;
}
