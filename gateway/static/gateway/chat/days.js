// The lines between days: which day a moment is on, as the reader says it.

const dayName = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const dayYear = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long", year: "numeric" });

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
