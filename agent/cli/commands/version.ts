/** `natgwctl version`: both sides. */
import { fields } from "../../../lib/text/view.ts";
import type { Answer } from "../answer.ts";
import type { Context } from "../context.ts";
import type { GatewayStatus } from "../documents.ts";
import { CliFailure } from "../failures.ts";

export async function version({ api }: Context, client: string): Promise<Answer> {
  try {
    return versions(client, await api.get<GatewayStatus>("/v1/status"));
  } catch (error) {
    // Of two versions, one is known all the same.
    if (error instanceof CliFailure) return { ...versions(client), failure: error };
    throw error;
  }
}

function versions(client: string, status?: GatewayStatus): Answer {
  const { version: agent = null, backend = null, epoch = null } = status ?? {};
  const isOther = agent !== null && agent !== client;
  return {
    data: { client, agent, backend, epoch },
    names: [client, ...(agent === null ? [] : [agent])],
    sections: () => [
      {
        block: fields({
          Client: client,
          Agent: isOther
            ? { text: `${agent}, another version than natgwctl`, style: "warn" }
            : (agent ?? "Unknown"),
          Dataplane: backend ?? "Unknown",
        }),
      },
    ],
  };
}
