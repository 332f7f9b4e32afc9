/** Requests to the agent. Only GET; with the token, if the listener wants one. */

/** The agent answered with an error. */
export class Refused extends Error {
  readonly status: number;

  constructor(status: number, detail: string) {
    super(detail);
    this.status = status;
  }
}

export interface Answer<Body> {
  readonly body: Body;
  /** The agent's clock minus this one's, in ms, to a second. */
  readonly skewMs: number;
}

const tokenKey = "natgw-token";
const timeoutMs = 20_000;

export class Api {
  readonly #askToken: (isWrong: boolean) => Promise<string>;
  #asking: Promise<void> | undefined;

  /** @param askToken lets the user enter the token */
  constructor(askToken: (isWrong: boolean) => Promise<string>) {
    this.#askToken = askToken;
  }

  async json<Body>(path: string): Promise<Answer<Body>> {
    const response = await this.fetch(path, inTime);
    const date = Date.parse(response.headers.get("date") ?? "");
    const body: Body = await response.json();
    return { body, skewMs: Number.isNaN(date) ? 0 : date - Date.now() };
  }

  async text(path: string): Promise<string> {
    return (await this.fetch(path, inTime)).text();
  }

  /**
   * The answer, once it has begun. Asks for the token and tries again if it is missing or wrong.
   * @param limit called for each try: the user may take long to enter a token
   * @throws Refused
   */
  async fetch(path: string, limit: () => AbortSignal): Promise<Response> {
    for (;;) {
      const token = sessionStorage.getItem(tokenKey);
      const headers: HeadersInit = token === null ? {} : { authorization: `Bearer ${token}` };
      const response = await fetch(path, {
        headers,
        signal: limit(),
        cache: "no-store",
        credentials: "same-origin",
      });
      if (response.ok) return response;
      if (response.status !== 401 || isCertificateWanted(response))
        throw new Refused(response.status, await detailOf(response));
      // Another request may have asked in the meantime.
      if (sessionStorage.getItem(tokenKey) === token) await this.#ask(token !== null);
    }
  }

  #ask(isWrong: boolean): Promise<void> {
    this.#asking ??= this.#askToken(isWrong)
      .then((token) => sessionStorage.setItem(tokenKey, token))
      .finally(() => {
        this.#asking = undefined;
      });
    return this.#asking;
  }
}

const inTime = () => AbortSignal.timeout(timeoutMs);

/** No token helps then. */
function isCertificateWanted(response: Response): boolean {
  return response.headers.get("www-authenticate")?.startsWith("Bearer") !== true;
}

async function detailOf(response: Response): Promise<string> {
  const text = await response.text();
  try {
    const { detail }: { detail?: unknown } = JSON.parse(text);
    if (typeof detail === "string") return detail;
  } catch {
    // Not a problem document.
  }
  return `${response.status} ${response.statusText}`;
}
