// Verifies what a Gristmill federation signs, with @noble/curves and nothing of ours.
// In a browser (verify.html) and in Node alike.  Source: docs/PROTOCOL.md, sections 5, 6 and 13.
import { bls12_381 } from '@noble/curves/bls12-381.js'
import { sha256 } from '@noble/hashes/sha2.js'

const BODY_BYTES = 323
const SIGNATURE_BYTES = 48
const utf8 = new TextEncoder()

export const toHex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')

export function fromHex(text) {
  if (!/^([0-9a-f]{2})*$/.test(text)) throw new Error('lower-case hex digits expected')
  return Uint8Array.from(text.match(/../g) ?? [], (pair) => parseInt(pair, 16))
}

function join(...parts) {
  const joined = new Uint8Array(parts.reduce((size, part) => size + part.length, 0))
  let offset = 0
  for (const part of parts) {
    joined.set(part, offset)
    offset += part.length
  }
  return joined
}

// SHA-256(SHA-256(tag) SHA-256(tag) data), as in BIP 340.
export function taggedHash(tag, ...data) {
  const prefix = sha256(utf8.encode(tag))
  return sha256(join(prefix, prefix, ...data))
}

// Returns if `signature` (48 bytes, G1) is `key`'s (96 bytes, G2) over `message`; throws otherwise.
export function verifySignature(key, signature, message) {
  const bls = bls12_381.shortSignatures
  for (const [point, bytes, what] of [
    [bls12_381.G2.Point, key, 'key'],
    [bls12_381.G1.Point, signature, 'signature'],
  ]) {
    const decoded = point.fromBytes(bytes) // canonical and on the curve, or it throws
    if (decoded.is0() || !decoded.isTorsionFree()) throw new Error(`the ${what} is no point that may be one`)
  }
  if (!bls.verify(signature, bls.hash(message), key)) {
    throw new Error('the signature is not the federation\'s over this')
  }
}

// The randomness (32 bytes) of a beacon round whose signature stands; throws otherwise.
export function verifyRound(key, round, signature) {
  const number = new Uint8Array(8)
  new DataView(number.buffer).setBigUint64(0, BigInt(round))
  verifySignature(key, signature, sha256(number))
  return sha256(signature)
}

// The fields of a certificate (371 bytes) in their order; 64-bit numbers are BigInts.
export function decodeCertificate(data) {
  if (data.length !== BODY_BYTES + SIGNATURE_BYTES) {
    throw new Error(`${data.length} bytes came; a certificate has ${BODY_BYTES + SIGNATURE_BYTES}`)
  }
  const view = new DataView(data.buffer, data.byteOffset, data.length)
  let offset = 0
  const number = (bits, read) => [view[read](offset, true), (offset += bits / 8)][0]
  const u8 = () => number(8, 'getUint8')
  const u32 = () => number(32, 'getUint32')
  const u64 = () => number(64, 'getBigUint64')
  const i64 = () => number(64, 'getBigInt64')
  const bytes = (size) => toHex(data.subarray(offset, (offset += size)))
  const version = u8()
  if (version !== 1) throw new Error(`certificate version ${version}; 1 is known here`)
  return {
    chain_id: bytes(32),
    epoch: u32(),
    cycle: u64(),
    height: u32(),
    rank: u8(),
    parent: bytes(32),
    not_before: u32(),
    not_after: u32(),
    nonce: bytes(32),
    winner: bytes(33),
    parameters: u64(),
    loss_reduction: i64(),
    tickets: u64(),
    tickets_total: u64(),
    contributions_root: bytes(32),
    log_root: bytes(32),
    log_size: u64(),
    model_snapshot: bytes(32),
    next_federation: bytes(32),
  }
}

// The 32 bytes that the federation signs.
export const certificateMessage = (data) =>
  taggedHash('gristmill/certificate/v1', data.subarray(0, BODY_BYTES))

// The fields of a certificate for this chain, signed under `key`; throws otherwise.
export function verifyCertificate(data, key, chainId) {
  const fields = decodeCertificate(data)
  if (fields.chain_id !== toHex(chainId)) throw new Error(`it is for chain ${fields.chain_id}`)
  verifySignature(key, data.subarray(BODY_BYTES), certificateMessage(data))
  if (fields.not_before > fields.not_after) throw new Error('its window ends before it begins')
  return fields
}
