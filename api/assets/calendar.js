// Spans of steps on the timeline, by the clocks of a time zone: local moments are written as if they were UTC, so that they
// are shown the same wherever the browser is. A span begins where a step begins: its address is the same for everyone and
// for as long as the step lasts, so that caches can answer it.
"use strict";

/** The number of steps in a span. */
const STEPS = { minute: 60, quarter: 48, hour: 48, day: 30, month: 24, year: 10 };
const DAY_MS = 864e5;
/** Steps that begin at a time of day, and not with one. */
const WITHIN_DAY = ["minute", "quarter", "hour"];

/** Whether the browser has rules for the zone of this name. */
function isZone(name) {
  try {
    return Boolean(new Intl.DateTimeFormat("en", { timeZone: name }));
  } catch {
    return false;
  }
}

/** The milliseconds that the clocks of `zone` are ahead of UTC at `moment`. */
function offsetMs(zone, moment) {
  const fields = ["year", "month", "day", "hour", "minute", "second"].map((name) => [name, "numeric"]);
  const format = new Intl.DateTimeFormat("en-US", { ...Object.fromEntries(fields), hourCycle: "h23", timeZone: zone });
  const shown = Object.fromEntries(format.formatToParts(moment).map(({ type, value }) => [type, Number(value)]));
  const local = Date.UTC(shown.year, shown.month - 1, shown.day, shown.hour, shown.minute, shown.second);
  return local - Math.floor(moment / 1000) * 1000;
}

/** The first moment at which the clocks of `zone` show `local`, or a later time if they skip that. */
function firstMoment(local, zone) {
  // Of two offsets, the larger one is that of the earlier moment.
  const offsets = [local - DAY_MS, local + DAY_MS].map((moment) => offsetMs(zone, moment));
  const [first, second] = [local - Math.max(...offsets), local - Math.min(...offsets)];
  return first + offsetMs(zone, first) === local ? first : second;
}

/** The beginning of the step `by` steps after the one around `local`. */
function stepStart(step, local, by = 0) {
  const date = new Date(local);
  const [year, month, day, hour] = [date.getUTCFullYear(), date.getUTCMonth(), date.getUTCDate(), date.getUTCHours()];
  const minute = date.getUTCMinutes();
  if (step === "minute") return Date.UTC(year, month, day, hour, minute + by);
  if (step === "quarter") return Date.UTC(year, month, day, hour, 15 * (Math.floor(minute / 15) + by));
  if (step === "hour") return Date.UTC(year, month, day, hour + by);
  if (step === "day") return Date.UTC(year, month, day + by);
  if (step === "month") return Date.UTC(year, month + by);
  return Date.UTC(year + by, 0);
}

/** The span that ends at `end`, or with the present step if there is none. */
function spanOf(step, end, now, zone) {
  const live = stepStart(step, now + offsetMs(zone, now), 1);
  const to = end == null || end >= live ? live : stepStart(step, end);
  return { from: stepStart(step, to, -STEPS[step]), to, isLive: to === live };
}

/** A local moment as a parameter: a date, which begins where the clocks of `zone` say so, or the moment of an hour
 * or a part of one. */
function parameter(step, local, zone) {
  if (!WITHIN_DAY.includes(step)) return new Date(local).toISOString().slice(0, 10);
  return `${new Date(firstMoment(local, zone)).toISOString().slice(0, 19)}Z`;
}

/** The local moment that a parameter names, or null. */
function localOf(text) {
  const local = /^\d{4}-\d\d-\d\d(T\d\d:\d\d:\d\d)?/.exec(text ?? "");
  const ms = local ? Date.parse(`${local[0].length > 10 ? local[0] : `${local[0]}T00:00:00`}Z`) : NaN;
  return Number.isNaN(ms) ? null : ms;
}
