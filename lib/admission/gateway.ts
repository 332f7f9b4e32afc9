/** Checks the `gateway` member of a full set. */
import { hostIssues } from "../kinds/address-fields.ts";
import type { InputIssue } from "../model/errors.ts";
import type { Gateway } from "../model/schema.ts";

/** Its errors. Pointers are relative to it. */
export function gatewayIssues(gateway: Gateway): readonly InputIssue[] {
  return gateway.defaultGateway === undefined ? [] : hostIssues(gateway.defaultGateway, "/defaultGateway");
}

/** The canonical form, in which it is stored, shown and compared. */
export function canonicalGateway(gateway: Gateway): Gateway {
  return gateway.defaultGateway === undefined ? {} : { defaultGateway: gateway.defaultGateway };
}

/** Whether two gateways are equal. */
export function isSameGateway(one: Gateway, other: Gateway): boolean {
  return one.defaultGateway === other.defaultGateway;
}
