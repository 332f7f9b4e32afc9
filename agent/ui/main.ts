/** The status page: wires what is kept to what is shown. */
import { Api } from "./api.ts";
import { Detail } from "./detail.ts";
import { button, byId } from "./dom.ts";
import { Feed } from "./feed.ts";
import { Keeper } from "./keeper.ts";
import type { Filter } from "./objects.ts";
import { cards, head, problems } from "./overview.ts";
import { ObjectTable } from "./table.ts";
import { duration } from "./time.ts";
import { collections } from "./types.ts";

const api = new Api(askToken);
const feed = new Feed(byId("feed", HTMLElement));
const keeper = new Keeper(api, { onChange: redraw, onNews: (entry) => feed.add(entry) });
const { objects } = keeper;
const search = byId("search", HTMLInputElement);
const only = byId("only", HTMLInputElement);
const list = byId("list", HTMLElement);
const table = new ObjectTable(list, (id) => {
  location.hash = encodeURI(id);
});
const detail = new Detail(byId("detail", HTMLElement), api, objects, () => {
  if (location.hash !== "") history.replaceState(null, "", location.pathname);
  list.focus({ preventScroll: true });
});
let collection: Filter["collection"] = "all";
let isDrawn = true;

/** Draws at most once a frame, however much changes. */
function redraw(): void {
  if (!isDrawn) return;
  isDrawn = false;
  requestAnimationFrame(() => {
    isDrawn = true;
    draw();
  });
}

const drawn = new Map<string, string>();

/** Replaces what an element shows if it differs, so that focus and selection stay. */
function show(id: string, parts: readonly HTMLElement[]): void {
  const element = byId(id, HTMLElement);
  const key = parts.map(({ outerHTML }) => outerHTML).join("");
  if (drawn.get(id) === key) return;
  drawn.set(id, key);
  const focused = element.contains(document.activeElement)
    ? document.activeElement?.getAttribute("href")
    : null;
  element.replaceChildren(...parts);
  for (const link of focused === null ? [] : element.querySelectorAll("a"))
    if (link.getAttribute("href") === focused) link.focus();
  element.hidden = parts.length === 0;
}

function draw(): void {
  const { status, history } = keeper;
  document.body.classList.toggle("stale", keeper.failure !== undefined && status !== undefined);
  const title = titleOf();
  document.title = title;
  // For those who hear the page: only what changed.
  const notice = byId("notice", HTMLElement);
  if (notice.textContent !== title) notice.textContent = title;
  show("head", head(keeper));
  show("problems", problems(status, objects));
  show("cards", cards(status, history));
  show("kinds", kindButtons());
  drawList();
  detail.update();
  refreshTimes();
}

function drawList(): void {
  const filter = { collection, isOnlyNotReady: only.checked, text: search.value };
  const rows = objects.select(filter);
  const isAll = collection === "all" && !only.checked && search.value === "";
  const isLoaded = collections.every((one) => objects.countOf(one) !== undefined);
  table.show(rows, !isLoaded ? "Loading." : isAll ? "There are no objects." : "No object matches.");
  byId("count", HTMLElement).textContent = isLoaded ? `${rows.length} shown` : "";
}

function kindButtons(): readonly HTMLElement[] {
  return (["all", ...collections] as const).map((one) => {
    const count = one === "all" ? undefined : objects.countOf(one);
    return button(
      { "aria-pressed": String(one === collection) },
      count === undefined ? one : `${one} ${count}`,
      () => {
        collection = one;
        list.scrollTop = 0;
        draw();
        byId("kinds", HTMLElement).querySelector<HTMLElement>("[aria-pressed=true]")?.focus();
      },
    );
  });
}

function titleOf(): string {
  if (keeper.failure !== undefined) return "✕ NAT gateway: no answer";
  const count = keeper.status?.degraded.length ?? 0;
  return count > 0 ? "▲ NAT gateway: degraded" : "NAT gateway";
}

function refreshTimes(): void {
  const now = Date.now() + keeper.skewMs;
  for (const time of document.querySelectorAll("time")) {
    const text = duration((now - Date.parse(time.dateTime)) / 1_000);
    const { label = "" } = time.dataset;
    const whole = label === "" ? text : `${text} ${label}`;
    if (time.textContent !== whole) time.textContent = whole;
  }
}

/** What follows the # may be anything. */
function idInHash(): string {
  try {
    return decodeURI(location.hash.slice(1));
  } catch {
    return "";
  }
}

function openFromHash(): void {
  const id = idInHash();
  if (id === "") detail.close();
  else detail.open(id);
  refreshTimes();
}

function onKey(event: KeyboardEvent): void {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const isTyping = event.target instanceof HTMLInputElement && event.target.type !== "checkbox";
  if (event.key === "Escape") {
    if (event.target === search && search.value !== "") {
      search.value = "";
      drawList();
    } else if (event.target === search) list.focus();
    else if (!byId("login", HTMLDialogElement).open) detail.close();
    return;
  }
  if (event.key === "ArrowDown" && event.target === search) list.focus();
  else if (!isTyping && event.key === "/") search.focus();
  else if (!isTyping && event.key === "n") {
    only.checked = !only.checked;
    drawList();
  } else return;
  event.preventDefault();
}

/** Asks until there is something. */
function askToken(isWrong: boolean): Promise<string> {
  const dialog = byId("login", HTMLDialogElement);
  const input = byId("token", HTMLInputElement);
  if (isWrong)
    byId("login-text", HTMLElement).textContent =
      "The agent does not accept this token. Is it the one in NATGW_TOKEN_FILE?";
  input.value = "";
  // Without the token there is nothing to see.
  dialog.addEventListener("cancel", (event) => event.preventDefault());
  dialog.showModal();
  return new Promise((resolve) => {
    byId("login-form", HTMLFormElement).addEventListener(
      "submit",
      () => {
        const token = input.value.trim();
        input.value = "";
        resolve(token);
      },
      { once: true },
    );
  });
}

search.addEventListener("input", () => {
  list.scrollTop = 0;
  drawList();
});
only.addEventListener("change", drawList);
list.addEventListener("drawn", refreshTimes);
addEventListener("hashchange", openFromHash);
addEventListener("keydown", onKey);
setInterval(refreshTimes, 1_000);
draw();
void keeper.start().then(openFromHash);
