/** A real Chromium without a window, in a network namespace of the test, driven over its debugging pipe. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Readable, Writable } from "node:stream";
import { inNamespace } from "./in-namespace.ts";
import { until } from "./run.ts";

const flags = [
  "--headless=new",
  "--remote-debugging-pipe",
  "--no-sandbox",
  "--no-first-run",
  "--disable-gpu",
  "--disable-dev-shm-usage",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-extensions",
  "--disable-sync",
  "--hide-scrollbars",
  "--window-size=1400,1000",
];
const timeLimitMs = 8_000;

interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly params?: Params;
  readonly result?: Params;
  readonly error?: { readonly message: string };
  readonly sessionId?: string;
}
type Params = Readonly<Record<string, unknown>>;

export class Chromium {
  readonly #child: ChildProcess;
  readonly #profile: string;
  readonly #pending = new Map<number, (message: Message) => void>();
  readonly #pages = new Map<string, Page>();
  #lastId = 0;
  #text = "";

  private constructor(child: ChildProcess, profile: string) {
    this.#child = child;
    this.#profile = profile;
    const output = child.stdio[4] as Readable;
    output.setEncoding("utf8").on("data", (text: string) => this.#receive(text));
  }

  static async start(namespace: string): Promise<Chromium> {
    const profile = await mkdtemp(join(tmpdir(), `natgwt-${process.pid}-chromium-`));
    const command = ["chromium", ...flags, `--user-data-dir=${profile}`];
    const [program = "", ...args] = inNamespace(namespace, command);
    const child = spawn(program, args, {
      stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"],
      env: { ...process.env, HOME: profile },
    });
    return new Chromium(child, profile);
  }

  async open(url: string): Promise<Page> {
    const { targetId } = await this.call("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await this.call("Target.attachToTarget", { targetId, flatten: true });
    const page = new Page(this, String(sessionId));
    this.#pages.set(String(sessionId), page);
    await page.start(url);
    return page;
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const exited = once(this.#child, "exit");
      void this.call("Browser.close", {}).catch(() => undefined);
      const timer = setTimeout(() => this.#child.kill("SIGKILL"), 3_000);
      await exited;
      clearTimeout(timer);
    }
    await rm(this.#profile, { recursive: true, force: true, maxRetries: 10 });
  }

  async call(method: string, params: Params, sessionId?: string): Promise<Params> {
    const id = ++this.#lastId;
    const answer = new Promise<Message>((resolve) => this.#pending.set(id, resolve));
    const input = this.#child.stdio[3] as Writable;
    input.write(`${JSON.stringify({ id, method, params, ...(sessionId && { sessionId }) })}\0`);
    const { result = {}, error } = await answer;
    if (error !== undefined) throw new Error(`${method}: ${error.message}`);
    return result;
  }

  #receive(text: string): void {
    const messages = (this.#text + text).split("\0");
    this.#text = messages.pop() ?? "";
    for (const message of messages) this.#handle(JSON.parse(message));
  }

  #handle(message: Message): void {
    const { id, method, params = {}, sessionId = "" } = message;
    if (id !== undefined) {
      this.#pending.get(id)?.(message);
      this.#pending.delete(id);
    } else if (method !== undefined) this.#pages.get(sessionId)?.onEvent(method, params);
  }
}

/** Codes of keys that are not characters. */
const keyCodes: Readonly<Record<string, number>> = {
  Tab: 9,
  Enter: 13,
  Escape: 27,
  End: 35,
  Home: 36,
  ArrowUp: 38,
  ArrowDown: 40,
};

export class Page {
  readonly #browser: Chromium;
  readonly #session: string;
  /** Where requests went. */
  readonly requests: string[] = [];
  /** What went wrong, as the console shows it, with the address of what failed. */
  readonly faults: string[] = [];

  constructor(browser: Chromium, session: string) {
    this.#browser = browser;
    this.#session = session;
  }

  async start(url: string): Promise<void> {
    for (const domain of ["Page", "Runtime", "Network", "Log"]) await this.#call(`${domain}.enable`);
    await this.#call("Page.navigate", { url });
  }

  onEvent(method: string, params: Params): void {
    if (method === "Network.requestWillBeSent") {
      this.requests.push((params.request as { url: string }).url);
    } else if (method === "Log.entryAdded") {
      const { level, text, url = "" } = params.entry as { level: string; text: string; url?: string };
      if (level === "error" || level === "warning") this.faults.push(`${text} ${url}`);
    } else if (method === "Runtime.exceptionThrown") {
      this.faults.push(JSON.stringify(params.exceptionDetails));
    } else if (method === "Runtime.consoleAPICalled" && ["error", "warning"].includes(String(params.type))) {
      this.faults.push(JSON.stringify(params.args));
    }
  }

  /** The value of an expression in the page. */
  async value<T>(expression: string): Promise<T> {
    const options = { expression, returnByValue: true, awaitPromise: true };
    const { result, exceptionDetails } = await this.#call("Runtime.evaluate", options);
    if (exceptionDetails !== undefined) throw new Error(JSON.stringify(exceptionDetails));
    return (result as { value: T }).value;
  }

  /** Waits until an expression in the page is true. What it reads may not be there yet. */
  async until(expression: string): Promise<void> {
    try {
      const check = `(() => { try { return Boolean(${expression}); } catch { return false; } })()`;
      await until(expression, () => this.value<boolean>(check), timeLimitMs);
    } catch (cause) {
      const text = await this.value<string>("document.body.innerText");
      throw new Error(`not so: ${expression}. The page:\n${text.slice(0, 3_000)}`, { cause });
    }
  }

  textOf(selector: string): Promise<string> {
    return this.value(`document.querySelector(${JSON.stringify(selector)})?.innerText ?? ""`);
  }

  async press(...keys: readonly string[]): Promise<void> {
    for (const key of keys) {
      const code = keyCodes[key];
      const text = key === "Enter" ? "\r" : code === undefined ? key : "";
      const event = {
        key,
        windowsVirtualKeyCode: code ?? key.toUpperCase().charCodeAt(0),
        ...(text && { text }),
      };
      await this.#call("Input.dispatchKeyEvent", { type: "keyDown", ...event });
      await this.#call("Input.dispatchKeyEvent", { type: "keyUp", ...event });
    }
  }

  async type(text: string): Promise<void> {
    await this.#call("Input.insertText", { text });
  }

  async colorScheme(value: "dark" | "light"): Promise<void> {
    await this.#call("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value }] });
  }

  /** The file is a PNG. */
  async screenshot(file: string): Promise<void> {
    const { data } = await this.#call("Page.captureScreenshot", { format: "png" });
    await writeFile(file, String(data), "base64");
  }

  #call(method: string, params: Params = {}): Promise<Params> {
    return this.#browser.call(method, params, this.#session);
  }
}
