/** The journal as it is found at a start. Half of the records have a good checksum, so that what they hold is looked at. */
import { readFileSync } from "node:fs";
import type { StateDirectory } from "../../../agent/store/directory.ts";
import { encodeRecord } from "../../../agent/store/records.ts";
import { recover } from "../../../agent/store/recovery.ts";
import { stateCodec } from "../../../agent/store/state-codec.ts";
import { mutateBytes, mutateJson, type Random } from "./mutate.ts";
import type { Target } from "./target.ts";

const journal = readFileSync(new URL("../../fixtures/journal-format-1/ordinary.journal", import.meta.url));
const records: readonly unknown[] = journal
  .toString()
  .trimEnd()
  .split("\n")
  .map((line) => JSON.parse(line.slice(line.indexOf(" ") + 1)));
const codec = stateCodec();

function make(random: Random): Uint8Array {
  if (random() < 0.3) return mutateBytes(random, [journal]);
  const changed = Buffer.concat(records.map((record) => encodeRecord(mutateJson(random, record) ?? null)));
  return random() < 0.8 ? changed : mutateBytes(random, [changed]);
}

/** A directory that holds these bytes and refuses each write. */
function directoryOf(bytes: Buffer): StateDirectory {
  const refuse = () => Promise.reject(new Error("read-only"));
  return {
    path: "/fuzz",
    list: async () => ["state.journal"],
    read: async () => ({ bytes, id: "1:1" }),
    open: refuse,
    rename: refuse,
    remove: refuse,
    sync: async () => {},
    look: async () => ({ isHeld: true, file: { id: "1:1", length: bytes.length } }),
    hold: async () => {},
    close: async () => {},
  };
}

const found = new Set(["intact", "torn", "corrupt", "too-new"]);

export const stateTarget: Target = {
  name: "state",
  make,
  async take(input) {
    const { recovery, state } = await recover(directoryOf(Buffer.from(input)), codec, () => 0, { warn() {} });
    if (!found.has(recovery.recovered)) throw new Error(`a journal was found ${recovery.recovered}`);
    const isUsed = recovery.recovered === "intact" || recovery.recovered === "torn";
    if (!isUsed && state !== codec.empty) throw new Error("a journal that must not be used was used");
    // What was read can be written again.
    if (isUsed) codec.encodeState(state);
  },
};
