import t from "tap";
import { hintsOf } from "../../../../agent/cli/hints.ts";
import { ConnectionError } from "../../../../agent/client/client.ts";

const hintsFor = (code: string, server: string) =>
  hintsOf(new ConnectionError("no", Object.assign(new Error("why"), { code })), { server }).join();

t.test("what usually is the reason", async (t) => {
  const server = "https://10.0.0.5:9477";
  t.match(hintsFor("SELF_SIGNED_CERT_IN_CHAIN", server), /--ca/);
  t.match(hintsFor("UNABLE_TO_VERIFY_LEAF_SIGNATURE", server), /--ca/);
  t.match(hintsFor("ERR_TLS_CERT_ALTNAME_INVALID", server), /--server must have a name/);
  t.match(hintsFor("EPROTO", server), /does not speak TLS/);
  t.match(hintsFor("ECONNRESET", "http://127.0.0.1:9477"), /https/);
  t.equal(hintsFor("ECONNRESET", server), "");
  t.equal(hintsFor("EHOSTUNREACH", server), "");
});
