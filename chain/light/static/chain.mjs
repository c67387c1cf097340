// The rules of a light client (chain/light/follow.py) for browsers and Node: certified headers,
// finality, proofs of inclusion.  Believes no server.
// Source: docs/PROTOCOL.md, "Blocks"; docs/INTEROP.md, "Light clients"; BIP 37.
import { decodeCertificate, fromHex, secp256k1, sha256, taggedHash, toHex, verifyCertificate, verifySignature }
  from './verify.bundle.mjs'

const HEADER_BYTES = 80
const CERTIFICATE_BYTES = 371
const BRANCH_MAX = 24
const CERTIFICATE_MAGIC = '47525343' // GRSC
const SIGNATURE_MAGIC = '47525357' // GRSW

export const doubleSha256 = (data) => sha256(sha256(data))
export const shown = (hash) => toHex(Uint8Array.from(hash).reverse()) // as people see hashes

function join(...parts) {
  const joined = new Uint8Array(parts.reduce((size, part) => size + part.length, 0))
  let offset = 0
  for (const part of parts) {
    joined.set(part, offset)
    offset += part.length
  }
  return joined
}

const same = (a, b) => a.length === b.length && a.every((byte, at) => byte === b[at])

class Reader {
  constructor(data) {
    this.data = data
    this.at = 0
    this.view = new DataView(data.buffer, data.byteOffset, data.length)
  }

  take(count) {
    if (count > this.data.length - this.at) throw new Error(`${count} bytes expected at offset ${this.at}`)
    return this.data.subarray(this.at, (this.at += count))
  }

  u8() {
    return this.take(1)[0]
  }

  u32() {
    const at = this.at
    this.take(4)
    return this.view.getUint32(at, true)
  }

  size() {
    const first = this.u8()
    if (first < 0xfd) return first
    if (first !== 0xfd) throw new Error('a length beyond what can be')
    const bytes = this.take(2)
    const size = bytes[0] | (bytes[1] << 8)
    if (size < 0xfd) throw new Error('a length that is not in its shortest form')
    return size
  }

  blob() {
    return this.take(this.size())
  }

  end() {
    if (this.at !== this.data.length) throw new Error(`${this.data.length - this.at} bytes too many`)
  }
}

export function decodeHeader(data) {
  if (data.length !== HEADER_BYTES) throw new Error(`a header has ${HEADER_BYTES} bytes; ${data.length} came`)
  const reader = new Reader(data)
  const version = reader.take(4)
  const previous = reader.take(32)
  const merkleRoot = reader.take(32)
  const timeBytes = reader.take(4)
  return { data, version, previous, merkleRoot, timeBytes, time: new Reader(timeBytes).u32(), hash: doubleSha256(data) }
}

// What an OP_RETURN script pushes.
function pushes(script) {
  if (script[0] !== 0x6a) throw new Error('OP_RETURN expected')
  const reader = new Reader(script.subarray(1))
  const found = []
  while (reader.at < reader.data.length) {
    const code = reader.u8()
    let size = code
    if (code === 0x4c) size = reader.u8()
    else if (code === 0x4d) size = reader.u8() | (reader.u8() << 8)
    else if (code < 2 || code > 0x4b) throw new Error('a push expected')
    found.push(reader.take(size))
  }
  return found
}

function readCoinbase(data) {
  const reader = new Reader(data)
  const version = reader.take(4)
  if (reader.u8() !== 0 || reader.u8() !== 1) throw new Error('a coinbase with a witness expected')
  const bodyFrom = reader.at
  if (reader.size() !== 1) throw new Error('a coinbase has one input')
  reader.take(36)
  reader.blob()
  reader.take(4)
  const outputsFrom = reader.at
  const count = reader.size()
  if (count !== 3) throw new Error(`${count} coinbase outputs came; 3 expected`)
  const outputs = Array.from({ length: count }, () => ({ value: reader.take(8), script: reader.blob() }))
  const bodyTo = reader.at
  if (reader.size() !== 1 || !same(reader.blob(), new Uint8Array(32))) throw new Error('a witness of 32 zero bytes expected')
  const locktime = reader.take(4)
  reader.end()
  const slots = pushes(outputs[1].script)
  const magics = slots.map((slot) => toHex(slot.subarray(0, 4)))
  if (slots.length !== 2 || magics[0] !== CERTIFICATE_MAGIC || magics[1] !== SIGNATURE_MAGIC) {
    throw new Error('the second output must hold certificate and winner\'s signature')
  }
  if (slots[0].length !== 4 + CERTIFICATE_BYTES || slots[1].length !== 4 + 64) {
    throw new Error('certificate or winner\'s signature of another length')
  }
  const txid = doubleSha256(join(version, data.subarray(bodyFrom, bodyTo), locktime))
  return {
    txid,
    certificate: slots[0].subarray(4),
    signature: slots[1].subarray(4),
    emptiedTxid: () => {
      const script = outputs[1].script.subarray(0, outputs[1].script.length - 64 - 1 - 4)
      const emptied = join(script, Uint8Array.of(4), fromHex(SIGNATURE_MAGIC))
      const one = ({ value, script: code }) => join(value, compactSize(code.length), code)
      const changed = [outputs[0], { value: outputs[1].value, script: emptied }, outputs[2]].map(one)
      return doubleSha256(join(version, data.subarray(bodyFrom, outputsFrom), Uint8Array.of(3), ...changed, locktime))
    },
  }
}

const compactSize = (size) => (size < 0xfd ? Uint8Array.of(size) : Uint8Array.of(0xfd, size & 255, size >> 8))

const climb = (first, branch) => branch.reduce((hash, sibling) => doubleSha256(join(hash, sibling)), first)

