/**
 * Ready matches the packets, whatever other programs do in netfilter with any tool: rules that drop, translate or
 * skip, dormant tables, chains that are not called.
 */
import { foreignRulesOf } from "./foreign-rules.ts";
import { playAll } from "./obstruction-player.ts";

playAll(foreignRulesOf);
