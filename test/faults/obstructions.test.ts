/**
 * Ready matches the packets, whatever happens to routes, interfaces, sysctls and the agent's own state: thirty things
 * that a person, a script or another program does to a gateway.
 */
import { playAll } from "./obstruction-player.ts";
import { obstructionsOf } from "./obstructions.ts";

playAll(obstructionsOf);
