import { GatewayError } from "../../../lib/model/errors.ts";
import type { Acknowledgement } from "../../../lib/netlink/message.ts";
import { errnoName, errnoText } from "../libc.ts";
/** A request that the kernel refused. */
export interface NetlinkError {
  /** Positive. */
  readonly errno: number;
  /** `"EEXIST"`. */
  readonly code: string;
  /** The kernel's words where it had any, else the code's. */
  readonly message: string;
}

/** A refusal by name and in words. */
export function netlinkError({ errno, text }: Acknowledgement): NetlinkError {
  return { errno, code: errnoName(errno), message: text === "" ? errnoText(errno) : text };
}

export function refused(error: NetlinkError): GatewayError {
  return new GatewayError("netlink-failed", `${error.code}: ${error.message}`, {
    details: { code: error.code, errno: error.errno },
  });
}
