/**
 * Ready is the packets' truth, whatever others do in netfilter, by whichever tool: rules that drop, translate or skip, tables that
 * sleep, chains that nobody asks.
 */
import { foreignRulesOf } from "./foreign-rules.ts";
import { playAll } from "./obstruction-player.ts";

playAll(foreignRulesOf);
