/**
 * Ready is the packets' truth, whatever happens to routes, interfaces, sysctls and what the agent wrote: thirty things that a hand, a
 * script or another program does to a gateway.
 */
import { playAll } from "./obstruction-player.ts";
import { obstructionsOf } from "./obstructions.ts";

playAll(obstructionsOf);
