// Hashes, signatures, streams of words, the log's tree.  Source: docs/PROTOCOL.md, sections 1, 2, 5, 8, 15.
import { bls12_381 } from '@noble/curves/bls12-381.js'
import { secp256k1 } from '@noble/curves/secp256k1.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { big, check, decode, join, pack, recordOf, same, utf8 } from './records.mjs'

export { sha256 }
export const ORDER = bls12_381.fields.Fr.ORDER
const { G1, G2, shortSignatures } = bls12_381

export function quorums(n) {
  const f = Math.floor((n - 1) / 3)
  return { n, f, strong: Math.floor((n + f) / 2) + 1, weak: f + 1 }
}

const prefixes = new Map()
export function taggedHash(tag, ...data) {
  if (!prefixes.has(tag)) prefixes.set(tag, join(sha256(utf8(tag)), sha256(utf8(tag))))
  return sha256(join(prefixes.get(tag), ...data))
}

export const integer = (bytes) => bytes.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n)

// What an envelope's signature is over: DSSE's pre-authentication encoding.
export const preimage = (tag, body) => join(utf8(`DSSEv1 ${tag.length} ${tag} ${body.length} `), body)

// Whether `signature` is `key`'s: ECDSA over SHA-256 of `message`, low s.
export function verifyEcdsa(key, signature, message) {
  try {
    return secp256k1.verify(signature, message, key, { prehash: true, lowS: true })
  } catch {
    return false
  }
}

// The record in an envelope that its signer signed as `tag`, and the signer; throws otherwise.
export function open(tag, data) {
  const envelope = decode('Envelope', data)
  check(same(envelope.tag, utf8(tag)), `no envelope of ${tag}`)
  check(verifyEcdsa(envelope.signer, envelope.signature, preimage(tag, envelope.body)), `bad signature under ${tag}`)
  return { record: decode(recordOf(tag), envelope.body), signer: envelope.signer }
}

// Root of the RFC 6962 tree over `leaves`.
export function merkleRoot(leaves) {
  const tree = new Tree()
  leaves.forEach((leaf) => tree.append(leaf))
  return tree.root()
}

export class Tree {
  size = 0
  #peaks = [] // perfect subtrees from the left, [height, hash]

  append(leaf) {
    let [height, hash] = [0, sha256(join(Uint8Array.of(0), leaf))]
    while (this.#peaks.length && this.#peaks.at(-1)[0] === height) {
      hash = sha256(join(Uint8Array.of(1), this.#peaks.pop()[1], hash))
      height += 1
    }
    this.#peaks.push([height, hash])
    this.size += 1
  }

  root() {
    if (this.size === 0) return sha256(new Uint8Array())
    return this.#peaks.map(([, hash]) => hash).reduceRight((right, left) => sha256(join(Uint8Array.of(1), left, right)))
  }
}

// Words of 256 bits from a seed, and fair numbers below a bound.
export class Stream {
  #count = 0
  constructor(tag, seed) {
    this.tag = tag
    this.seed = seed
  }

  below(bound) {
    const limit = ((1n << 256n) / BigInt(bound)) * BigInt(bound)
    for (;;) {
      const word = integer(taggedHash(this.tag, this.seed, big(this.#count++, 8)))
      if (word < limit) return word % BigInt(bound)
    }
  }
}

export function permutation(tag, seed, items) {
  const stream = new Stream(tag, seed)
  const places = [...items]
  for (let place = places.length - 1; place > 0; place -= 1) {
    const other = Number(stream.below(place + 1))
    ;[places[place], places[other]] = [places[other], places[place]]
  }
  return places
}

// A point as the federation's may be: canonical, in the subgroup, not the identity; null otherwise.
export function point(group, bytes) {
  try {
    const decoded = group.Point.fromBytes(bytes)
    return decoded.is0() || !decoded.isTorsionFree() ? null : decoded
  } catch {
    return null
  }
}

export const mod = (value) => ((value % ORDER) + ORDER) % ORDER

function inverse(value) {
  let [a, b, x, y] = [mod(value), ORDER, 1n, 0n]
  while (b) [a, b, x, y] = [b, a % b, y, x - (a / b) * y]
  return mod(x)
}

// The weights with which values at `indices` + 1 give the polynomial's value at 0.
export function weightsAtZero(indices) {
  return indices.map((d) =>
    indices.filter((m) => m !== d).reduce((product, m) => mod(product * BigInt(m + 1) * inverse(BigInt(m - d))), 1n)
  )
}

export const times = (base, scalar) => (scalar === 0n ? base.subtract(base) : base.multiplyUnsafe(scalar))

// The commitments' polynomial at x = index + 1: the public key of a key share.
export function evaluate(commitments, index) {
  const x = BigInt(index + 1)
  return commitments.reduceRight((sum, each) => times(sum, x).add(each), G2.Point.ZERO)
}

export function verifyBls(key, signature, message) {
  const signed = point(G1, signature)
  return signed !== null && shortSignatures.verify(signed, shortSignatures.hash(message), key)
}

// The federation's signature from shares, [index, 48 bytes] each.
export function combine(shares) {
  const weights = weightsAtZero(shares.map(([index]) => index))
  return shares
    .map(([, share], place) => times(point(G1, share), weights[place]))
    .reduce((sum, each) => sum.add(each))
    .toBytes()
}

export const g2 = G2
export function activationMessage(chainId, epoch, members, commitments) {
  const digest = taggedHash('gristmill.members/1', pack(members.map((member) => Object.values(member))))
  return taggedHash('gristmill/activation/v1', chainId, big(epoch, 4), digest, ...commitments)
}
