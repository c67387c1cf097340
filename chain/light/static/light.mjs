// The page: reads the form, asks the servers, shows what chain.mjs and epochs.mjs prove.
import { decodeHeaders, LightChain, shown, verifyTransaction } from './chain.mjs'
import { Epochs, openGenesis } from './epochs.mjs'
import { ask, decodeJson, fromHex, of, report, show, start, value } from './verify.bundle.mjs'

const HEADERS_MAX = 64 // in one answer
const FINALITY_BYTES = 48 // the last ones of a finality record
const BYTES_MAX = { genesis: 1 << 20, epochs: 1 << 22, headers: 1 << 20, proof: 1 << 21, small: 1 << 16 }
const NOT_FOUND = 404

function servers() {
  const given = value('server').split(/[\s,]+/).filter(Boolean)
  for (const each of given) if (!/^https?:\/\/[^/?#@\s]+/.test(each)) throw new Error(`${each} is no http:// or https:// address`)
  if (given.length === 0) throw new Error('no server was named')
  return [...new Set(given)]
}

async function firstHeight(server) {
  if (value('from')) return Math.max(1, Number(value('from')))
  const { height } = decodeJson(await ask(server, '/v1/status', BYTES_MAX.small))
  if (!Number.isSafeInteger(height)) throw new Error(`${server} says no height`)
  return Math.max(1, height - HEADERS_MAX + 1)
}

// The federation's word that the block at `height` is final; undefined where the server has none.
async function word(server, height) {
  try {
    return (await ask(server, `/v1/blocks/${height}/finality`, BYTES_MAX.small)).slice(-FINALITY_BYTES)
  } catch (error) {
    if (error.status === NOT_FOUND) return undefined
    throw error
  }
}

const headersFrom = async (server, height) =>
  decodeHeaders(await ask(server, `/v1/headers?from=${height}`, BYTES_MAX.headers))

async function genesisOf(server, chainId) {
  try {
    return openGenesis(await ask(server, '/v1/genesis', BYTES_MAX.genesis), chainId)
  } catch (error) {
    if (error.status === NOT_FOUND) throw new Error(`${server} has no genesis record: it is no replica`)
    throw error
  }
}

// What one server can prove: {server, chain, first, genesis, member}.
async function follow(server, key, chainId) {
  const genesis = await genesisOf(server, chainId)
  const chain = new LightChain(key, chainId)
  const first = await firstHeight(server)
  let height = first
  for (let more = true; more; ) {
    const headers = await headersFrom(server, height)
    for (const header of headers) {
      const found = chain.add(header)
      if (found.fields.height !== height) throw new Error(`block ${found.fields.height} came; ${height} was asked for`)
      height += 1
      of('progress').textContent = `${server}: block ${found.fields.height}`
      await new Promise((resolve) => setTimeout(resolve)) // so that the page stays alive
    }
    more = headers.length === HEADERS_MAX
  }
  if (chain.tip === null) throw new Error(`${server} has no blocks from ${first} on`)
  const { hash } = chain.tip.header
  const final = await word(server, chain.tip.fields.height)
  if (final) chain.finalise(final)
  if (chain.proven === null) throw new Error(`${server} shows block ${shown(hash)} and nothing that proves it`)
  return { server, chain, first, epoch: await epochOf(server, key, genesis, chain.newest.fields), genesis }
}

// The epoch whose members the newest certificate names, all epochs up to it verified.
async function epochOf(server, key, genesis, fields) {
  const epochs = new Epochs(key, genesis)
  for (let came = 1; came > 0 && epochs.known.at(-1)?.digest !== fields.next_federation; ) {
    came = epochs.add(await ask(server, `/v1/epochs?from=${epochs.known.length}`, BYTES_MAX.epochs))
  }
  return epochs.named(fields)
}

// The best of what the servers prove; two proven blocks at one height end it.
async function followAll(key, chainId) {
  const found = []
  for (const server of servers()) {
    try {
      found.push(await follow(server, key, chainId))
    } catch (error) {
      report(false, `Not followed: ${error.message}.`)
    }
  }
  if (found.length === 0) throw new Error('no server proves a block')
  const best = found.reduce((a, b) => (b.chain.proven.fields.height > a.chain.proven.fields.height ? b : a))
  for (const { server, chain } of found) {
    const { fields, header } = chain.proven
    const other = best.chain.hashes.get(fields.height)
    if (other !== undefined && other !== shown(header.hash)) {
      throw new Error(`${server} and ${best.server} prove two blocks at height ${fields.height}: a fault of the federation; ` +
        'keep both, and tell its operators')
    }
  }
  return best
}

async function prove(server, key, chainId, txid, height) {
  const [data, above] = await headersFrom(server, height)
  if (data === undefined) throw new Error(`${server} has no block ${height}`)
  const chain = new LightChain(key, chainId)
  const block = chain.add(data)
  if (block.fields.height !== height) throw new Error(`block ${block.fields.height} came; ${height} was asked for`)
  if (above !== undefined) chain.add(above)
  else {
    const final = await word(server, height)
    if (!final) throw new Error(`nothing proves block ${height} yet`)
    chain.finalise(final)
  }
  const place = verifyTransaction(await ask(server, `/v1/blocks/${height}/proof/${txid}`, BYTES_MAX.proof), txid, block)
  report(true, `Transaction ${txid} is number ${place} in block ${height}, ${shown(block.header.hash)}.`)
}

async function check() {
  const [key, chainId] = [fromHex(value('key')), fromHex(value('chain'))]
  if (value('transaction') && !value('height')) throw new Error('the height of the transaction\'s block is missing')
  const { server, chain, first, epoch, genesis } = await followAll(key, chainId)
  const { header, fields } = chain.proven
  const count = fields.height - first + 1
  report(true, `${count} certificates and as many winners' signatures stand, each block on the one before.`)
  report(true, `The federation made block ${fields.height} final: ${shown(header.hash)}.`)
  report(true, `Its members are those of epoch ${epoch.epoch}: ${epoch.list.map(({ name }) => name).join(', ')}.`)
  const age = chain.checkFresh(Math.floor(Date.now() / 1000), genesis.staleS)
  report(true, `The newest certificate is ${age} s old; ${genesis.staleS} s, two cycles of this chain, would be too old.`)
  if (value('transaction')) await prove(server, key, chainId, value('transaction'), Number(value('height')))
  const newer = chain.tip ? { not_proven_yet: shown(chain.tip.header.hash) } : {}
  show({ block: shown(header.hash), time: new Date(1000 * header.time).toISOString(), ...newer, ...fields })
}

start(async () => {
  try {
    await check()
  } finally {
    of('progress').textContent = ''
  }
}, ['key', 'chain', 'server'])
