import { GatewayError } from "../../../lib/model/errors.ts";
import type { Acknowledgement } from "../../../lib/netlink/message.ts";
import { errnoName, errnoText } from "../libc.ts";
/** A request that the kernel refused. */
export interface NetlinkError {
  /** Positive. */
  readonly errno: number;
  /** Such as `"EEXIST"`. */
  readonly code: string;
  /** The kernel's error text, else the name of the errno as text. */
  readonly message: string;
}

/** A refusal with name and text. */
export function netlinkError({ errno, text }: Acknowledgement): NetlinkError {
  return { errno, code: errnoName(errno), message: text === "" ? errnoText(errno) : text };
}

export function refused(error: NetlinkError): GatewayError {
  return new GatewayError("netlink-failed", `${error.code}: ${error.message}`, {
    details: { code: error.code, errno: error.errno },
  });
}
