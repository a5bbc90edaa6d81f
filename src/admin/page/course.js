// The course of one upload: where its time went, computed from its timeline. Pure: no page, no clock.
//
// What is known: the offset at some moments, marks, and waits, which are told when they end with how long they took. All
// time falls into one of five: bytes came; a request was open and none came; the store had them; there was no memory for
// them; nobody was sending.

const trailingMs = (detail) => Number(/(\d+) ms$/.exec(detail)?.[1] ?? 0)

/** The parts of `[from, to]` that no span in `taken` covers. `taken` is in order and doesn't overlap. */
export function without([from, to], taken) {
  const left = []
  let at = from
  for (const [start, end] of taken) {
    if (end <= at || start >= to) continue
    if (start > at) left.push([at, start])
    at = Math.max(at, end)
  }
  if (at < to) left.push([at, to])
  return left
}

const inOrder = (spans) => {
  const merged = []
  for (const [from, to] of spans.filter(([start, end]) => end > start).sort((one, other) => one[0] - other[0])) {
    const last = merged.at(-1)
    if (last && from <= last[1]) last[1] = Math.max(last[1], to)
    else merged.push([from, to])
  }
  return merged
}

const sum = (spans) => spans.reduce((total, [from, to]) => total + to - from, 0)

/**
 * Where the time of an upload went. `nowMs` counts from the timeline's beginning, and matters while the upload is not
 * finished. `isOpen` says whether a request may append now.
 */
export function courseOf({ points, marks, resolution_ms: resolution, marks_lost: marksLost }, { nowMs, isOpen }) {
  const finished = marks.findLast(({ kind }) => kind === 'finished')
  const lastAt = Math.max(0, points.at(-1)?.at_ms ?? 0, marks.at(-1)?.at_ms ?? 0)
  const end = finished ? finished.at_ms : Math.max(lastAt, nowMs)
  const waits = (kind) => inOrder(marks.filter((mark) => mark.kind === kind)
    .map(({ at_ms: at, detail }) => [Math.max(0, at - trailingMs(detail)), Math.min(at, end)]))
  const store = waits('store_wait')
  const memory = waits('memory_wait').flatMap((span) => without(span, store))
  let away = waits('away')
  if (!finished && !isOpen) {
    // Nobody is there now: since the last request ended, or bytes came, whatever is later.
    const left = Math.max(0, ...marks.filter(({ kind }) => kind === 'cut' || kind === 'lease').map(({ at_ms: at }) => at), points.at(-1)?.at_ms ?? 0)
    away = inOrder([...away, [left, end]])
  }
  away = away.flatMap((span) => without(span, store))
  // Where points lie farther apart than they would if bytes came, none came.
  const pauseMs = Math.max(1000, 2.5 * resolution)
  const moments = [0, ...points.map(({ at_ms: at }) => Math.min(at, end)), end]
  const pauses = inOrder(moments.slice(1).map((at, place) => [moments[place], at]).filter(([from, to]) => to - from >= pauseMs))
  const known = inOrder([...store, ...memory, ...away])
  const silent = pauses.flatMap((span) => without(span, known))
  const spans = { store, memory, away, silent }
  spans.moving = without([0, end], inOrder([...known, ...silent]))
  const shares = Object.fromEntries(Object.entries(spans).map(([name, list]) => [name, sum(list)]))
  return {
    end,
    spans,
    shares,
    pauseMs,
    marksLost,
    isFinished: Boolean(finished),
    cuts: marks.filter(({ kind }) => kind === 'cut'),
    takeOvers: marks.filter(({ kind }) => kind === 'take_over').length,
    owners: marks.filter(({ kind }) => kind === 'owner').length,
    setBacks: points.filter(({ offset_bytes: offset }, place) => place > 0 && offset < points[place - 1].offset_bytes).length,
  }
}

export const SHARES = [
  ['moving', 'Bytes came', 'The client sent, and the server took.'],
  ['silent', 'Client silent', 'A request was open, and nothing came through it: the client, or the network in between.'],
  ['away', 'Nobody sending', 'No request was open: the client was away, or between two requests.'],
  ['store', 'Waiting for the store', 'The disk or S3 had bytes in hand and took its time.'],
  ['memory', 'Waiting for memory', 'Bytes were not read because the memory budget was spent.'],
]

/** The plain answer to "why was mine slow?", in a sentence or two. */
export function verdict(course, words) {
  const { shares, end, cuts, takeOvers, isFinished } = course
  if (end <= 0) return 'Nothing has happened yet.'
  const name = Object.fromEntries(SHARES.map(([key, label]) => [key, label.toLowerCase()]))
  const [most, ms] = Object.entries(shares).sort((one, other) => other[1] - one[1])[0]
  const part = ms / end
  const sentences = []
  const whole = words.duration(end / 1000)
  if (most === 'moving') {
    const rest = part > 0.9 ? 'It was as fast as the client sent.' : `The rest: ${Object.entries(shares).filter(([key, value]) => key !== 'moving' && value / end >= 0.01)
      .sort((one, other) => other[1] - one[1]).map(([key, value]) => `${name[key]} ${words.percent(value / end)}`).join(', ')}.`
    sentences.push(`Bytes came during ${words.percent(part)} of ${whole}. ${rest}`)
  } else {
    const blame = {
      silent: 'the client, or the network before it, was silent while a request was open',
      away: 'no request was open: nobody was sending',
      store: 'the store had not yet taken what had come',
      memory: 'there was no memory for more bytes',
    }[most]
    sentences.push(`For ${words.percent(part)} of ${whole}, ${blame}.`)
  }
  if (cuts.length > 0) sentences.push(`${cuts.length === 1 ? 'One request was' : `${cuts.length} requests were`} cut off${takeOvers ? `, ${takeOvers} of them for a newer one` : ''}.`)
  if (!isFinished) sentences.push('It is not finished.')
  return sentences.join(' ')
}
