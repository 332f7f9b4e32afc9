import t from "tap";
import { withoutSecrets } from "../../../../agent/cli/secrets.ts";

t.test("secrets go, names of files stay", async (t) => {
  for (const [text, left] of [
    ["authorization: Bearer abc.def-123", /^authorization: .*\[secret\]$/],
    ['{"headers":{"authorization":"Basic dXNlcjpwdw=="}}', /\[secret\]/],
    ['"token":"s3cr3t-value",', /^"token":"\[secret\]",$/],
    ["password=hunter2222 next", /^password=\[secret\] next$/],
    ["-----BEGIN EC PRIVATE KEY-----\nMHcC\n-----END EC PRIVATE KEY-----\nrest", /^\[private key\]\nrest$/],
    ["-----BEGIN PRIVATE KEY-----\nMHcC", /^\[private key\]$/],
  ] as const) {
    const cleaned = withoutSecrets(text);
    t.match(cleaned, left);
    t.notMatch(cleaned, /abc\.def|dXNl|s3cr3t|hunter|MHcC/);
  }
  for (const text of [
    "NATGW_TOKEN_FILE is /run/token",
    '{"reason":"TokenFileInvalid"}',
    "-A SHARED_DNAT --dport 80",
  ])
    t.equal(withoutSecrets(text), text);
});
