/**
 * The program of the crash tests, run in its own process: `write DIR` until it is killed, `full DIR` on a small disk,
 * `mounts DIR` while mounts change below it.
 */

import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { openStore, type StateStore } from "../../agent/store/open-store.ts";
import { readJournal } from "../../agent/store/recovery.ts";
import { journalName } from "../../agent/store/set-aside.ts";
import { stateCodec } from "../../agent/store/state-codec.ts";
import { GatewayError } from "../../lib/model/errors.ts";
import type { State } from "../../lib/state/state.ts";

const codec = stateCodec();
const log = { info() {}, warn() {}, error() {} };
const open = (directory: string) => openStore({ directory, now: Date.now, log });

/**
 * One write: the next number as a tombstone, padded so that several of them cause a compaction.
 * @returns the number
 */
function count(store: StateStore, bytes: number): Promise<number> {
  return store
    .transact((state) => {
      const next = state.tombstones.size + 1;
      const key = `eip/${next}/${"x".repeat(bytes)}`;
      return { changes: [{ type: "tombstone" as const, key, untilMs: next }], result: next };
    })
    .then(({ result }) => result);
}

/** Eight writers. Each number is written to stdout (into the kernel's buffer) after its write was acknowledged. */
async function write(directory: string): Promise<void> {
  const store = await open(directory);
  const writer = async () => {
    for (;;) writeSync(1, `${await count(store, 10_000)}\n`);
  };
  await Promise.all(Array.from({ length: 8 }, writer));
}

/** Prints the results of writes on a disk that fills up and becomes read-only. */
async function full(directory: string): Promise<void> {
  const say = (step: string, outcome: unknown) => writeSync(1, `${step}: ${outcome}\n`);
  const attempt = (store: StateStore) =>
    count(store, 2000).then(
      () => "stored",
      (error: unknown) =>
        error instanceof GatewayError ? `${error.code} ${causeCode(error)}` : String(error),
    );
  let store = await open(directory);
  say("empty disk", await attempt(store));
  writeFileSync(join(directory, "filler"), "x".repeat(100_000));

  let stored = 1;
  let outcome = "stored";
  while (outcome === "stored" && stored < 1000) {
    outcome = await attempt(store);
    if (outcome === "stored") stored++;
  }
  say("until full", outcome);
  say("current", store.current.tombstones.size === stored);
  await store.close();
  store = await open(directory);
  say("opened again while full", `${store.recovery.recovered} ${store.current.tombstones.size === stored}`);
  say("still full", await attempt(store));
  rmSync(join(directory, "filler"));
  say("space again", await attempt(store));

  const remount = (mode: "ro" | "rw") => execFileSync("mount", ["-o", `remount,${mode}`, directory]);
  const { current } = store;
  await store.close();
  remount("ro");
  store = await open(directory);
  say(
    "opened read-only",
    `${store.recovery.recovered} ${isDeepStrictEqual(plain(store.current), plain(current))}`,
  );
  say("read-only", await attempt(store));
  remount("rw");
  say("writable again", await attempt(store));
  const last = store.current;
  await store.close();
  store = await open(directory);
  say("at last", `${store.recovery.recovered} ${isDeepStrictEqual(plain(store.current), plain(last))}`);
  await store.close();
}

/** A collection has no properties that can be compared. */
function plain(state: State): unknown {
  return codec.encodeState(state);
}

/** Prints the results of writes while file systems are mounted and unmounted over the state directory. */
async function mounts(directory: string): Promise<void> {
  const say = (step: string, outcome: unknown) => writeSync(1, `${step}: ${outcome}\n`);
  const store = await open(directory);
  const attempt = () =>
    count(store, 2000).then(
      () => "stored",
      (error: unknown) =>
        error instanceof GatewayError ? `${error.code} ${causeCode(error)}` : String(error),
    );
  /** What an agent starting now would find. */
  const isFound = () => {
    const { journalState, state } = readJournal(readFileSync(join(directory, journalName)), codec);
    return `${journalState} ${isDeepStrictEqual(plain(state), plain(store.current))}`;
  };
  const mount = (...args: readonly string[]) => execFileSync("mount", [...args, directory]);
  say("at first", await attempt());
  mount("--bind", directory);
  mount("-o", "remount,bind,ro");
  say("a read-only view of the same mounted", `${await attempt()} ${isFound()}`);
  execFileSync("umount", ["--lazy", directory]);
  mount("-t", "tmpfs", "-o", "size=256k", "none");
  say("another mounted over it", `${await attempt()} ${isFound()}`);
  execFileSync("umount", ["--lazy", directory]);
  say("the other unmounted", `${await attempt()} ${isFound()}`);
  say("beside it", readdirSync(directory).filter((name) => name.includes("replaced")).length);
  execFileSync("umount", ["--lazy", directory]);
  say("unmounted under it", `${await attempt()} ${isFound()}`);
  mount("-t", "tmpfs", "-o", "size=256k,ro", "none");
  say("a read-only one mounted", await attempt());
  mount("-o", "remount,rw");
  say("writable at last", `${await attempt()} ${isFound()}`);
  await store.close();
}

function causeCode(error: GatewayError): unknown {
  return error.cause instanceof Error && "code" in error.cause ? error.cause.code : error.cause;
}

const [mode, directory = ""] = process.argv.slice(2);
await { full, mounts, write }[mode as "full" | "mounts" | "write"](directory);
