// Holds chain/light/static, the light client for browsers, against a chain made in Python.
//
//   node light.mjs STATIC_DIRECTORY CASES_JSON
//
// Prints one JSON object: how much was accepted, and what should have been refused and was not.
import { readFileSync } from 'node:fs'
import { pathToFileURL } from 'node:url'

const [directory, path] = process.argv.slice(2)
const load = (name) => import(pathToFileURL(`${directory}/${name}`))
const { decodeHeaders, LightChain, shown, verifyTransaction } = await load('chain.mjs')
const { Epochs, openGenesis } = await load('epochs.mjs')
const bytes = (text) => Uint8Array.from(Buffer.from(text, 'hex'))
const cases = JSON.parse(readFileSync(path, 'utf-8'))
const [key, chainId] = [bytes(cases.key), bytes(cases.chain)]
const wrong = []
const counts = { blocks: 0, proofs: 0, refused: 0, epochs: 0 }

function refuse(why, act) {
  try {
    act()
    wrong.push(`accepted: ${why}`)
  } catch {
    counts.refused += 1
  }
}

function follow(headers) {
  const chain = new LightChain(key, chainId)
  for (const header of headers) chain.add(header)
  return chain
}

const headers = decodeHeaders(bytes(cases.headers))
const chain = follow(headers)
counts.blocks = headers.length
if (shown(chain.proven.header.hash) !== cases.blocks.at(-2)) wrong.push('another block is proven')
chain.finalise(bytes(cases.finality))
if (shown(chain.proven.header.hash) !== cases.blocks.at(-1)) wrong.push('another block is final')
const made = chain.newest.fields.not_before
chain.checkFresh(made + 10, 10)
refuse('a stale chain', () => chain.checkFresh(made + 11, 10))
refuse('a chain from the future', () => chain.checkFresh(made - 7201, 10))
for (const { txid, proof, place } of cases.proofs) {
  const found = verifyTransaction(bytes(proof), txid, chain.proven)
  if (found !== place) wrong.push(`${txid} is at ${found}`)
  counts.proofs += 1
  refuse('another transaction', () => verifyTransaction(bytes(proof), '00'.repeat(32), chain.proven))
  for (let at = 0; at < proof.length / 2; at += 7) {
    const altered = bytes(proof)
    altered[at] ^= 1
    refuse(`a proof with byte ${at} changed`, () => verifyTransaction(altered, txid, chain.proven))
  }
}
refuse('a gap', () => follow([headers[0], headers[2]]))
refuse('another order', () => follow([headers[1], headers[0]]))
const begun = follow(headers.slice(0, 1))
const onFirst = () => Object.assign(new LightChain(key, chainId), { tip: begun.tip })
for (const { why, header } of cases.refused) refuse(why, () => onFirst().add(bytes(header)))
for (let at = 0; at < headers[1].length; at += 13) {
  const altered = Uint8Array.from(headers[1])
  altered[at] ^= 1
  refuse(`a header with byte ${at} changed`, () => {
    const changed = onFirst()
    changed.add(altered) // bits and nonce are nobody's signature's: the next header settles them
    changed.add(headers[2])
  })
}
const other = follow(headers)
refuse('a false word of finality', () => other.finalise(bytes(cases.finality).reverse()))
refuse('another key', () => new LightChain(bytes(cases.otherKey), chainId).add(headers[0]))
refuse('another chain', () => new LightChain(key, new Uint8Array(32)).add(headers[0]))

for (const { genesis, chain: of, stale } of cases.genesis) {
  const found = openGenesis(bytes(genesis), bytes(of)).staleS
  if (found !== stale) wrong.push(`stale after ${found} s, not ${stale}`)
  refuse('another genesis record', () => openGenesis(bytes(genesis), chainId.map((byte) => byte ^ 1)))
  refuse('a longer genesis record', () => openGenesis(bytes(`${genesis}00`), bytes(of)))
}
const genesis = openGenesis(bytes(cases.genesis[0].genesis), chainId)
const epochs = (data) => {
  const all = new Epochs(key, genesis)
  counts.epochs = all.add(bytes(data))
  return all
}
const newest = { epoch: cases.epochs.newest, next_federation: cases.epochs.digest }
const { list, epoch } = epochs(cases.epochs.right).named(newest)
if (epoch !== newest.epoch || list[0].name !== cases.epochs.operator) wrong.push('another epoch is named')
refuse('members of no epoch', () => epochs(cases.epochs.right).named({ ...newest, next_federation: '00'.repeat(32) }))
refuse('members of an older epoch', () => epochs(cases.epochs.right).named({ ...newest, epoch: newest.epoch + 1 }))
for (const { why, data } of cases.epochs.refused) refuse(why, () => epochs(data).named(newest))
const again = epochs(cases.epochs.right)
again.add(bytes(cases.epochs.right)) // the same ones are no contradiction
refuse('two certificates of one epoch', () => again.add(bytes(cases.epochs.other)))
for (let at = 0; at < cases.epochs.right.length / 2; at += 127) {
  const altered = bytes(cases.epochs.right)
  altered[at] ^= 1
  refuse(`epochs with byte ${at} changed`, () => epochs(Buffer.from(altered).toString('hex')).named(newest))
}
console.log(JSON.stringify({ counts, wrong }))
