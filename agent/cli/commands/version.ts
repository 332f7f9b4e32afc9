/** `natgwctl version`: both sides. */
import { fields } from "../../../lib/text/view.ts";
import type { Answer } from "../answer.ts";
import type { Context } from "../context.ts";
import type { GatewayStatus } from "../documents.ts";

export async function version({ api }: Context, client: string): Promise<Answer> {
  const { version: agent, backend, epoch } = await api.get<GatewayStatus>("/v1/status");
  const isSame = client === agent;
  return {
    data: { client, agent, backend, epoch },
    names: [client, agent],
    sections: () => [
      {
        block: fields({
          Client: client,
          Agent: isSame ? agent : { text: `${agent}, another version than natgwctl`, style: "warn" },
          Dataplane: backend,
        }),
      },
    ],
  };
}
