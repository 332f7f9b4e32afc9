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

/** `undefined` if the kernel refuses with one of these: it does not have what is asked for. @param codes names of errnos */
export async function orAbsent<T>(reading: Promise<T>, codes: readonly string[]): Promise<T | undefined> {
  try {
    return await reading;
  } catch (error) {
    const code = error instanceof GatewayError ? error.details.code : undefined;
    if (codes.some((one) => one === code)) return undefined;
    throw error;
  }
}

export function refused(error: NetlinkError): GatewayError {
  return new GatewayError("netlink-failed", `${error.code}: ${error.message}`, {
    details: { code: error.code, errno: error.errno },
  });
}
