/** The status page in a real browser, which shares the gateway's namespace: what it shows, by keyboard, and what it asks for. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import t from "tap";
import { Chromium } from "../support/chromium.ts";
import { Gateway } from "../support/gateway.ts";
import { plantToken } from "../support/secrets.ts";
import { gateway } from "../support/targets.ts";

const origin = "http://127.0.0.1:9477";
const token = plantToken("page");
/** Where to keep pictures for people. */
const pictures = process.env.SCREENSHOTS;

const half = 2_500;
const eip = (index: number) => ({ name: `eip-${index}`, address: `198.18.${index >> 8}.${index & 255}/15` });
const fip = (index: number) => ({
  name: `fip-${index}`,
  eip: `eip-${index}`,
  internalIp: `10.1.${index >> 8}.${index & 255}`,
});
const markup = "<img/src=x/onerror=alert(1)>";
const few = {
  generation: 1,
  gateway,
  eips: [{ name: "eip-a", address: "203.0.113.10/24", uid: markup }],
  fips: [{ name: "fip-a", eip: "eip-a", internalIp: "10.0.1.5" }],
  snats: [{ name: "vpc", eip: "eip-missing", internalCIDR: "10.0.1.0/24" }],
};
const many = {
  ...few,
  generation: 2,
  eips: Array.from({ length: half }, (_, index) => eip(index + 1)),
  fips: Array.from({ length: half }, (_, index) => fip(index + 1)),
  snats: few.snats,
};

