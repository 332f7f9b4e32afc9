/** What a full set says of the gateway itself. */
import { hostIssues } from "../kinds/address-fields.ts";
import type { InputIssue } from "../model/errors.ts";
import type { Gateway } from "../model/schema.ts";

/** What is wrong with it; pointers are relative to it. */
export function gatewayIssues(gateway: Gateway): readonly InputIssue[] {
  return gateway.defaultGateway === undefined ? [] : hostIssues(gateway.defaultGateway, "/defaultGateway");
}

/** The one form in which it is stored, shown and compared. */
export function canonicalGateway(gateway: Gateway): Gateway {
  return gateway.defaultGateway === undefined ? {} : { defaultGateway: gateway.defaultGateway };
}

/** True where two gateways say the same. */
export function isSameGateway(one: Gateway, other: Gateway): boolean {
  return one.defaultGateway === other.defaultGateway;
}
