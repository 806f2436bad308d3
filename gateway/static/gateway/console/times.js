// Times in the reader's own zone and habit; the whole moment on hover.

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const both = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "medium" });
const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "full", timeStyle: "long" });
const dayName = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const dayYear = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long", year: "numeric" });
const SHAPES = { both, day };

export function show(time) {
  const moment = new Date(time.dateTime);
  if (Number.isNaN(moment.getTime())) return;
  time.title = whole.format(moment);
  if (time.dataset.show !== "as-is") time.textContent = (SHAPES[time.dataset.show] ?? clock).format(moment);
}

export function sameDay(a, b) {
  return a.toDateString() === b.toDateString();
}

export function dayOf(moment) {
  const today = new Date();
  const yesterday = new Date(today.getFullYear(), today.getMonth(), today.getDate() - 1);
  if (sameDay(moment, today)) return "Today";
  if (sameDay(moment, yesterday)) return "Yesterday";
  return (moment.getFullYear() === today.getFullYear() ? dayName : dayYear).format(moment);
}