// A certified header, taken apart; nothing is verified yet.
export function decodeCertifiedHeader(data) {
  const reader = new Reader(data)
  const header = decodeHeader(reader.take(HEADER_BYTES))
  const coinbase = readCoinbase(reader.blob())
  const count = reader.size()
  if (count > BRANCH_MAX) throw new Error(`a branch of ${count} hashes`)
  const branch = Array.from({ length: count }, () => reader.take(32))
  reader.end()
  return { header, coinbase, branch, fields: decodeCertificate(coinbase.certificate) }
}

// The payload of `certheaders`: certified headers, ascending.
export function decodeHeaders(data) {
  const reader = new Reader(data)
  const count = reader.size()
  const headers = Array.from({ length: count }, () => reader.blob())
  reader.end()
  return headers
}

// Everything that a certified header shows by itself; returns it taken apart, or throws.
export function verifyHeader(data, key, chainId) {
  const found = decodeCertifiedHeader(data)
  const { header, coinbase, branch, fields } = found
  verifyCertificate(coinbase.certificate, key, chainId)
  if (toHex(header.previous) !== fields.parent) throw new Error('the header names another parent than its certificate')
  if (header.time < fields.not_before || header.time > fields.not_after) {
    throw new Error('the block\'s time is outside of its certificate\'s window')
  }
  if (!same(climb(coinbase.txid, branch), header.merkleRoot)) {
    throw new Error('the coinbase is not under the header\'s Merkle root')
  }
  const root = climb(coinbase.emptiedTxid(), branch)
  const message = taggedHash('gristmill/block/v1', header.version, header.previous, root, header.timeBytes)
  if (!secp256k1.verify(coinbase.signature, message, fromHex(fields.winner))) {
    throw new Error('the winner did not sign these contents')
  }
  return found
}

// Follows from nothing: `add` takes headers in their order, `proven` is the newest that the next
// certificate, or the federation's word, names; `hashes` has all proven ones by height.
export class LightChain {
  constructor(key, chainId) {
    Object.assign(this, { key, chainId, proven: null, tip: null, hashes: new Map() })
  }

  add(data) {
    const found = verifyHeader(data, this.key, this.chainId)
    const below = this.tip ?? this.proven
    if (below !== null) {
      if (!same(found.header.previous, below.header.hash)) throw new Error('the header is on another block')
      if (found.fields.height !== below.fields.height + 1) throw new Error(`height ${found.fields.height} came`)
      if (found.header.time <= below.header.time) throw new Error('the block is not later than its parent')
      if (found.fields.epoch < below.fields.epoch) throw new Error('the epoch goes back')
    }
    if (this.tip !== null) this.prove()
    this.tip = found
    return found
  }

  // `signature`: the federation's word that the tip is final.
  finalise(signature) {
    const height = new Uint8Array(4)
    new DataView(height.buffer).setUint32(0, this.tip.fields.height)
    verifySignature(this.key, signature, taggedHash('gristmill/finality/v1', this.chainId, height, this.tip.header.hash))
    this.prove()
    this.tip = null
  }

  prove() {
    this.proven = this.tip
    this.hashes.set(this.tip.fields.height, shown(this.tip.header.hash))
  }

  get newest() {
    return this.tip ?? this.proven
  }

  // Throws if the newest certificate is older than `limitS` seconds.
  checkFresh(nowS, limitS) {
    const age = nowS - this.newest.fields.not_before
    if (age > limitS) throw new Error(`stale: the newest certificate is ${age} s old; newer blocks may be hidden`)
    if (age < -7200) throw new Error(`the newest certificate is ${-age} s ahead of this clock`)
    return age
  }
}

// The place of `txid` (as people see it) in a proven block, by a merkle block of BIP 37.
export function verifyTransaction(proof, txid, block) {
  const reader = new Reader(proof)
  const header = decodeHeader(reader.take(HEADER_BYTES))
  if (!same(header.hash, block.header.hash)) throw new Error('the proof is for another block')
  const widths = [reader.u32()]
  if (widths[0] < 1 || widths[0] > 20000) throw new Error(`${widths[0]} transactions came`)
  while (widths.at(-1) > 1) widths.push((widths.at(-1) + 1) >> 1)
  if (widths.length - 1 !== block.branch.length) throw new Error('a tree of another depth than the block\'s')
  const hashes = Array.from({ length: reader.size() }, () => reader.take(32))
  const flags = reader.blob()
  reader.end()
  let hashAt = 0
  let bitAt = 0
  let place = -1
  const walk = (level, at) => {
    if (bitAt >= 8 * flags.length) throw new Error('the proof ends before its tree does')
    const has = (flags[bitAt >> 3] >> (bitAt & 7)) & 1
    bitAt += 1
    if (level === 0 || !has) {
      if (hashAt >= hashes.length) throw new Error('the proof ends before its tree does')
      const hash = hashes[hashAt++]
      if (has && shown(hash) === txid) place = at
      return hash
    }
    const left = walk(level - 1, 2 * at)
    if (2 * at + 1 >= widths[level - 1]) return doubleSha256(join(left, left))
    const right = walk(level - 1, 2 * at + 1)
    if (same(left, right)) throw new Error('two equal nodes side by side')
    return doubleSha256(join(left, right))
  }
  if (!same(walk(widths.length - 1, 0), header.merkleRoot)) throw new Error('the proof leads to another Merkle root')
  if (hashAt !== hashes.length || (bitAt + 7) >> 3 !== flags.length) throw new Error('the proof holds more than its tree')
  if (place < 0) throw new Error('the proof says nothing of this transaction')
  return place
}
