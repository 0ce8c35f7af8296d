/** How attributes become properties. */

/** A switch that is on unless one says `="false"`; its absence says nothing. */
export const switchAttribute = {
  fromAttribute: (value: string | null): boolean => value !== "false",
};

/** A JSON object, as names by id; what is none is said on the console and is `null`. */
export const jsonAttribute = {
  fromAttribute(value: string | null): unknown {
    try {
      return value === null ? null : JSON.parse(value);
    } catch (error) {
      console.error("notifications: an attribute that is not JSON:", value, error);
      return null;
    }
  },
};

/** A duration in milliseconds; `null`, or what is no number: for ever. */
export const durationAttribute = {
  fromAttribute(value: string | null): number | null {
    const duration = Number.parseInt(value ?? "", 10);
    return Number.isFinite(duration) && duration > 0 ? duration : null;
  },
};
