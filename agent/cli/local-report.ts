/**
 * What `bugreport` reads by itself where no agent answers: the kernel as its own tools print it, in natgwctl's network namespace,
 * and the agent's files. A bundle of its own, which no other command loads.
 */
import { execFile } from "node:child_process";
import { open, readFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import {
  diagnosticCommands,
  diagnosticFiles,
  diagnosticText,
  type KernelPart,
  kernelParts,
  maxDiagnosticBytes,
  type Reading,
} from "../../lib/diagnostics.ts";

export interface LocalPart {
  readonly file: string;
  /** The commands and files. */
  readonly request: string;
  /** Throws if nothing can be read. */
  read(): Promise<string>;
}

/** Of a file, its end. */
const maxFileBytes = 16 * 1024 * 1024;
const commandTimeoutMs = 30_000;

export function localParts(environment: Readonly<Record<string, string | undefined>>): readonly LocalPart[] {
  const state = environment.NATGW_STATE_DIR || "/var/lib/natgw";
  const { NATGW_AUDIT_LOG: audit = "" } = environment;
  const files = { "state.journal": "", "audit.log": audit };
  return [
    ...kernelParts.map((part) => ({
      file: `${part}.txt`,
      request: [...diagnosticCommands[part].map((argv) => argv.join(" ")), ...filesOf(part)].join(", "),
      read: () => readKernel(part),
    })),
    ...Object.entries(files)
      .filter(([, path]) => path !== "off")
      .map(([file, path]) => fileAt(file, path || join(state, file))),
  ];
}

function fileAt(file: string, path: string): LocalPart {
  return { file, request: path, read: () => endOf(path) };
}

function filesOf(part: KernelPart): readonly string[] {
  return diagnosticFiles[part] ?? [];
}

/** As the agent's own report has it. Throws if no command of the part works. */
async function readKernel(part: KernelPart): Promise<string> {
  const readings: Reading[] = [];
  let failure: unknown;
  const add = async (heading: string, read: () => Promise<string>) => {
    try {
      readings.push({ heading, text: await read() });
    } catch (error) {
      failure = error;
      readings.push({ heading, failure: messageOf(error) });
    }
  };
  for (const argv of diagnosticCommands[part]) await add(argv.join(" "), () => outputOf(argv));
  for (const path of filesOf(part)) await add(path, () => readFile(path, "utf8"));
  if (!readings.some((one) => "text" in one)) throw failure;
  return diagnosticText(readings);
}

async function outputOf([command = "", ...rest]: readonly string[]): Promise<string> {
  const { stdout } = await promisify(execFile)(command, rest, {
    timeout: commandTimeoutMs,
    maxBuffer: maxDiagnosticBytes,
    env: { ...process.env, LC_ALL: "C" },
  });
  return stdout;
}

async function endOf(path: string): Promise<string> {
  await using file = await open(path, "r");
  const { size } = await file.stat();
  const length = Math.min(size, maxFileBytes);
  const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, size - length);
  return buffer.toString("utf8", 0, bytesRead);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? (error.message.trim().split("\n").at(-1) ?? "") : String(error);
}