t.test("the status page", async (t) => {
  const gw = await Gateway.make(t, "nftables", { NATGW_EIP_BINDING: "route" }, { isSilent: true });
  const tokenFile = join(gw.secretDirectory, "token");
  await writeFile(tokenFile, `${token}\n`);
  const browser = await Chromium.start(gw.lab.namespaceOf("gw"));
  t.teardown(() => browser.stop());
  await gw.startAgent({ NATGW_TOKEN_FILE: tokenFile }).whenReady();
  const page = await browser.open(`${origin}/ui`);
  const keep = async (name: string) => {
    if (pictures === undefined) return;
    await mkdir(pictures, { recursive: true });
    for (const scheme of ["dark", "light"] as const) {
      await page.colorScheme(scheme);
      await page.screenshot(join(pictures, `${name}-${scheme}.png`));
    }
  };

  await t.test("asks for the token, and asks again after a wrong one", async (t) => {
    await page.until("document.querySelector('dialog').open");
    await keep("login");
    await page.type("wrong");
    await page.press("Enter");
    await page.until("document.querySelector('#login-text').innerText.includes('not accept')");
    await page.type(token);
    await page.press("Enter");
    await page.until("document.querySelector('h1').innerText.match(/Healthy|Degraded/)");
    t.equal(await page.value("document.querySelector('dialog').open"), false);
  });

  await t.test("a gateway without objects", async (t) => {
    await page.until("document.querySelector('#list').innerText.includes('There are no objects')");
    t.match(await page.textOf("#cards"), /net1/);
    await keep("empty");
  });

  await t.test("three objects come without a reload, and one is not ready", async (t) => {
    await gw.api.putSet(few, "?wait=5s");
    await page.until("document.querySelectorAll('#list .row').length === 3");
    await page.until("document.querySelector('h1').innerText === '1 object not ready'");
    t.match(await page.textOf("#list .row"), /Not ready[\s\S]*vpc[\s\S]*EipNotFound/, "it is the first");
    t.match(await page.textOf("#problems"), /snats\/vpc[\s\S]*EipNotFound/);
    await keep("three");
  });

  await t.test("texts of others are texts", async (t) => {
    await page.value("location.hash = '#eips/eip-a'");
    await page.until(`document.querySelector('#detail').innerText.includes(${JSON.stringify(markup)})`);
    t.equal(await page.value("document.querySelectorAll('img').length"), 0);
    t.match(await page.textOf("#detail"), /Conditions[\s\S]*Accepted[\s\S]*Used by 1[\s\S]*fips\/fip-a/);
    await keep("detail");
    await page.press("Escape");
    await page.until("document.querySelector('#detail').hidden");
  });

  await t.test("what another program changes is seen as it is repaired", async (t) => {
    await gw.lab.exec("gw", ["nft", "flush map ip natgw fip_in"]);
    await page.until("document.querySelector('#feed').innerText.includes('Repaired')");
    t.match(await page.textOf("#feed"), /(rule|drift)[\s\S]*add ip natgw fip_in/);
    await keep("repair");
  });

  await t.test("5,000 objects: few rows, found by search, opened by keyboard", async (t) => {
    await gw.api.putSet(many, "?wait=10s");
    await page.until(`document.querySelector('#count').innerText === '${2 * half + 1} shown'`);
    // What is not ready comes first, so rows move until all are.
    await page.until("document.querySelectorAll('#list .row')[1].innerText.startsWith('Ready')");
    const rows = "document.querySelectorAll('#list .row').length";
    t.ok((await page.value<number>(rows)) < 80, "only rows in view exist");
    await keep("many");
    await page.press("/");
    await page.type("fip-2499");
    await page.until(`${rows} === 1`);
    await page.press("ArrowDown", "Enter");
    await page.until("document.querySelector('#detail h2').innerText.includes('fip-2499')");
    t.equal(await page.value("location.hash"), "#fips/fip-2499");
    await page.press("Escape");
    await page.until("document.activeElement.id === 'list'");
    await page.press("/", "Escape", "Escape");
    await page.until(`document.querySelector('#count').innerText === '${2 * half + 1} shown'`);
    await page.press("End");
    await page.until("document.querySelector('[aria-selected=true]').innerText.includes('fip-2500')");
    await page.press("Home", "n");
    await page.until(`${rows} === 1`);
    t.match(await page.textOf("#list .row"), /vpc/);
    await page.press("n");
  });

  await t.test("dark and light differ, and both are readable", async (t) => {
    const colors: string[] = [];
    for (const scheme of ["dark", "light"] as const) {
      await page.colorScheme(scheme);
      colors.push(await page.value("getComputedStyle(document.body).backgroundColor"));
      t.same(await page.value(faintTexts), [], scheme);
    }
    t.not(colors[0], colors[1]);
  });

  await t.test("an agent that does not answer is never shown as healthy", async (t) => {
    const before = page.faults.length;
    await gw.agent.kill();
    await page.until("document.querySelector('h1').innerText.includes('No answer')");
    t.match(await page.textOf("#head"), /What you see is .* old/);
    await keep("gone");
    page.faults.push(...page.faults.splice(before).filter((fault) => !fault.includes("net::ERR_")));
  });

  t.same(
    page.requests.filter((url) => !url.startsWith(`${origin}/`)),
    [],
    "nothing from elsewhere",
  );
  t.same(
    // The browser itself reports each answer that is an error.
    page.faults.filter((fault) => !/status of 401/.test(fault)),
    [],
    "no error, no violation of the policy",
  );
});

/** Texts whose contrast to their background is below 4.5, the limit of WCAG AA. */
const faintTexts = `(() => {
  const rgba = (color) => (color.match(/[\\d.]+/g) ?? []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255)
    .map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const backOf = (element) => {
    for (let at = element; at !== null; at = at.parentElement) {
      const back = rgba(getComputedStyle(at).backgroundColor);
      if (back.length === 3 || back[3] > 0) return back;
    }
    return [255, 255, 255];
  };
  const faint = new Set();
  for (const element of document.querySelectorAll("body *")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim() !== "");
    if (!own || element.closest("svg, noscript, [hidden], dialog:not([open])") || element.offsetParent === null) continue;
    const [a, b] = [light(rgba(getComputedStyle(element).color)), light(backOf(element))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) faint.add(element.className + " " + element.tagName + " " + contrast.toFixed(1));
  }
  return [...faint];
})()`;
