/** Files of certificates, whole and not: what is refused, and how the setting and the file are named. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import t from "tap";
import { readTls } from "../../../../../agent/api/credentials/certificates.ts";
import { certificates, hasOpenssl } from "../../../../support/certificates.ts";
import { temporaryDirectory } from "../../../../support/temporary-directory.ts";

t.test("files of certificates", { skip: !hasOpenssl() && "no openssl" }, async (t) => {
  const directory = temporaryDirectory("certificates");
  const make = certificates(directory);
  const [ca, other] = [make("ca"), make("other")];
  const server = make("server", ca);
  const file = (content: string) => {
    const path = join(directory, "file.pem");
    writeFileSync(path, content);
    return path;
  };
  const whole = { certFile: server.cert, keyFile: server.key, clientCaFile: ca.cert };
  const half = (pem: string) => pem.slice(0, pem.length / 2);

  t.test("whole ones are taken, with what else stands there", async (t) => {
    for (const text of [
      `# the old one, then the new one\n${other.certPem}\n${ca.certPem}`,
      ca.certPem.replaceAll("\n", "\r\n"),
      ca.keyPem + ca.certPem,
    ]) {
      const { authority } = await readTls({ ...whole, clientCaFile: file(text) });
      t.equal(authority, text);
    }
    const chain = file(server.certPem + ca.certPem + server.keyPem);
    await readTls({ certFile: chain, keyFile: chain, clientCaFile: undefined });
  });

  for (const [what, content, why] of [
    ["an empty file", "", "the file holds no certificate in PEM"],
    ["garbage", "garbage\n", "the file holds no certificate in PEM"],
    ["a key", ca.keyPem, "the file holds no certificate in PEM"],
    ["half a certificate", half(ca.certPem), "a certificate has no end"],
    ["one and a half", ca.certPem + half(other.certPem), "a certificate has no end"],
    ["half of one, then another", half(other.certPem) + ca.certPem, "a certificate has no end"],
    [
      "a certificate that is none",
      `${ca.certPem}-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n`,
      "certificate 2 cannot be read: ",
    ],
  ] as const) {
    t.test(what, async (t) => {
      for (const [setting, name] of [
        ["NATGW_TLS_CLIENT_CA_FILE", "clientCaFile"],
        ["NATGW_TLS_CERT_FILE", "certFile"],
      ] as const) {
        const path = file(content);
        const error = await readTls({ ...whole, [name]: path }).catch((thrown: unknown) => thrown);
        t.match(error, { code: "bad-config" });
        const { message } = error as Error;
        t.ok(message.startsWith(`${setting}: ${path}: ${why}`), message);
        t.notMatch(message, /\n/);
      }
    });
  }

  t.test("keys", async (t) => {
    const refused = (keyFile: string, message: string) =>
      t.rejects(readTls({ ...whole, keyFile }), {
        code: "bad-config",
        message: `NATGW_TLS_KEY_FILE: ${keyFile}: ${message}`,
      });
    await refused(other.key, "the key does not match the certificate");
    const noKey = readTls({ ...whole, keyFile: file("garbage") });
    await t.rejects(noKey, { message: /^NATGW_TLS_KEY_FILE: \S+: the file holds no private key in PEM/ });
    const nowhere = join(directory, "nowhere");
    await refused(nowhere, `ENOENT: no such file or directory, open '${nowhere}'`);
  });
});
