/** The calls of Kube-OVN's `nat-gateway.sh`: one route that takes the script's arguments and returns what it has to print. */
import type { FastifyInstance, FastifyReply } from "fastify";
import { Type } from "typebox";
import { announceSet } from "../../../lib/admission/announce-set.ts";
import { applyBatchChunked } from "../../../lib/admission/batch.ts";
import {
  type Answer,
  again,
  answerText,
  argumentsIn,
  conflict,
  failure,
  success,
} from "../../../lib/kube-ovn/answer.ts";
import { decideChunked } from "../../../lib/kube-ovn/decide.ts";
import { isInitialized } from "../../../lib/kube-ovn/initialized.ts";
import { parseCall } from "../../../lib/kube-ovn/operations.ts";
import type { Devices, ObjectsRequest } from "../../../lib/kube-ovn/request.ts";
import { GatewayError } from "../../../lib/model/errors.ts";
import { type ObjectId, parseObjectId } from "../../../lib/model/names.ts";
import type { Reason } from "../../../lib/model/status.ts";
import type { Bodies } from "../bounds/bodies.ts";
import type { RouteContext } from "../deps.ts";
import { refuseOutside } from "../listen-address.ts";
import { toGatewayError } from "../problem.ts";
import { requestSignal } from "../request-signal.ts";
import { responses, textAnswer } from "../responses.ts";
import { store, waitFor } from "../write.ts";

/** How long a call waits for the kernel. The controller has no limit of its own. */
const waitMs = 30_000;
/** Programmed is False for good, and the call has succeeded all the same. Limits are stored where the kernel cannot have them. */
function isAcceptable(id: ObjectId, reason: Reason): boolean {
  return reason === "Unbound" || (reason === "NotSupported" && parseObjectId(id).kind === "limit");
}

/** What is known of the calls to this process. */
interface Calls {
  /** True if a QoS operation was the first write of all: it does not stand for `init`. */
  isBegunByQos: boolean;
}

export function kubeOvnRoutes(app: FastifyInstance, context: RouteContext, bodies: Bodies): void {
  const calls: Calls = { isBegunByQos: false };
  void app.register((routes, _options, done) => {
    routes.addContentTypeParser("application/octet-stream", bodies.readText.bind(bodies));
    routes.post<{ Body: string }>(
      "/v1/kube-ovn/nat-gateway",
      {
        config: { isLocal: true },
        schema: {
          operationId: "callKubeOvn",
          tags: ["kube-ovn"],
          summary: "Performs one call of nat-gateway.sh; on the Unix socket only",
          consumes: ["application/octet-stream"],
          body: Type.String({ description: "The operation and its rules, each with a NUL at its end" }),
          response: responses({
            200: {
              ...textAnswer,
              description:
                "Lines `out TEXT` and `err TEXT`; the last one is `exit CODE`. Or the line `again`: the agent stops, repeat the call",
            },
          }),
        },
      },
      async (request, reply) => {
        const args = argumentsIn(request.body);
        const answered = context.reconciler.gate.expectMore();
        const answer = await perform(context, reply, calls, args).finally(answered);
        const said = answer === again ? { again: true } : answer;
        request.log.info({ args: args.slice(0, 10), ...said }, "nat-gateway.sh answered");
        return reply.type("text/plain; charset=utf-8").send(answerText(answer));
      },
    );
    done();
  });
}

type Reply = Answer | typeof again;

async function perform(
  context: RouteContext,
  reply: FastifyReply,
  calls: Calls,
  args: readonly string[],
): Promise<Reply> {
  try {
    const request = parseCall(args, context.settings);
    return request.type === "init"
      ? await init(context, reply, calls, request.interfaces)
      : await writeObjects(context, reply, calls, request);
  } catch (error) {
    const { code, message } = toGatewayError(error);
    return code === "conflict" ? conflict(message) : failure(message);
  }
}

async function init(
  context: RouteContext,
  reply: FastifyReply,
  calls: Calls,
  interfaces: Devices | undefined,
): Promise<Reply> {
  const { vpcInterface, externalInterface } = interfaces ?? context.settings;
  for (const name of [vpcInterface, externalInterface])
    if (!(await hasInterface(context, reply, name))) return failure(`interface ${name} does not exist`);
  await refuseOutside(context.settings.listen, interfaces?.externalInterface);
  const { state } = await store(context, reply, function* (before, facts) {
    yield;
    return announceSet(before, interfaces ?? {}, facts);
  });
  calls.isBegunByQos = false;
  context.reconciler.gate.acceptOnceQuiet();
  context.reconciler.wake("announced set");
  const goals = { gone: [], revision: state.desired.revision };
  const outcome = await waitFor(context, reply, goals, waitMs);
  // It starts again if the interfaces are others. The kernel must have their names before a success: nothing else keeps them
  // when the container loses its state.
  if (outcome === "stopping") return again;
  if (outcome === "timeout") return failure("the gateway's chains could not be programmed in time");
  const fault = await commonRulesFault(context, reply);
  return fault === undefined ? success : failure(`the gateway's chains are not programmed: ${fault}`);
}

/** Once a pass has failed, the cause may be gone by now. */
async function commonRulesFault({ reconciler, stopping }: RouteContext, reply: FastifyReply) {
  if (reconciler.commonRulesFault === undefined) return undefined;
  await reconciler.reconcile("init", requestSignal(reply, stopping, waitMs));
  return reconciler.commonRulesFault;
}

/** The last reading may be older than the interface. */
async function hasInterface(context: RouteContext, reply: FastifyReply, name: string): Promise<boolean> {
  const { reconciler, stopping } = context;
  const isSeen = () => reconciler.network?.links.some((link) => link.name === name) ?? false;
  if (isSeen()) return true;
  await reconciler.reconcile("init", requestSignal(reply, stopping, waitMs));
  return isSeen();
}

async function writeObjects(
  context: RouteContext,
  reply: FastifyReply,
  calls: Calls,
  { requests, isAllowedBeforeInit }: ObjectsRequest,
): Promise<Reply> {
  const { state, decision } = await store(context, reply, function* (before, facts) {
    if (!isAllowedBeforeInit && !isInitialized(before, calls.isBegunByQos))
      throw new GatewayError("invalid", "nat gateway not initialized");
    const writes = yield* decideChunked(before.desired, requests);
    if ("conflict" in writes) throw new GatewayError("conflict", writes.conflict);
    if (!before.isSet) calls.isBegunByQos = true;
    const { programmed, gone } = writes;
    return { ...(yield* applyBatchChunked(before, { batch: writes.batch }, facts)), programmed, gone };
  });
  const { programmed, gone } = decision;
  const { revision } = state.desired;
  const outcome = await waitFor(context, reply, { programmed, gone, revision }, waitMs);
  if (outcome === "done") return success;
  if (outcome === "stopping") return again;
  const left = programmed.flatMap((id) => leftOf(context, id) ?? []);
  const [first] = left;
  if (first !== undefined) return failure(first);
  return outcome === "settled"
    ? success
    : failure("the call is stored, but the kernel was not updated in time; the agent goes on trying");
}

/** Why an object is not Programmed, as far as that is a failure. */
function leftOf({ board }: RouteContext, id: ObjectId): string | undefined {
  const { conditions } = board.view().statusOf(id);
  const programmed = conditions.find(({ type }) => type === "Programmed");
  if (programmed === undefined || programmed.status === "True" || isAcceptable(id, programmed.reason))
    return undefined;
  return `${id} is not programmed: ${programmed.reason}: ${programmed.message}`;
}
