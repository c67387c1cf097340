// What a page that verifies needs beside the verifying: a form, a list of checks, answers of servers.
// Its elements: a form of inputs with ids; #checks, a list; #fields, a hidden table's body.
// Nothing that a server answers is believed, and no answer is read beyond its bound.

const PATIENCE_MS = 20_000
const PROBLEM_SHOWN = 200 // characters of what a server says
export const of = (id) => document.getElementById(id)
export const value = (id) => of(id).value.trim()

// One line of the list.
export function report(good, text) {
  const line = document.createElement('li')
  line.className = good ? 'good' : 'bad'
  line.textContent = text
  of('checks').append(line)
}

// The table, with one row for each field.
export function show(fields) {
  for (const [name, text] of Object.entries(fields)) {
    const row = of('fields').insertRow()
    const head = document.createElement('th')
    head.scope = 'row'
    head.textContent = name.replaceAll('_', ' ')
    row.append(head)
    row.insertCell().textContent = text
  }
  of('fields').closest('table').hidden = false
}

// An answer's bytes.  Throws when there is none, when it is a refusal (`status` is its number), or
// longer than `bytesMax`.
export async function ask(server, path, bytesMax) {
  const url = server.replace(/\/+$/, '') + path
  let answer
  try {
    const signal = AbortSignal.timeout(PATIENCE_MS)
    answer = await fetch(url, { cache: 'no-store', credentials: 'omit', signal })
  } catch (error) {
    throw new Error(error.name === 'TimeoutError' ? `${url}: nothing came for ${PATIENCE_MS / 1000} s`
      : `${url} does not answer, or lets no page ask it`)
  }
  const data = await bounded(answer, bytesMax, url)
  if (!answer.ok) {
    const refused = new Error(`${url} answered ${answer.status}${said(data)}`)
    throw Object.assign(refused, { status: answer.status })
  }
  return data
}

async function bounded(answer, bytesMax, url) {
  const parts = []
  let size = 0
  for (const reader = answer.body.getReader(); ; ) {
    const { done, value: part } = await reader.read()
    if (done) break
    size += part.length
    if (size > bytesMax) {
      await reader.cancel()
      throw new Error(`${url}: more than ${bytesMax} bytes came`)
    }
    parts.push(part)
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer())
}

// What problem details (RFC 9457) tell people; nothing where none came.
function said(data) {
  const text = new TextDecoder().decode(data)
  try {
    return `: ${String(JSON.parse(text).detail).slice(0, PROBLEM_SHOWN)}`
  } catch {
    return text && !text.startsWith('<') ? `: ${text.slice(0, PROBLEM_SHOWN)}` : ''
  }
}

export const decodeJson = (data) => JSON.parse(new TextDecoder().decode(data))

// Runs `check` when the form is sent, and shows why it threw.  The address's fragment fills the
// form, and starts it where it has all of `needed`.
export function start(check, needed) {
  async function run(event) {
    event?.preventDefault()
    of('checks').replaceChildren()
    of('fields').replaceChildren()
    of('fields').closest('table').hidden = true
    delete document.body.dataset.verdict
    try {
      await check()
      document.body.dataset.verdict = 'good'
    } catch (error) {
      report(false, `Not verified: ${error.message}.`)
      document.body.dataset.verdict = 'bad'
    }
  }

  document.querySelector('form').addEventListener('submit', run)
  const given = new URLSearchParams(location.hash.slice(1))
  for (const [id, text] of given) if (of(id)?.matches('input')) of(id).value = text
  if (needed.every((id) => given.get(id))) run()
}
