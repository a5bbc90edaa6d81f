// Numbers, moments and names as people read them. Names come from strangers: what could deceive the eye is made visible.

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']

export const NOTHING = '–'

/** Three figures: 1.02, 10.2, 102. */
function figures(value) {
  if (value >= 100 || Number.isInteger(value)) return String(Math.round(value))
  return value.toFixed(value >= 10 ? 1 : 2)
}

export function bytes(count) {
  if (count === null || count === undefined) return NOTHING
  const step = count < 1 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log2(count) / 10))
  return `${figures(count / 1024 ** step)} ${UNITS[step]}`
}

export const rate = (perSecond) => (perSecond === null || perSecond === undefined ? NOTHING : `${bytes(perSecond)}/s`)

export const count = (value) => (value === null || value === undefined ? NOTHING : Math.round(value).toLocaleString('en'))

export const events = (number) => `${count(number)} ${number === 1 ? 'event' : 'events'}`

export function millis(ms) {
  if (ms === null || ms === undefined) return NOTHING
  if (ms === 0) return '0 ms'
  if (ms < 1) return ms < 0.01 ? '< 10 µs' : `${Math.round(ms * 1000)} µs`
  if (ms < 1000) return `${figures(ms)} ms`
  return duration(ms / 1000)
}

export function duration(secs) {
  if (secs < 10) return `${Math.round(secs * 10) / 10} s`
  const whole = Math.round(secs)
  if (whole < 60) return `${whole} s`
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`
  if (whole < 86_400) return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`
  return `${Math.floor(whole / 86_400)} d ${Math.floor((whole % 86_400) / 3600)} h`
}

export const percent = (part) => `${Math.floor(part * 100)} %`

/** A moment in the reader's own time; the day only if it is another one. */
export function moment(at) {
  const date = new Date(at)
  if (Number.isNaN(date.getTime())) return NOTHING
  const two = (number) => String(number).padStart(2, '0')
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`
  return date.toDateString() === new Date().toDateString() ? time : `${day} ${time}`
}

const MOST_SHOWN = 400

/** A stranger's text with what is invisible, or turns the writing round, spelt out. */
export function visible(text, most = MOST_SHOWN) {
  const letters = Array.from(String(text))
  const shown = letters.slice(0, most).map((letter) => (/[\p{Cc}\p{Cf}\p{Co}\p{Cs}\p{Zl}\p{Zp}]/u.test(letter)
    ? `\\u{${letter.codePointAt(0).toString(16)}}` : letter)).join('')
  return letters.length > most ? `${shown}… (${letters.length} characters)` : shown
}

/** What an upload is called: its file's name, or else its id. */
export const nameOf = ({ filename, id }) => (filename ? visible(filename) : visible(id))

export const STATES = {
  receiving: 'Receiving',
  idle: 'Idle',
  waiting: 'Waiting for parts',
  finished: 'Finished',
  ending: 'Ending',
  gone: 'Gone',
}

const CAUSES = {
  taken_over: 'taken over by a newer request',
  by_operator: 'interrupted by an operator',
  terminated: 'the upload was deleted',
  shutting_down: 'the server was ending',
  no_space: 'the store was full',
  store_failed: 'the store failed',
  too_large: 'more at once than the store takes',
  connection_lost: 'the connection was lost',
  unexpected_eof: 'the body ended too early',
  read_timeout: 'the client was silent for too long',
  malformed: 'the body was malformed',
  checksum_mismatch: 'the checksum was another',
  too_long: 'the body was too long',
}

export const cause = (name) => CAUSES[name] ?? visible(name)

const HOOK_FAILURES = {
  timed_out: 'took too long',
  unreachable: 'could not be reached',
  failed: 'said that it failed',
  nonsense: 'gave an answer that can’t be understood',
  too_long: 'gave too long an answer',
  overloaded: 'was not called, too many calls waited',
  closed: 'was given up, the server was ending',
}

export const hookFailure = (name) => HOOK_FAILURES[name] ?? visible(name)

const EXPLAINED = {
  upload: 'Owners of uploads, one mailbox each',
  reaper: 'Deletes what has expired',
  disk_metadata: 'Disk: open, create, delete, .info',
  disk_write: 'Disk: bytes that arrive',
  disk_read: 'Disk: downloads',
  committer: 'Disk: syncs',
  part_dispatcher: 'Hands parts to S3 workers',
  part_uploader: 'Sends parts to S3',
  uploads: 'Threads for connections and owners',
  s3: 'Workers that send parts to S3',
  hooks: 'Workers that call hooks',
  hook: 'Calls of hooks that wait for a worker',
  hook_dispatcher: 'Hands calls of hooks to workers',
  hook_outbox: 'Keeps what the application is to be told of',
  hook_runner: 'Calls hooks',
}

export const explained = (kind) => EXPLAINED[kind] ?? ''
