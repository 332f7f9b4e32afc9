/** The daemon with bad-socket.ts instead of the socket of its nftables dataplane. All other sockets are real. */
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
