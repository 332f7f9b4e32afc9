/** Which interfaces the agent serves. */
import type { InterfaceName } from "../../lib/model/names.ts";
import type { Gateway } from "../../lib/model/schema.ts";

export interface Interfaces {
  readonly vpcInterface: InterfaceName;
  readonly externalInterface: InterfaceName;
}

/** The interfaces of the gateway: the desired set goes before the settings. */
export function interfacesOf(settings: Interfaces, { vpcInterface, externalInterface }: Gateway): Interfaces {
  return vpcInterface === undefined || externalInterface === undefined
    ? { vpcInterface: settings.vpcInterface, externalInterface: settings.externalInterface }
    : { vpcInterface, externalInterface };
}
