// Headers, certificates, and what a winner signs.  Source: docs/PROTOCOL.md, sections 3, 13, 14.
import { sha256, taggedHash } from './primitives.mjs'
import { big, check, fromHex, join, utf8 } from './records.mjs'

// `value` as `size` bytes, little-endian.
const little = (value, size) => big(BigInt.asUintN(8 * size, BigInt(value)), size).reverse()
// Block 0 of Bitcoin Core's regtest: version 1, the genesis coinbase's root, 2 February 2011, bits 0x207fffff, nonce 2.
const ROOT_0 = '3ba3edfd7a7b12b27ac72c3e67768f617fc81bc3888a51323a9fb8aa4b1e5e4a'
const REGTEST = `01000000${'00'.repeat(32)}${ROOT_0}dae5494dffff7f2002000000`

// Hash, parent and time of a header of 80 bytes; hashes in the order of their bytes in the header.
export function headerOf(header) {
  const view = new DataView(header.buffer, header.byteOffset, 80)
  return { hash: sha256(sha256(header)), previous: header.slice(4, 36), time: view.getUint32(68, true) }
}

export function genesisBlock({ params, created_ms }, chainId) {
  if (params.profile === 1) return headerOf(fromHex(REGTEST))
  check(params.profile === 0, 'this profile is not known here')
  const end = [little(created_ms / 1000n, 4), little(0x207fffff, 4), new Uint8Array(4)]
  return headerOf(join(little(0x20000000, 4), new Uint8Array(32), chainId, ...end))
}

export function certificateBody(c) {
  return join(
    little(1, 1), c.chainId, little(c.epoch, 4), little(c.cycle, 8), little(c.height, 4), little(c.rank, 1), c.parent,
    little(c.notBefore, 4), little(c.notAfter, 4), c.nonce, c.winner, little(c.parameters, 8), little(c.gain, 8),
    little(c.tickets, 8), little(c.total, 8), c.contributions, c.logRoot, little(c.logSize, 8), c.model, c.federation
  )
}

// The fields of a certificate (371 bytes) that evidence is judged by.
export function certificateOf(data) {
  const view = new DataView(data.buffer, data.byteOffset)
  return {
    version: data[0], chainId: data.subarray(1, 33), cycle: view.getBigUint64(37, true), height: view.getUint32(45, true),
    rank: data[49], parent: data.subarray(50, 82), notBefore: view.getUint32(82, true), notAfter: view.getUint32(86, true),
    winner: data.subarray(122, 155), message: taggedHash('gristmill/certificate/v1', data.subarray(0, BODY_BYTES)),
    signature: data.subarray(BODY_BYTES),
  }
}

const BODY_BYTES = 323
const twice = (data) => sha256(sha256(data))
const count = (size) => (size < 0xfd ? little(size, 1) : join(little(0xfd, 1), little(size, 2)))

function push(data) {
  if (data.length < 0x4c) return join(little(data.length, 1), data)
  return data.length < 0x100 ? join(little(0x4c, 1), little(data.length, 1), data) : join(little(0x4d, 1), little(data.length, 2), data)
}

// BIP 34's number, in its shortest form.
function pushHeight(height) {
  if (height <= 16) return little(0x50 + height, 1)
  const bytes = []
  for (let left = height; left > 0; left = Math.floor(left / 256)) bytes.push(left % 256)
  return push(Uint8Array.from(bytes.at(-1) >= 0x80 ? [...bytes, 0] : bytes))
}

// What the winner of `certificate` signs in a block of these contents (RECORDS.md, SignedContents).
export function winnersMessage(certificate, { version, time, reward, payee, commitment, slot, evidence, branch }) {
  const { height, parent } = certificateOf(certificate)
  const returned = (...pushes) => [0n, join(little(0x6a, 1), ...pushes.map(push))]
  const outputs = [
    [reward, payee],
    returned(join(utf8('GRSC'), certificate), utf8('GRSW')),
    returned(join(fromHex('aa21a9ed'), commitment), ...(slot ? [fromHex('ecc7daa2')] : [])),
    ...(evidence.length ? [returned(join(utf8('GRSE'), evidence))] : []),
  ]
  const script = join(pushHeight(height), little(0, 1))
  const coinbase = join(
    little(2, 4), count(1), new Uint8Array(32), little(0xffffffff, 4), count(script.length), script, little(0xffffffff, 4),
    count(outputs.length), ...outputs.map(([value, each]) => join(little(value, 8), count(each.length), each)), little(0, 4)
  )
  const root = branch.reduce((left, right) => twice(join(left, right)), twice(coinbase))
  return taggedHash('gristmill/block/v1', little(version, 4), parent, root, little(time, 4))
}
