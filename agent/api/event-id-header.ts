/** Answers that list objects carry the id of the last event before them. The desired set has no other place for it. */
export const eventIdHeader = "natgw-event-id";
