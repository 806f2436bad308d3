// Times in the reader's own zone and habit; the whole moment on hover.

export { dayOf, sameDay } from "../chat/days.js";

const shape = (options) => new Intl.DateTimeFormat(undefined, options);

export const clock = shape({ hour: "2-digit", minute: "2-digit" });
const whole = shape({ dateStyle: "full", timeStyle: "long" });
const SHAPES = {
  both: shape({ dateStyle: "medium", timeStyle: "short" }),
  day: shape({ dateStyle: "medium" }),
  exact: shape({ dateStyle: "medium", timeStyle: "medium" }),
  seconds: shape({ hour: "2-digit", minute: "2-digit", second: "2-digit" }),
  hour: shape({ weekday: "short", hour: "2-digit", minute: "2-digit" }),
};

// The zone's short name, as the reader knows it: "CET".
export const zone = shape({ timeZoneName: "short" }).formatToParts(new Date()).find((part) => part.type === "timeZoneName").value;

export function show(time) {
  const moment = new Date(time.dateTime);
  if (Number.isNaN(moment.getTime())) return;
  time.title = whole.format(moment);
  if (time.dataset.show !== "as-is") time.textContent = (SHAPES[time.dataset.show] ?? clock).format(moment);
}
