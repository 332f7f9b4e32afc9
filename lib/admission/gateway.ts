/** Checks the `gateway` member of a full set. */
import { hostIssues, interfaceIssues } from "../kinds/address-fields.ts";
import { ownAddressClash } from "../kinds/clash.ts";
import type { Facts } from "../kinds/facts.ts";
import { GatewayError, type InputIssue } from "../model/errors.ts";
import type { Gateway } from "../model/schema.ts";

/** Its errors. Pointers are relative to it. */
export function gatewayIssues(gateway: Gateway): readonly InputIssue[] {
  const { defaultGateway, vpcInterface, externalInterface } = gateway;
  const issues = defaultGateway === undefined ? [] : [...hostIssues(defaultGateway, "/defaultGateway")];
  if ((vpcInterface === undefined) !== (externalInterface === undefined))
    issues.push({ pointer: "/vpcInterface", message: "set vpcInterface and externalInterface, or neither" });
  else if (vpcInterface !== undefined && vpcInterface === externalInterface)
    issues.push({ pointer: "/externalInterface", message: "must differ from vpcInterface" });
  issues.push(...interfaceIssues(vpcInterface, "/vpcInterface"));
  issues.push(...interfaceIssues(externalInterface, "/externalInterface"));
  return issues;
}

/**
 * Throws `conflict` for a default gateway that is an address of the gateway itself: the kernel takes no such next hop. One that is
 * stored already keeps no other change out.
 */
export function rejectOwnGateway(
  { defaultGateway }: Gateway,
  before: Gateway,
  { ownAddresses }: Pick<Facts, "ownAddresses">,
): void {
  if (defaultGateway === undefined || defaultGateway === before.defaultGateway) return;
  if (!ownAddresses.has(defaultGateway)) return;
  throw new GatewayError("conflict", `gateway/defaultGateway: ${ownAddressClash(defaultGateway).message}`);
}

/** The canonical form, in which it is stored, shown and compared. */
export function canonicalGateway({ defaultGateway, vpcInterface, externalInterface }: Gateway): Gateway {
  return {
    ...(defaultGateway === undefined ? {} : { defaultGateway }),
    ...(vpcInterface === undefined ? {} : { vpcInterface }),
    ...(externalInterface === undefined ? {} : { externalInterface }),
  };
}

/** Whether two gateways are equal. */
export function isSameGateway(one: Gateway, other: Gateway): boolean {
  return (
    one.defaultGateway === other.defaultGateway &&
    one.vpcInterface === other.vpcInterface &&
    one.externalInterface === other.externalInterface
  );
}
