// The page: reads the form, asks the server, shows what chain.mjs proves.
import { decodeHeaders, LightChain, shown, verifyTransaction } from './chain.mjs'
import { fromHex } from './verify.bundle.mjs'

const HEADERS_MAX = 64 // in one answer
const FINALITY_BYTES = 48 // the last ones of a finality record
const of = (id) => document.getElementById(id)
const value = (id) => of(id).value.trim()

function report(good, text) {
  const line = document.createElement('li')
  line.className = good ? 'good' : 'bad'
  line.textContent = text
  of('checks').append(line)
}

function show(fields) {
  for (const [name, text] of Object.entries(fields)) {
    const row = of('fields').insertRow()
    const head = document.createElement('th')
    head.textContent = name.replaceAll('_', ' ')
    row.append(head)
    row.insertCell().textContent = text
  }
  of('fields').closest('table').hidden = false
}

async function get(path) {
  const url = value('server').replace(/\/$/, '') + path
  let answer
  try {
    answer = await fetch(url, { cache: 'no-store', credentials: 'omit' })
  } catch {
    throw new Error(`${url} does not answer`)
  }
  if (!answer.ok) throw new Error(`${url} answered ${answer.status}: ${(await answer.text()).slice(0, 200)}`)
  return answer
}

const bytes = async (path) => new Uint8Array(await (await get(path)).arrayBuffer())

async function firstHeight() {
  if (value('from')) return Math.max(1, Number(value('from')))
  const { height } = await (await get('/v1/status')).json()
  return Math.max(1, Number(height) - HEADERS_MAX + 1)
}

const word = async (height) => (await bytes(`/v1/blocks/${height}/finality`)).slice(-FINALITY_BYTES)

async function follow(key, chainId) {
  const chain = new LightChain(key, chainId)
  let height = await firstHeight()
  const first = height
  for (let more = true; more; ) {
    const headers = decodeHeaders(await bytes(`/v1/headers?from=${height}`))
    for (const header of headers) {
      const found = chain.add(header)
      if (found.fields.height !== height) throw new Error(`block ${found.fields.height} came; ${height} was asked for`)
      height += 1
      of('progress').textContent = `block ${found.fields.height}`
      await new Promise((resolve) => setTimeout(resolve)) // so that the page stays alive
    }
    more = headers.length === HEADERS_MAX
  }
  if (chain.tip === null) throw new Error(`the server has no blocks from ${first} on`)
  chain.finalise(await word(chain.tip.fields.height))
  return [chain, first]
}

async function prove(key, chainId, txid, height) {
  const [data, above] = decodeHeaders(await bytes(`/v1/headers?from=${height}`))
  if (data === undefined) throw new Error(`the server has no block ${height}`)
  const chain = new LightChain(key, chainId)
  const block = chain.add(data)
  if (block.fields.height !== height) throw new Error(`block ${block.fields.height} came; ${height} was asked for`)
  if (above === undefined) chain.finalise(await word(height))
  else chain.add(above)
  const place = verifyTransaction(await bytes(`/v1/blocks/${height}/proof/${txid}`), txid, block)
  report(true, `Transaction ${txid} is number ${place} in block ${height}, ${shown(block.header.hash)}.`)
}

async function check() {
  const key = fromHex(value('key'))
  const chainId = fromHex(value('chain'))
  const [chain, first] = await follow(key, chainId)
  const { header, fields } = chain.proven
  const count = fields.height - first + 1
  report(true, `${count} certificates and as many winners' signatures stand, each block on the one before.`)
  report(true, `The federation made block ${fields.height} final: ${shown(header.hash)}.`)
  const age = chain.checkFresh(Math.floor(Date.now() / 1000), Number(value('stale')))
  report(true, `The newest certificate is ${age} s old.`)
  if (value('transaction')) await prove(key, chainId, value('transaction'), Number(value('height')))
  show({ block: shown(header.hash), time: new Date(1000 * header.time).toISOString(), ...fields })
}

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
  of('progress').textContent = ''
}

document.querySelector('form').addEventListener('submit', run)
const given = new URLSearchParams(location.hash.slice(1))
for (const [id, text] of given) if (of(id)?.matches('input')) of(id).value = text
if (['key', 'chain', 'server'].every((id) => given.get(id))) run()
