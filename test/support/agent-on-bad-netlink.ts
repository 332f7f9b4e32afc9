/** The daemon with bad-socket.ts in the place of its nftables dataplane's socket; every other socket is its own. */
import { registerHooks } from "node:module";

registerHooks({
  resolve(specifier, context, nextResolve) {
    const resolved = nextResolve(specifier, context);
    const isRulesOwn = context.parentURL?.endsWith("/agent/kernel/nftables/transaction.ts") ?? false;
    return isRulesOwn && resolved.url.endsWith("/agent/kernel/netlink/socket.ts")
      ? { ...resolved, url: new URL("bad-socket.ts", import.meta.url).href }
      : resolved;
  },
});
await import("../../agent/main.ts");
