/** Checks what a rule asks for by the rules that the API has, so that the message can name the rule. */
import { recordOf } from "../kinds/registry.ts";
import type { InputIssue } from "../model/errors.ts";
import { familyOf } from "../model/families.ts";
import { addressOf, type InterfaceAddress, makeInterfaceAddress } from "../model/ip.ts";
import { invalid } from "./fields.ts";
import { eipName } from "./names.ts";
import type { ObjectRequest, PutRequest, RequestedKind } from "./request.ts";

/** Refuses what no object may have, a loopback address for example. Removals are not checked: there is no such object. */
export function checked(request: ObjectRequest): ObjectRequest {
  const [issue] = issuesOf(request);
  if (issue !== undefined) throw invalid(issue.message);
  return request;
}

function issuesOf(request: ObjectRequest): readonly InputIssue[] {
  switch (request.type) {
    case "bind":
      return eipIssues(request.address);
    case "put": {
      const { eip } = request;
      const ofEip = eip === undefined ? [] : eipIssues(makeInterfaceAddress(eip, familyOf(eip).bits));
      return [...ofEip, ...specIssues(request)];
    }
    default:
      return [];
  }
}

function specIssues<K extends RequestedKind>({ kind, spec }: PutRequest<K>): readonly InputIssue[] {
  return recordOf(kind).issues(spec);
}

function eipIssues(address: InterfaceAddress): readonly InputIssue[] {
  return recordOf("eip").issues({ name: eipName(addressOf(address)), address });
}
